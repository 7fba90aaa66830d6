"""Events to envelopes: lowercase names, read timestamps, derive ids. Pure functions, apart from caches.

In: a Chunk of a body, and what the events of the request share (Context). Out: the envelopes of the valid events, and a
verdict on each other item in Verdicts. Errors: none. Next: parsec.ingest.channel.

`_fast_path` checks events with the usual fields column by column. An event with anything unusual about it takes
`_slow_path`, which knows all rules (parsec.api.event_rules). Where both can read an event they give the same envelope.
"""

from collections.abc import Sequence

import msgspec

from parsec.api import event_rules
from parsec.api.event_rules import (
    MAX_ID_CHARS,
    MAX_METADATA_DEPTH,
    MAX_UNCOUNTED_BYTES,
    SEVERITY_NUMBERS,
    SOURCES,
    TENANTS,
)
from parsec.api.ingest import IngestError
from parsec.core.envelope import SCHEMA_VERSION, Envelope, encode_one
from parsec.core.errors import Rejected
from parsec.core.timestamp import read_column
from parsec.ingest import event_fields, field_mapping, look_alikes
from parsec.ingest.body.fast_path import NO_METADATA, Chunk, Event, Fault, Fields, Item, LooseEvent, WideEvent
from parsec.ingest.event_fields import Context
from parsec.ingest.field_mapping import (
    PLAIN,
    STANDARD,
    message_text,
    pick,
    pick_text,
)

__all__ = ("Context", "Verdicts", "normalize")

MAX_ERRORS = 100
"""Verdicts in an answer; the rest is only counted."""

_NOT_OPENING = bytes(byte for byte in range(256) if byte not in b"{[\n")
_ENCODER = msgspec.json.Encoder()


ENVELOPE_BYTES = 4096
"""Of an encoded envelope, at most, without message, metadata, region and node."""


class Verdicts(msgspec.Struct):
    """The rejected events of a request: the first MAX_ERRORS in full, all of them by tenant ('': unknown) and code.
    `blank`: events that say nothing, which are neither accepted nor rejected."""

    errors: list[IngestError] = []
    rejected: int = 0
    counts: dict[tuple[str, str], int] = {}
    blank: int = 0

    def add(self, error: IngestError, tenant: str) -> None:
        self.rejected += 1
        key = (tenant, error.code)
        self.counts[key] = self.counts.get(key, 0) + 1
        if len(self.errors) < MAX_ERRORS:
            self.errors.append(error)


def normalize(chunk: Chunk, context: Context, verdicts: Verdicts) -> list[Envelope]:
    """The envelopes of the valid events, in order; each other item adds one verdict, or is blank."""
    columns = _columns(chunk.items, context)
    if columns is not None:
        return _fast_path(chunk, columns, context, verdicts)
    envelopes: list[Envelope] = []
    for index, item in enumerate(chunk.items, chunk.first_index):
        envelope = _verdict(item, index, context, verdicts)
        if envelope is not None:
            envelopes.append(envelope)
    return envelopes


class _Columns(msgspec.Struct):
    """Events of one kind, and for each its timestamp and metadata; None and _BAD for those that take `_slow_path`."""

    events: Sequence[Event | LooseEvent]
    stamps: Sequence[str | None]
    metadata: Sequence[msgspec.Raw]


def _columns(items: Sequence[Item], context: Context) -> _Columns | None:
    """None: items of several kinds, or field names that the address maps."""
    kinds = set(map(type, items))
    if kinds == {Event} and context.fields.standard_only:
        events: Sequence[Event] = items  # type: ignore[assignment]
        column, sent = [event.metadata for event in events], [event.timestamp for event in events]
    elif kinds == {WideEvent} and not context.fields.renames:
        wide: Sequence[WideEvent] = items  # type: ignore[assignment]
        events = [one.event for one in wide]  # type: ignore[misc]
        column, sent = [_joined(one.fields, context) for one in wide], [_stamp(one) for one in wide]
    else:
        return None
    if not are_sound(column):
        column = [_checked(raw, context.max_event_bytes) for raw in column]
    return _Columns(events, read_column(sent, context.latest_s), column)


