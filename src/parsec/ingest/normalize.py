"""Events to envelopes: trim, lowercase, read timestamps, derive ids. Pure, but for what it remembers.

In: a Chunk of a body and what the request says (Context). Out: envelopes of the valid events, and a verdict on each
other one in Verdicts. Errors: Rejected only when the request's own tenant is no tenant's name. Next:
parsec.ingest.channel.

`_fast_path` settles events that have standard fields only, column by column; an event with anything unusual about it
goes through `_slow_path` alone, which knows all rules. Where both can read an event they give the same envelope.
"""

from collections.abc import Sequence

import msgspec

from parsec.api import event_rules
from parsec.api.event_rules import MAX_ID_CHARS, SEVERITY_NAMES, SOURCES, TENANTS
from parsec.api.ingest import IngestError
from parsec.core.envelope import SCHEMA_VERSION, Envelope, encode_one
from parsec.core.errors import Rejected
from parsec.ingest import metadata
from parsec.ingest.body.chunk import Chunk
from parsec.ingest.body.fast_path import NO_METADATA, Event, Fault, Fields, Item, LooseEvent, WideEvent
from parsec.ingest.event_ids import EventIds
from parsec.ingest.field_mapping import STANDARD, FieldMap, pick, pick_text, read_string, unknown_fields
from parsec.ingest.timestamps import read_column, read_number, read_text

__all__ = ("Context", "Verdicts", "normalize")

MAX_ERRORS = 100
"""Verdicts that are told one by one; the rest is counted."""

_ENVELOPE_OVERHEAD_BYTES = 4096  # all but message and metadata, with every character escaped
_ENCODER = msgspec.json.Encoder()


class Context(msgspec.Struct, frozen=True):
    """What the events of one request share. `latest_s`: the last second that a timestamp may name."""

    fields: FieldMap
    default_tenant: str
    key_tenant: str
    received_at: str
    latest_s: int
    region: str
    node: str
    lenient: bool
    max_event_bytes: int
    ids: EventIds


class Verdicts(msgspec.Struct):
    """The rejected events of a request: the first MAX_ERRORS in full, all of them by tenant ('': unknown) and code."""

    errors: list[IngestError] = []
    rejected: int = 0
    counts: dict[tuple[str, str], int] = {}

    def add(self, error: IngestError, tenant: str) -> None:
        self.rejected += 1
        key = (tenant, error.code)
        self.counts[key] = self.counts.get(key, 0) + 1
        if len(self.errors) < MAX_ERRORS:
            self.errors.append(error)


def normalize(piece: Chunk, context: Context, verdicts: Verdicts) -> list[Envelope]:
    """The envelopes of the valid events, in order; each other item adds one verdict."""
    columns = _columns(piece.items, context)
    if columns is not None:
        return _fast_path(piece, columns, context, verdicts)
    envelopes: list[Envelope] = []
    for index, item in enumerate(piece.items, piece.first_index):
        envelope = _verdict(item, index, context, verdicts)
        if envelope is not None:
            envelopes.append(envelope)
    return envelopes


class _Columns(msgspec.Struct):
    """Events of one kind, and beside each its timestamp and metadata, or None and _BAD where `_slow_path` must look."""

    events: Sequence[Event | LooseEvent]
    stamps: Sequence[str | None]
    metadata: Sequence[msgspec.Raw]


def _columns(items: Sequence[Item], context: Context) -> _Columns | None:
    """None: the items are of several kinds, or their names need looking at."""
    kinds = set(map(type, items))
    if kinds == {Event} and context.fields.standard_only:
        events: Sequence[Event] = items  # type: ignore[assignment]
        column = _checked([event.metadata for event in events], context.max_event_bytes)
        return _Columns(events, read_column([event.timestamp for event in events], context.latest_s), column)
    if kinds == {WideEvent} and not context.fields.renames:
        wide: Sequence[WideEvent] = items  # type: ignore[assignment]
        column = _checked([_joined(one.fields, context) for one in wide], context.max_event_bytes)
        stamps = read_column([_stamp(one) for one in wide], context.latest_s)
        return _Columns([one.event for one in wide], stamps, column)
    return None


def _stamp(one: WideEvent) -> str | int:
    stamp = one.event.timestamp
    return bytes(one.fields["timestamp"]).decode() if isinstance(stamp, float) else stamp


def _fast_path(piece: Chunk, columns: _Columns, context: Context, verdicts: Verdicts) -> list[Envelope]:
    fields = context.fields
    default_source = fields.default_source or ("unknown" if context.lenient else "")
    default_severity = fields.default_severity or ("info" if context.lenient else "")
    default_tenant, key_tenant, prefixes = context.default_tenant, context.key_tenant, context.ids.prefixes
    may_be_large = _bound(piece.size_bytes, context) > context.max_event_bytes
    received_at, region, node = context.received_at, context.region, context.node
    envelopes: list[Envelope] = []
    append = envelopes.append
    rows = zip(columns.events, columns.stamps, columns.metadata, strict=True)
    for index, (event, stamp, extra) in enumerate(rows, piece.first_index):
        try:
            tenant = TENANTS[event.tenant_id or default_tenant]
            severity = SEVERITY_NAMES[event.severity or default_severity]
            source = SOURCES[event.source or default_source]
            message = event.message.strip()
            name = event.id or f"{prefixes.get(tenant) or context.ids.prefix(tenant)}-{index}"
            if message and stamp is not None and extra is not _BAD and len(name) <= MAX_ID_CHARS:
                envelope = Envelope(
                    SCHEMA_VERSION, tenant, name, stamp, severity, source, message, extra, received_at, region, node
                )
                if not (key_tenant and tenant != key_tenant) and not (may_be_large and _too_large(envelope, context)):
                    append(envelope)
                    continue
        except Rejected:
            pass
        careful = _verdict(piece.items[index - piece.first_index], index, context, verdicts)
        if careful is not None:
            append(careful)
    return envelopes


