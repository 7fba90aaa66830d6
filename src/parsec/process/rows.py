"""Records of the log to rows of the store: each becomes one row or one dead letter, whatever its bytes are.

In: a slice's values, most of them written by parsec.ingest, some perhaps by another producer. Out: rows on which no
insert can fail, and dead letters with a reason code. Errors: none; the functions are pure, and get the time in `Rules`.

Reasons: `invalid_envelope` (no JSON, a field missing or of another type, an unknown version), `invalid_field` (the
detail names it), `event_too_large`, `timestamp_in_future`, `expired` (its retention ended before it was stored).
parsec.process.search_text has the rules of metadata. Next: parsec.process.range_commit.
"""

from collections.abc import Iterable, Sequence
from itertools import repeat

import msgspec
from msgspec.structs import astuple

from parsec.api import event_rules
from parsec.api.event_rules import (
    MAX_ID_CHARS,
    MAX_SOURCE_CHARS,
    MAX_STORED_AHEAD_S,
    TENANT_NAME,
)
from parsec.core.clock import Clock
from parsec.core.envelope import Envelope, EnvelopeError, decode_all, decode_one
from parsec.core.errors import Rejected
from parsec.core.severity import SEVERITIES
from parsec.core.timestamp import DAY, LATEST, SECOND, nanoseconds
from parsec.ports.broker import Slice
from parsec.ports.store import DeadLetter, Row
from parsec.process.search_text import is_plain, texts

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
        and (metadata := _metadata_of_all(raws))
    ):
        return None
    kept, searched = metadata
    expires = {text: _expires_on(moment, rules) for text, moment in received.items() if moment is not None}
    return list(map(
        Row, tenants, happened, severities, sources, messages, kept, ids,
        map(received.__getitem__, arrivals), regions, nodes, repeat(records.log_id), repeat(records.partition),
        records.offsets, map(expires.__getitem__, arrivals), searched,
    ))  # fmt: skip


def _metadata_of_all(raws: Sequence[msgspec.Raw]) -> tuple[Sequence[str], Iterable[str]] | None:
    """The texts to keep and to search by; None: one of them is not within the rules."""
    if is_plain(raws):
        return [str(raw, "utf-8") for raw in raws], repeat("")
    try:
        kept, searched = zip(*map(_metadata, raws), strict=True)
    except _NoRow:
        return None
    return kept, searched


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