def are_sound(column: Sequence[msgspec.Raw]) -> bool:
    """Whether all of these, valid JSON, are objects on one line that are surely neither too deep nor too wide."""
    if len(column) == 1:
        (text,) = map(bytes, column)
        return (
            text.startswith(b"{")
            and text.count(b"{") + text.count(b"[") <= MAX_METADATA_DEPTH
            and b"\n" not in text
            and b"\r" not in text
            and len(text) < MAX_UNCOUNTED_BYTES
        )
    joined = b"\n" + b"\n".join(column)
    texts = joined.split(b"\n{")
    # One part per object and one before the first. A line break that is left belongs to a value that is no object on
    # one line.
    if len(texts) != len(column) + 1 or b"\r" in joined or max(map(len, texts)) >= MAX_UNCOUNTED_BYTES:
        return False
    inside = b"".join(texts)
    if b"\n" in inside:
        return False
    flat = b"{" not in inside and b"[" not in inside
    return flat or max(map(len, joined.translate(None, _NOT_OPENING).split(b"\n"))) <= MAX_METADATA_DEPTH


def _stamp(one: WideEvent) -> str | int:
    stamp = one.event.timestamp
    return bytes(one.fields["timestamp"]).decode() if isinstance(stamp, float) else stamp


def _fast_path(chunk: Chunk, columns: _Columns, context: Context, verdicts: Verdicts) -> list[Envelope]:
    fields = context.fields
    default_source = fields.default_source or ("unknown" if context.lenient else "")
    default_severity = fields.default_severity or ("info" if context.lenient else "")
    default_tenant, key_tenant, prefixes = context.default_tenant, context.key_tenant, context.ids.prefixes
    may_be_large = chunk.size_bytes + context.overhead_bytes > context.max_event_bytes
    received_at, region, node = context.received_at, context.region, context.node
    severities = SEVERITY_NUMBERS[fields.severity_numbers]
    envelopes: list[Envelope] = []
    append = envelopes.append
    rows = zip(columns.events, columns.stamps, columns.metadata, strict=True)
    for index, (event, stamp, extra) in enumerate(rows, chunk.first_index):
        try:
            tenant = TENANTS[event.tenant_id or default_tenant]
            severity = severities[event.severity or default_severity]
            source = SOURCES[event.source or default_source]
            message = event.message
            trimmed = message.strip()
            if trimmed is not message:
                message = event_rules.message(message)
            name = event.id or f"{prefixes.get(tenant) or context.ids.prefix(tenant)}-{index}"
            if trimmed and stamp is not None and extra is not _BAD and len(name) <= MAX_ID_CHARS:
                envelope = Envelope(
                    SCHEMA_VERSION, tenant, name, stamp, severity, source, message, extra, received_at, region, node
                )
                if key_tenant in ("", tenant) and not (may_be_large and _is_too_large(envelope, context)):
                    append(envelope)
                    continue
        except Rejected:
            pass
        alone = _verdict(chunk.items[index - chunk.first_index], index, context, verdicts)
        if alone is not None:
            append(alone)
    return envelopes


_BAD = msgspec.Raw(b"")
"""In the place of metadata that takes `_slow_path`."""


def _checked(raw: msgspec.Raw, max_bytes: int) -> msgspec.Raw:
    if raw is NO_METADATA or raw is _BAD:
        return raw
    try:
        return msgspec.Raw(field_mapping.check(bytes(raw), max_bytes))
    except Rejected:
        return _BAD


def _joined(fields: Fields, context: Context) -> msgspec.Raw:
    """Metadata with the unknown fields, unchecked."""
    unknown = fields.copy()
    for name in STANDARD:
        unknown.pop(name, None)
    raw = fields.get("metadata", NO_METADATA)
    try:
        return msgspec.Raw(field_mapping.join(bytes(raw), unknown, context.max_event_bytes)) if unknown else raw
    except Rejected:
        return _BAD


