"""Events between two positions of the log that match at least one of several filters, found by one statement.

In: a tenant, filters with the offsets from which each counts, the offsets at which all end. Out: the events, grouped by
the filters that they match, and how many each group has. Errors: Rejected(query_too_expensive), Retryable, Fatal.
Next: parsec.ports.store.

Each distinct filter is one column: planning costs 1 to 5 ms a column, so subscriptions that ask the same share one. The
minmax index on positions narrows the statement to blocks that were inserted lately.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from parsec.ports.store import QueryLimits, StoreReader
from parsec.query.language.ast import Node
from parsec.query.sql.columns import WHOLE_EVENT, Parameters
from parsec.query.sql.compile import condition
from parsec.query.sql.filter import Offsets, within_offsets

MOST_ROWS = 5_000
"""Events that one filter yields; the newest are taken."""
MOST_ROWS_IN_ALL = 50_000
"""Divided among the filters of a statement."""
MOST_SQL_CHARS = 100_000
"""A statement takes filters until it is this long. The engine refuses one above 256 KiB or 50,000 syntax nodes."""

POSITION = ("log_id", "partition", "offset")


class Filter(msgspec.Struct, frozen=True):
    """Events that match `node` at offsets from `since` on. A partition that `since` lacks is new: all of it counts."""

    node: Node
    since: Offsets


class Group(msgspec.Struct, frozen=True, array_like=True):
    """`count` events match just these `filters`, given by number; `events` are the newest of them, oldest first, each
    as POSITION and then the columns of WHOLE_EVENT."""

    filters: list[int]
    count: int
    events: list[list[Any]]


class NewEvents(msgspec.Struct, frozen=True):
    """Of the first `evaluated` filters; the others did not fit into the statement. `most_rows`: for each of them."""

    evaluated: int
    most_rows: int
    groups: list[Group]


def new_events(
    store: StoreReader, tenant: str, filters: Sequence[Filter], until: Offsets, limits: QueryLimits
) -> NewEvents:
    """`filters`: those that lag most first; their `since` are states of the same log, so one includes the other."""
    parameters = Parameters()
    scope = _scope(tenant, filters[0].since, until, parameters)
    numbers: dict[str, list[int]] = {}
    length = 0
    for number, one in enumerate(filters):
        column = condition(one.node, parameters)
        if one.since != filters[0].since:
            column = f"({column} AND {within_offsets(one.since, until, parameters)})"
        length += 0 if column in numbers else len(column)
        if number and length > MOST_SQL_CHARS:
            break
        numbers.setdefault(column, []).append(number)
    matches = [f"match{n}" for n in range(len(numbers))]
    named = ", ".join(f"{column} = 1 AS {match}" for column, match in zip(numbers, matches, strict=True))
    most_rows = min(MOST_ROWS, MOST_ROWS_IN_ALL // len(numbers))
    event = ", ".join((*POSITION, *WHOLE_EVENT.columns))
    sql = (
        f"SELECT matched, count(), groupArrayLast({most_rows})(({event})) FROM ("  # noqa: S608
        f"SELECT {event}, {named}, [{', '.join(matches)}] AS matched FROM events"
        f" WHERE {scope} AND ({' OR '.join(matches)}) ORDER BY {', '.join(POSITION)}"
        ") GROUP BY matched"
    )
    alike = list(numbers.values())
    groups = [
        Group([number for same, match in zip(alike, matched, strict=True) if match for number in same], count, events)
        for matched, count, events in store.select(
            sql, parameters.values, limits, tuple[list[int], int, list[list[Any]]]
        )
    ]
    return NewEvents(sum(map(len, alike)), most_rows, groups)


def count_new_events(store: StoreReader, tenant: str, since: Offsets, until: Offsets, limits: QueryLimits) -> int:
    """All events of the tenant between two positions."""
    parameters = Parameters()
    sql = f"SELECT count() FROM events WHERE {_scope(tenant, since, until, parameters)}"  # noqa: S608
    ((count,),) = store.select(sql, parameters.values, limits, tuple[int])
    return count


def _scope(tenant: str, since: Offsets, until: Offsets, parameters: Parameters) -> str:
    return f"tenant_id = {parameters.bind(tenant)} AND {within_offsets(since, until, parameters)}"
