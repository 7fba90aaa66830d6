"""Records of the log to rows of the store: each becomes one row or one dead letter, whatever its bytes are.

In: a slice's values, most of them written by parsec.ingest, some perhaps by another producer. Out: rows on which no
insert can fail, and dead letters with a reason code. Errors: none; the functions are pure, and get the time in `Rules`.

Reasons: `invalid_envelope` (no JSON, a field missing or of another type, an unknown version), `invalid_field` (the
detail names it), `event_too_large`, `timestamp_in_future`, `expired` (its retention ended before it was stored).
Next: parsec.process.range_commit.

Metadata keeps its text, without duplicate keys: the last one wins, as in other JSON parsers. Numbers, escapes and the
order of keys stay as sent; where a number is too large for the store to search, `search_text` has it as a string.
Decoding removes duplicate keys, so text that is encoded again has fewer colons if, and only if, it had some.
"""

import json
import math
import re
from collections.abc import Callable, Sequence
from itertools import repeat
from typing import Any

import msgspec
from msgspec.structs import astuple

from parsec.api import event_rules
from parsec.api.event_rules import (
    MAX_ID_CHARS,
    MAX_METADATA_DEPTH,
    MAX_METADATA_KEYS,
    MAX_SOURCE_CHARS,
    MAX_STORED_AHEAD_S,
    TENANT_NAME,
    nests_deeper,
)
from parsec.core.clock import Clock
from parsec.core.envelope import Envelope, EnvelopeError, decode_all, decode_one
from parsec.core.errors import Rejected
from parsec.core.severity import SEVERITIES
from parsec.core.timestamp import DAY, LATEST, SECOND, nanoseconds
from parsec.ports.broker import Slice
from parsec.ports.store import DeadLetter, Row

Fields = dict[str, msgspec.Raw]
Leaf = Callable[[msgspec.Raw], bytes]

_FIELDS = msgspec.json.Decoder(Fields)
_ITEMS = msgspec.json.Decoder(list[msgspec.Raw])
_OBJECTS = msgspec.json.Decoder(list[dict[str, Any]])
_ENCODER = msgspec.json.Encoder()
_OBJECT, _ARRAY = ord("{"), ord("[")
_TO_DIGITS = bytes(ord("0") if chr(c) in "-0123456789" else ord(" ") for c in range(256))
_NUMBER_STARTS = frozenset(b"%c" % c for c in b"-0123456789")
_NOT_OPENING = bytes(c for c in range(256) if c not in b"{[\n")
_LONG_NUMBER = b"0" * 20  # the shortest that may be beyond 64 bits, with or without a sign
_LONG_OUTSIDE = re.compile(rb"[:,\[ \t]-?[0-9]{19}")  # where a value may begin, so not the digits of an id in quotes


def is_plain(raws: Sequence[msgspec.Raw]) -> bool:
    """Whether all of these are one-line objects within the rules, without duplicate keys or huge numbers.

    A quick check: False may also mean that it cannot tell.
    """
    lines = b"\n".join(raws)
    brackets = lines.translate(None, _NOT_OPENING).split(b"\n")
    if len(brackets) != len(raws) or (
        max(map(len, brackets)) > MAX_METADATA_DEPTH
        and any(nests_deeper(bytes(raw), MAX_METADATA_DEPTH) for raw in raws)
    ):
        return False
    joined = lines.replace(b"\n", b",")
    if b"\\u" in joined or b"\r" in joined:
        return False
    if _LONG_NUMBER in joined.translate(_TO_DIGITS) and _LONG_OUTSIDE.search(joined):
        return False
    try:
        objects = _OBJECTS.decode(b"[%b]" % joined)
        return (
            len(objects) == len(raws)
            and max(map(len, objects), default=0) <= MAX_METADATA_KEYS
            and _ENCODER.encode(objects).count(b":") == joined.count(b":")
        )
    except (ValueError, OverflowError, RecursionError):
        return False  # among others for numbers that neither 64 bits nor a double can hold


def texts(raw: msgspec.Raw) -> tuple[str, str]:
    """The object without line breaks and duplicate keys; and the text to search by, empty if it is the same."""
    text = str(raw, "utf-8")
    if is_plain([raw]):
        return text, ""
    fields = _FIELDS.decode(raw)
    if "\n" in text or "\r" in text or _has_duplicate_keys(text):
        text = _object(fields, bytes).decode()
    whole, searchable = _object(fields, bytes), _object(fields, _searchable)
    return text, "" if whole == searchable else searchable.decode()