def _verdict(item: Item, index: int, context: Context, verdicts: Verdicts) -> Envelope | None:
    if isinstance(item, Fault):
        verdicts.add(
            IngestError(index, None, item.code, item.field, item.message), context.key_tenant or context.default_tenant
        )
        return None
    fields = _fields_of(item) if isinstance(item, Event) else item.fields if isinstance(item, WideEvent) else item
    try:
        envelope = _slow_path(fields, index, context)
    except Rejected as why:
        message = why.message
        if why.code == "missing_field" and why.field and len(verdicts.errors) < MAX_ERRORS:
            message += look_alikes.advice(fields, why.field)
        error = IngestError(index, _id_if_any(fields, context), why.code, why.field, message)
        verdicts.add(error, _tenant_if_any(fields, context))
        return None
    verdicts.blank += envelope is None
    return envelope


def _slow_path(fields: Fields, index: int, context: Context) -> Envelope | None:
    """One event, by all rules; None if it is blank. Raises Rejected."""
    names, lenient = context.fields, context.lenient
    used: set[str] = set()
    name = pick_text(fields, names.id, "id", used)
    if name:
        event_rules.event_id(name)
    tenant = TENANTS[pick_text(fields, names.tenant_id, "tenant_id", used).strip() or context.default_tenant]
    if context.key_tenant and tenant != context.key_tenant:
        message = f"tenant_id {tenant!r} is not the tenant of this API key; leave it out, or use a key for that tenant."
        raise Rejected("tenant_mismatch", message, field="tenant_id")
    stamp = event_fields.timestamp(pick(fields, names.timestamp, used), context)
    severity, unknown_word = event_fields.severity(fields, used, context)
    source_text = pick_text(fields, names.source, "source", used).strip()
    source = SOURCES[source_text or names.default_source or ("unknown" if lenient else "")]
    message = event_rules.message(message_text(pick(fields, names.message, used)))
    if not (message or lenient) and names.message == PLAIN.message and look_alikes.has_other_message(fields):
        raise event_rules.missing("message")
    extra = event_fields.metadata(fields, used, context)
    if not message and event_rules.is_blank(message, extra):
        return None
    if unknown_word:
        extra = event_fields.with_word(extra, unknown_word, context)
    if not name:
        ids = context.ids
        name = f"{(ids.prefixes.get(tenant) or ids.prefix(tenant)) if stamp else ids.random_prefix()}-{index}"
    envelope = Envelope(
        SCHEMA_VERSION, tenant, name, stamp or context.received_at, severity, source, message, extra,
        context.received_at, context.region, context.node,
    )  # fmt: skip
    if _is_too_large(envelope, context):
        raise event_rules.too_large(context.max_event_bytes)
    return envelope


def _fields_of(event: Event) -> Fields:
    """Of an event that was decoded as a whole, for `_slow_path`; metadata stays the bytes that were sent."""
    fields: Fields = {}
    for field in ("id", "tenant_id", "timestamp", "severity", "source", "message"):
        value = getattr(event, field)
        if value != "":
            fields[field] = msgspec.Raw(_ENCODER.encode(value))
    fields["metadata"] = event.metadata
    return fields


def _id_if_any(fields: Fields, context: Context) -> str | None:
    try:
        name = pick_text(fields, context.fields.id, "id", set())
    except Rejected:
        return None
    return name if 0 < len(name) <= MAX_ID_CHARS else None


def _tenant_if_any(fields: Fields, context: Context) -> str:
    """The tenant under which a rejection is counted: that of the key, whatever the event names."""
    if context.key_tenant:
        return context.key_tenant
    try:
        return TENANTS[
            pick_text(fields, context.fields.tenant_id, "tenant_id", set()).strip() or context.default_tenant
        ]
    except Rejected:
        return ""


def _is_too_large(envelope: Envelope, context: Context) -> bool:
    """Encodes the envelope only if it may be too large: a character takes at most six bytes."""
    size = 6 * len(envelope.message) + memoryview(envelope.metadata).nbytes + context.overhead_bytes
    return size > context.max_event_bytes and len(encode_one(envelope)) > context.max_event_bytes