_BAD = msgspec.Raw(b"")
"""In the place of metadata that `_slow_path` has to look at."""


def _checked(column: list[msgspec.Raw], max_bytes: int) -> list[msgspec.Raw]:
    if metadata.check_column(column):
        return column
    checked = []
    for raw in column:
        if raw is not NO_METADATA and raw is not _BAD:
            try:
                raw = msgspec.Raw(metadata.check(bytes(raw), max_bytes))
            except Rejected:
                raw = _BAD
        checked.append(raw)
    return checked


def _joined(fields: Fields, context: Context) -> msgspec.Raw:
    """Not checked yet."""
    unknown = fields.copy()
    for name in STANDARD:
        unknown.pop(name, None)
    raw = fields.get("metadata", NO_METADATA)
    try:
        return msgspec.Raw(metadata.join(bytes(raw), unknown, context.max_event_bytes)) if unknown else raw
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
        return _slow_path(fields, index, context)
    except Rejected as why:
        error = IngestError(index, _id_if_any(fields, context), why.code, why.field, why.message)
        verdicts.add(error, _tenant_if_any(fields, context))
        return None


def _slow_path(fields: Fields, index: int, context: Context) -> Envelope:
    """One event by all the rules. Raises Rejected."""
    names, lenient = context.fields, context.lenient
    used: set[str] = set()
    name = pick_text(fields, names.id, "id", used)
    if name:
        event_rules.event_id(name)
    tenant = TENANTS[pick_text(fields, names.tenant_id, "tenant_id", used).strip() or context.default_tenant]
    if context.key_tenant and tenant != context.key_tenant:
        message = f"tenant_id {tenant!r} is not the tenant of this API key; leave it out or use that tenant's key."
        raise Rejected("tenant_mismatch", message, field="tenant_id")
    stamp = _timestamp(pick(fields, names.timestamp, used), context)
    severity_text = _severity_text(pick(fields, names.severity, used))
    severity = SEVERITY_NAMES[severity_text or names.default_severity or ("info" if lenient else "")]
    source_text = pick_text(fields, names.source, "source", used).strip()
    source = SOURCES[source_text or names.default_source or ("unknown" if lenient else "")]
    message = event_rules.message(pick_text(fields, names.message, "message", used))
    extra = _metadata(fields, used, context)
    if not name:
        ids = context.ids
        name = f"{(ids.prefixes.get(tenant) or ids.prefix(tenant)) if stamp else ids.random_prefix()}-{index}"
    envelope = Envelope(
        SCHEMA_VERSION, tenant, name, stamp or context.received_at, severity, source, message, extra,
        context.received_at, context.region, context.node,
    )  # fmt: skip
    if _too_large(envelope, context):
        raise event_rules.too_large(context.max_event_bytes)
    return envelope


def _timestamp(text: bytes, context: Context) -> str:
    """'' when absent and this server fills in."""
    if text.startswith(b'"'):
        stamp = read_string(text, "timestamp").strip()
        if stamp:
            return read_text(stamp, context.latest_s)
    elif text:
        if text[0] not in b"-0123456789":
            raise Rejected("invalid_timestamp", "timestamp must be a string or a number.", field="timestamp")
        return read_number(text.decode(), context.latest_s)
    if context.lenient:
        return ""
    raise event_rules.missing("timestamp")


def _severity_text(text: bytes) -> str:
    """A number counts as its digits: syslog's levels."""
    if text.startswith(b'"'):
        return read_string(text, "severity").strip()
    if text and text[0] not in b"-0123456789":
        raise Rejected("invalid_severity", "severity must be a string, or a syslog level 0 to 7.", field="severity")
    return text.decode()


def _metadata(fields: Fields, used: set[str], context: Context) -> msgspec.Raw:
    raw = fields.get("metadata", NO_METADATA)
    own = bytes(raw)
    own = bytes(NO_METADATA) if own == b"null" else own
    unknown = unknown_fields(fields, used)
    if unknown:
        own = metadata.join(own, unknown, context.max_event_bytes)
    return msgspec.Raw(metadata.check(own, context.max_event_bytes))


def _fields_of(event: Event) -> Fields:
    """What `_slow_path` reads, of an event that was read in one go; the bytes of metadata stay."""
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
    """The tenant whose counts have the rejection: that of the key, whatever the event names."""
    if context.key_tenant:
        return context.key_tenant
    try:
        return TENANTS[
            pick_text(fields, context.fields.tenant_id, "tenant_id", set()).strip() or context.default_tenant
        ]
    except Rejected:
        return ""


def _bound(size_bytes: int, context: Context) -> int:
    return size_bytes + _ENVELOPE_OVERHEAD_BYTES + 6 * (len(context.region) + len(context.node))


def _too_large(envelope: Envelope, context: Context) -> bool:
    """Exact, but the cheap bound mostly settles it: a character takes at most six bytes."""
    size = 6 * len(envelope.message) + memoryview(envelope.metadata).nbytes
    return _bound(size, context) > context.max_event_bytes and len(encode_one(envelope)) > context.max_event_bytes