def _has_duplicate_keys(text: str) -> bool:
    """The exact and slow check."""
    found = False

    def check(pairs: list[tuple[str, object]]) -> None:
        nonlocal found
        found = found or len(dict(pairs)) < len(pairs)

    json.loads(text, object_pairs_hook=check, parse_int=str, parse_float=str)
    return found


def _object(fields: Fields, leaf: Leaf) -> bytes:
    """The object with the last of each key, at all levels, and no white space between tokens."""
    return b"{%b}" % b",".join([_ENCODER.encode(key) + b":" + _value(value, leaf) for key, value in fields.items()])


def _value(raw: msgspec.Raw, leaf: Leaf) -> bytes:
    first = memoryview(raw)[0]
    if first == _OBJECT:
        return _object(_FIELDS.decode(raw), leaf)
    if first == _ARRAY:
        return b"[%b]" % b",".join([_value(item, leaf) for item in _ITEMS.decode(raw)])
    return leaf(raw)


def _searchable(raw: msgspec.Raw) -> bytes:
    """A number beyond 64 bits, or beyond a double, as a string of its digits; all other values unchanged."""
    text = bytes(raw)
    if text[:1] not in _NUMBER_STARTS:
        return text
    if text.lstrip(b"-").isdigit():
        return text if len(text) < 20 or -(1 << 63) <= _integer(text) < 1 << 64 else b'"%b"' % text
    return text if math.isfinite(float(text)) else b'"%b"' % text


def _integer(text: bytes) -> int:
    return int(text[:40])  # beyond 64 bits if the whole is; Python refuses to read thousands of digits


MAX_RECORD_BYTES = 32 << 20
"""Above every value of PARSEC_MAX_EVENT_BYTES, so that lowering it loses no event already in the log."""
MAX_NAME_CHARS = 256
"""Of region and node."""

_SEVERITIES = frozenset(SEVERITIES)
_CANONICAL = {"tenant_id": event_rules.tenant, "severity": event_rules.severity, "source": event_rules.source}
LAST_DAY = (1 << 16) - 1

_AHEAD_NS = MAX_STORED_AHEAD_S * SECOND


class Rules(msgspec.Struct, frozen=True):
    """How long events are kept, and the time now in nanoseconds since 1970."""

    retention_s: float
    now_ns: int

    @property
    def oldest_ns(self) -> int:
        """Events received before this have expired."""
        return self.now_ns - int(self.retention_s * SECOND)


class RowMaker(msgspec.Struct, frozen=True):
    """Rows of one slice, under the rules of the moment."""

    retention_s: float
    clock: Clock

    def __call__(self, records: Slice) -> tuple[list[Row], list[DeadLetter]]:
        return rows(records, Rules(self.retention_s, self.clock.time_ns()))


class _TenantOnly(msgspec.Struct):
    tenant_id: str = ""


