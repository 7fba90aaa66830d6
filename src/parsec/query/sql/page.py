"""The events of a tenant, a page at a time.

In: a PageRequest. Out: a Page. Errors: Rejected(invalid_query, invalid_cursor, invalid_parameter, query_too_expensive),
Retryable. Next: parsec.ports.store.

The order is (timestamp, log_id, partition, offset), which no two rows share, so a page begins exactly where the one
before ended, whatever has been stored since. A cursor also holds the time range that its first query resolved.

In one statement the engine would sort all rows that match: "the last hundred with a word" of ten million events took
700 ms. By timestamp alone it reads backwards and stops once it has enough. So a first statement selects only the
timestamps of the page (15 ms), and a second one the rows with these timestamps (10 ms).
"""

from typing import Any, NamedTuple

import msgspec

from parsec.api.parameters import Order
from parsec.core.timestamp import nanoseconds, text_of
from parsec.ports.store import QueryLimits, StoreReader
from parsec.query import cursor
from parsec.query.cursor import RowKey
from parsec.query.language.parse import parse
from parsec.query.sql.columns import WHOLE_EVENT, Parameters, Projection
from parsec.query.sql.filter import Scope, where, within
from parsec.query.timerange import TimeRange

KEY_COLUMNS = ("timestamp", "log_id", "partition", "offset")
SECOND_OF_EVENT = "toStartOfSecond(timestamp)"
"""Leads the order of the table after the tenant: only a statement that begins with it is read in that order."""
MOST_LISTED = 1_000
"""Timestamps that the second statement lists; more are given by the range that they span."""

_TIMESTAMPS = "Array(DateTime64(9, 'UTC'))"


class PageRequest(msgspec.Struct, frozen=True):
    """`cursor` comes from an earlier page. `q` is an expression of docs/query-language.md. `fields` are those to show;
    none: the whole event."""

    tenant: str
    time_range: TimeRange
    limit: int
    cursor: str | None = None
    q: str = ""
    order: Order = "newest"
    fields: tuple[str, ...] = ()


class Page(msgspec.Struct, frozen=True):
    """Events as objects with the chosen fields in their order. `cursor` leads to the next page; None after the last.
    `time_range`: of the query, or of the cursor that it came with."""

    events: list[dict[str, object]]
    cursor: str | None
    time_range: TimeRange


class Rows(NamedTuple):
    """KEY_COLUMNS and then the columns to show; `more`: others follow."""

    rows: list[list[Any]]
    more: bool


def page(store: StoreReader, request: PageRequest, limits: QueryLimits) -> Page:
    shown = Projection(request.fields) if request.fields else WHOLE_EVENT
    same = f"{request.order}\0{request.q}"
    time_range, last = request.time_range, None
    if request.cursor:
        time_range, last = cursor.decode(request.cursor, request.tenant, same)
    scope = Scope(request.tenant, time_range, parse(request.q))
    found = first_rows(store, scope, request.order, last, shown, request.limit, limits)
    return Page(
        [shown.event(row[len(KEY_COLUMNS) :]) for row in found.rows],
        cursor.encode(request.tenant, time_range, row_key(found.rows[-1]), same) if found.more else None,
        time_range,
    )


def first_rows(
    store: StoreReader, scope: Scope, order: Order, last: RowKey | None, shown: Projection, count: int,
    limits: QueryLimits,
) -> Rows:  # fmt: skip
    """At most `count` rows that come after `last`. One row too many tells that others follow."""
    parameters = Parameters()
    after = "" if last is None else f" AND {rows_after(last, order, parameters)}"
    selected = f"FROM events WHERE {where(scope, parameters)}{after}"
    direction = "DESC" if order == "newest" else "ASC"
    limit = f"LIMIT {parameters.bind(count + 1, 'UInt32')}"
    by = f"{SECOND_OF_EVENT} {direction}, timestamp {direction}"
    sql = f"SELECT toUnixTimestamp64Nano(timestamp) {selected} ORDER BY {by} {limit}"
    times = [at_ns for (at_ns,) in store.select(sql, parameters.values, limits, tuple[int])]
    if not times:
        return Rows([], more=False)
    selected += f" AND {within(TimeRange(min(times), max(times) + 1), parameters)}"
    if len(times) <= MOST_LISTED:
        listed = [text_of(at_ns).replace("T", " ").removesuffix("Z") for at_ns in sorted(set(times))]
        selected += f" AND timestamp IN {parameters.bind(listed, _TIMESTAMPS)}"
    columns = ", ".join((*KEY_COLUMNS, *shown.columns))
    by = ", ".join(f"{column} {direction}" for column in (SECOND_OF_EVENT, *KEY_COLUMNS))
    rows = store.select(f"SELECT {columns} {selected} ORDER BY {by} {limit}", parameters.values, limits, list[Any])
    # Rows may expire between the two statements: the page is shorter then, and others follow all the same.
    more = len(rows) > count or (len(times) > count and bool(rows))
    return Rows(rows[:count], more)


def rows_after(last: RowKey, order: Order, parameters: Parameters, time: str = "timestamp") -> str:
    """`time`: the column that leads the order; compared first, so that the primary key narrows the rows."""
    sign = "<" if order == "newest" else ">"
    at = parameters.timestamp(last.at_ns)
    position = (
        f"({parameters.bind(last.log_id)}, {parameters.bind(last.partition, 'UInt32')},"
        f" {parameters.bind(last.offset, 'UInt64')})"
    )
    return f"{time} {sign}= {at} AND ({time} {sign} {at} OR (log_id, partition, offset) {sign} {position})"


def row_key(row: list[Any]) -> RowKey:
    """Of a row that begins with KEY_COLUMNS."""
    at_ns = nanoseconds(row[0])
    assert at_ns is not None, "the store returns times in the form of the envelope"
    return RowKey(at_ns, row[1], row[2], row[3])
