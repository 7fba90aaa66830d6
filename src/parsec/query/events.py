"""The newest events of a tenant, a page at a time.

In: a Question. Out: an Answer, its events as JSON with the names of design section 4, newest first. Errors:
Rejected(invalid_cursor, query_too_expensive), Retryable. Next: parsec.ports.store.

The order is (timestamp, log_id, partition, offset), which no two rows share, so a page begins exactly where the one
before ended, whatever has been stored since. A cursor also holds the time range that its first question resolved.
"""

import base64
from typing import Any

import msgspec

from parsec.core.errors import Rejected
from parsec.core.moment import SECOND, nanoseconds
from parsec.ports.store import AHEAD_S, Limits, StoreReader
from parsec.query.timerange import TimeRange

_SELECT = """
SELECT timestamp, log_id, partition, offset, id, tenant_id, severity, source, message, metadata, received_at
FROM events
WHERE tenant_id = {tenant:String}
  AND timestamp >= fromUnixTimestamp64Nano({start:Int64}, 'UTC')
  AND timestamp < fromUnixTimestamp64Nano({end:Int64}, 'UTC')
  AND received_at >= fromUnixTimestamp64Nano({received:Int64}, 'UTC')
"""
_AFTER = """
  AND timestamp <= fromUnixTimestamp64Nano({at:Int64}, 'UTC')
  AND (timestamp < fromUnixTimestamp64Nano({at:Int64}, 'UTC')
    OR (log_id, partition, offset) < ({log_id:String}, {partition:UInt32}, {offset:UInt64}))
"""
_ORDER = "ORDER BY timestamp DESC, log_id DESC, partition DESC, offset DESC LIMIT {limit:UInt32}"


class Question(msgspec.Struct, frozen=True):
    """Whose events, from when to when, and at most how many; `cursor` is that of an earlier answer."""

    tenant: str
    between: TimeRange
    limit: int
    cursor: str | None = None


class Answer(msgspec.Struct, frozen=True):
    """`events` is a JSON array of `count` events; `cursor` asks for the next page and is None after the last."""

    events: msgspec.Raw
    count: int
    cursor: str | None


class Event(msgspec.Struct, frozen=True, gc=False):
    """One event as a client sees it."""

    id: str
    tenant_id: str
    timestamp: str
    severity: str
    source: str
    message: str
    metadata: msgspec.Raw
    received_at: str


class _Found(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A row of `_SELECT`."""

    timestamp: str
    log_id: str
    partition: int
    offset: int
    id: str
    tenant_id: str
    severity: str
    source: str
    message: str
    metadata: str
    received_at: str


class _Cursor(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The last row of a page, whose it is, and the range it is from."""

    tenant: str
    start_ns: int
    end_ns: int
    at_ns: int
    log_id: str
    partition: int
    offset: int


_CURSOR = msgspec.json.Decoder(_Cursor)
_ENCODER = msgspec.json.Encoder()
_LONGEST_CURSOR = 1024
_INT64, _UINT32, _UINT64 = 1 << 63, 1 << 32, 1 << 64


def ask(store: StoreReader, question: Question, limits: Limits) -> Answer:
    """A page of events. One row more than asked for tells whether there is another page."""
    last = _decoded(question.cursor, question.tenant) if question.cursor else None
    between = TimeRange(last.start_ns, last.end_ns) if last else question.between
    parameters: dict[str, Any] = {
        "tenant": question.tenant,
        "start": between.start_ns,
        "end": between.end_ns,
        "received": max(0, between.start_ns - AHEAD_S * SECOND),
        "limit": question.limit + 1,
    }
    if last:
        parameters |= {
            "at": last.at_ns,
            "log_id": last.log_id,
            "partition": last.partition,
            "offset": last.offset,
        }
    sql = _SELECT + (_AFTER if last else "") + _ORDER
    found = store.select(sql, parameters, limits, _Found)
    page = found[: question.limit]
    more = len(found) > len(page)
    return Answer(
        msgspec.Raw(_ENCODER.encode([_event(row) for row in page])),
        len(page),
        _encoded(page[-1], question.tenant, between) if more else None,
    )


def _event(row: _Found) -> Event:
    return Event(
        row.id,
        row.tenant_id,
        _shortest(row.timestamp),
        row.severity,
        row.source,
        row.message,
        msgspec.Raw(row.metadata.encode()),
        _shortest(row.received_at),
    )


def _shortest(moment: str) -> str:
    """Nine digits of fraction and `Z`, without zeros at the end."""
    return moment[:-1].rstrip("0").rstrip(".") + "Z"


def _encoded(row: _Found, tenant: str, between: TimeRange) -> str:
    at = nanoseconds(row.timestamp)
    assert at is not None, "the store returns moments in the envelope's form"
    cursor = _Cursor(tenant, between.start_ns, between.end_ns, at, row.log_id, row.partition, row.offset)
    return base64.urlsafe_b64encode(_ENCODER.encode(cursor)).rstrip(b"=").decode()


def _decoded(text: str, tenant: str) -> _Cursor:
    try:
        if len(text) > _LONGEST_CURSOR:
            raise ValueError("too long")
        cursor = _CURSOR.decode(base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True))
        fits = (
            cursor.tenant == tenant
            and 0 <= cursor.start_ns <= cursor.end_ns < _INT64
            and 0 <= cursor.at_ns < _INT64
            and 0 <= cursor.partition < _UINT32
            and 0 <= cursor.offset < _UINT64
        )
        if not fits:
            raise ValueError("of another question")
    except ValueError as error:
        message = "This is no cursor of an answer to this tenant; ask again without one."
        raise Rejected("invalid_cursor", message, field="cursor") from error
    return cursor