class _NoRow(Exception):
    """An envelope that cannot be a row."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


_TENANT_ONLY = msgspec.json.Decoder(_TenantOnly)


def rows(records: Slice, rules: Rules) -> tuple[list[Row], list[DeadLetter]]:
    """One row or one dead letter for each record, in order of offset."""
    made = _by_column(records, rules)
    if made is not None:
        return made, []
    made, letters = [], []
    for offset, value in zip(records.offsets, records.values, strict=True):
        one = row(value, records.log_id, records.partition, offset, rules)
        if isinstance(one, Row):
            made.append(one)
        else:
            letters.append(one)
    return made, letters


def _by_column(records: Slice, rules: Rules) -> list[Row] | None:
    """All rows at once, if every record is as parsec.ingest makes them; None: `row` has to decide on each.

    It accepts nothing that `row` refuses and makes the same rows; a test compares the two.
    """
    try:
        events = decode_all(records.values) if records.values else []
    except EnvelopeError:
        return None
    if not events:
        return []
    _, tenants, ids, stamps, severities, sources, messages, raws, arrivals, regions, nodes = zip(
        *map(astuple, events), strict=True
    )
    moments = {text: nanoseconds(text) for text in set(stamps)}  # many events share a millisecond
    happened = list(map(moments.__getitem__, stamps))
    received = {text: nanoseconds(text) for text in set(arrivals)}
    if not (
        _in_bounds(happened, list(received.values()), rules)
        and all(map(TENANT_NAME.fullmatch, set(tenants)))
        and _SEVERITIES.issuperset(severities)
        and all(map(_is_canonical_source, set(sources)))
        and (all(map(str.strip, messages)) or not any(map(event_rules.is_blank, messages, raws)))
        and min(map(len, ids)) > 0
        and max(map(len, ids)) <= MAX_ID_CHARS
        and max(map(len, {*regions, *nodes})) <= MAX_NAME_CHARS
        and is_plain(raws)
    ):
        return None
    expires = {text: _expires_on(moment, rules) for text, moment in received.items() if moment is not None}
    return list(map(
        Row, tenants, happened, severities, sources, messages, [str(raw, "utf-8") for raw in raws], ids,
        map(received.__getitem__, arrivals), regions, nodes, repeat(records.log_id), repeat(records.partition),
        records.offsets, map(expires.__getitem__, arrivals),
    ))  # fmt: skip


def _is_canonical_source(text: str) -> bool:
    return 0 < len(text) <= MAX_SOURCE_CHARS and text.strip().lower() == text


def _in_bounds(happened: Sequence[int | None], received: Sequence[int | None], rules: Rules) -> bool:
    if None in happened or None in received:
        return False
    moments = [moment for moment in received if moment is not None]
    first, last = min(moments), max(moments)
    earliest = min(moment for moment in happened if moment is not None)
    latest = max(moment for moment in happened if moment is not None)
    return (
        max(0, rules.oldest_ns) <= first
        and last <= min(LATEST, rules.now_ns + _AHEAD_NS)
        and earliest >= 0
        and latest <= min(LATEST, first + _AHEAD_NS)
    )


def _expires_on(received: int, rules: Rules) -> int:
    """Days since 1970, rounded up, so that no row expires early."""
    return min(LAST_DAY, -((-received - int(rules.retention_s * SECOND)) // DAY))


def row(value: bytes, log_id: str, partition: int, offset: int, rules: Rules) -> Row | DeadLetter:
    try:
        if len(value) > MAX_RECORD_BYTES:
            raise _NoRow("event_too_large", f"{len(value)} bytes; at most {MAX_RECORD_BYTES}")
        return _row(decode_one(value), log_id, partition, offset, rules)
    except _NoRow as unfit:
        reason, detail = unfit.reason, unfit.detail
    except EnvelopeError as error:
        reason, detail = "invalid_envelope", str(error)
    return DeadLetter(log_id, partition, offset, _tenant_of(value), reason, detail[:1000], value)


def _row(event: Envelope, log_id: str, partition: int, offset: int, rules: Rules) -> Row:
    try:
        event_rules.event_id(event.id)
        if event_rules.is_blank(event.message, event.metadata):
            raise _NoRow("invalid_field", "message is blank and metadata is empty")
        for field, rule in _CANONICAL.items():
            sent, wanted = getattr(event, field), rule(getattr(event, field))
            if sent != wanted:
                raise _NoRow("invalid_field", f"{field} is {sent[:64]!r}; its canonical form is {wanted[:64]!r}")
    except Rejected as why:
        raise _NoRow("invalid_field", why.message) from why
    if len(event.region) > MAX_NAME_CHARS or len(event.node) > MAX_NAME_CHARS:
        raise _NoRow("invalid_field", f"region and node have at most {MAX_NAME_CHARS} characters")
    received = _nanoseconds(event.received_at, "received_at")
    happened = _nanoseconds(event.timestamp, "timestamp")
    if received > rules.now_ns + _AHEAD_NS:
        raise _NoRow("invalid_field", "received_at is more than a day ahead of the processor's clock")
    if received < rules.oldest_ns:
        raise _NoRow("expired", f"received at {event.received_at}, kept for {rules.retention_s:.0f} s")
    if happened > received + _AHEAD_NS:
        raise _NoRow("timestamp_in_future", f"{event.timestamp}, received at {event.received_at}")
    metadata, search_text = _metadata(event.metadata)
    return Row(
        event.tenant_id, happened, event.severity, event.source, event.message, metadata, event.id, received,
        event.region, event.node, log_id, partition, offset, _expires_on(received, rules), search_text,
    )  # fmt: skip


def _nanoseconds(text: str, name: str) -> int:
    moment = nanoseconds(text)
    if moment is None:
        raise _NoRow("invalid_field", f"{name} is not RFC 3339 in UTC with Z and at most 9 digits of fraction")
    if not 0 <= moment <= LATEST:
        raise _NoRow("invalid_field", f"{name} is outside 1970 to 2262")
    return moment


def _metadata(raw: msgspec.Raw) -> tuple[str, str]:
    try:
        event_rules.check_metadata(bytes(raw))
        return texts(raw)
    except (Rejected, ValueError, RecursionError) as error:
        raise _NoRow("invalid_field", f"metadata: {error}") from error


def _tenant_of(value: bytes) -> str:
    """The tenant of a record that became a dead letter; empty when unknown."""
    try:
        tenant = _TENANT_ONLY.decode(value).tenant_id
    except (ValueError, RecursionError):
        return ""
    return tenant if TENANT_NAME.fullmatch(tenant) else ""
