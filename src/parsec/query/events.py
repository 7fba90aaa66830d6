"""The events of a tenant, a page at a time.

In: a Question. Out: an Answer, its events as JSON with the names of design section 4. Errors: Rejected(invalid_query,
invalid_cursor, invalid_parameter, query_too_expensive), Retryable. Next: parsec.ports.store.

The order is (timestamp, log_id, partition, offset), which no two rows share, so a page begins exactly where the one
before ended, whatever has been stored since. A cursor also holds the time range that its first question resolved.
"""

from typing import Any, Literal

import msgspec

from parsec.core.moment import nanoseconds
from parsec.ports.store import Limits, StoreReader
from parsec.query import cursor
from parsec.query.columns import Parameters
from parsec.query.cursor import Position
from parsec.query.parse import parse
from parsec.query.projection import Projection
from parsec.query.scope import Scope, where
from parsec.query.timerange import TimeRange

Order = Literal["newest", "oldest"]

POSITION = ("timestamp", "log_id", "partition", "offset")


class Question(msgspec.Struct, frozen=True):
    """Whose events, from when to when, and at most how many; `cursor` is that of an earlier answer.

    `q` is an expression of docs/query-language.md; `fields` names what to show, nothing: all of an event.
    """

    tenant: str
    between: TimeRange
    limit: int
    cursor: str | None = None
    q: str = ""
    order: Order = "newest"
    fields: tuple[str, ...] = ()


class Answer(msgspec.Struct, frozen=True):
    """`events` is a JSON array of `count` events; `cursor` asks for the next page and is None after the last."""

    events: msgspec.Raw
    count: int
    cursor: str | None


class Page(msgspec.Struct, frozen=True):
    """Events as objects with the chosen fields in their order, and where the next page begins."""

    events: list[dict[str, object]]
    cursor: str | None


_ENCODER = msgspec.json.Encoder()


def ask(store: StoreReader, question: Question, limits: Limits) -> Answer:
    """A page of events as JSON."""
    found = page(store, question, limits)
    return Answer(msgspec.Raw(_ENCODER.encode(found.events)), len(found.events), found.cursor)


def page(store: StoreReader, question: Question, limits: Limits) -> Page:
    """A page of events. One row more than asked for tells whether there is another page."""
    shown = Projection(question.fields)
    same = f"{question.order}\0{question.q}"
    between, last = question.between, None
    if question.cursor:
        between, last = cursor.decoded(question.cursor, question.tenant, same)
    parameters = Parameters()
    sql = statement(Scope(question.tenant, between, parse(question.q)), question.order, last, shown, parameters)
    sql += f" LIMIT {parameters.bind(question.limit + 1, 'UInt32')}"
    rows = store.select(sql, parameters.values, limits, list[Any])
    more = len(rows) > question.limit
    rows = rows[: question.limit]
    return Page(
        [shown.shown(row[len(POSITION) :]) for row in rows],
        cursor.encoded(question.tenant, between, position(rows[-1]), same) if more else None,
    )


def statement(scope: Scope, order: Order, last: Position | None, shown: Projection, parameters: Parameters) -> str:
    """All events of a scope that come after `last`, in order: POSITION, then the columns to show."""
    columns = ", ".join((*POSITION, *shown.columns))
    after = "" if last is None else f" AND {beyond(last, order, parameters)}"
    direction = "DESC" if order == "newest" else "ASC"
    by = ", ".join(f"{column} {direction}" for column in POSITION)
    return f"SELECT {columns} FROM events WHERE {where(scope, parameters)}{after} ORDER BY {by}"  # noqa: S608


def beyond(last: Position, order: Order, parameters: Parameters, time: str = "timestamp") -> str:
    """Told by time first, so that the primary key narrows it. `time`: the column that leads the order."""
    sign = "<" if order == "newest" else ">"
    at = parameters.moment(last.at_ns)
    place = ", ".join(
        (
            parameters.text(last.log_id),
            parameters.bind(last.partition, "UInt32"),
            parameters.bind(last.offset, "UInt64"),
        )
    )
    return f"{time} {sign}= {at} AND ({time} {sign} {at} OR (log_id, partition, offset) {sign} ({place}))"


def position(row: list[Any]) -> Position:
    """Of a row that begins with POSITION."""
    at_ns = nanoseconds(row[0])
    assert at_ns is not None, "the store returns moments in the envelope's form"
    return Position(at_ns, row[1], row[2], row[3])
