"""One event by its id, and what happened around it at the same source.

In: a tenant, an id. Out: events as objects with the names of design section 4. Errors: Rejected(query_too_expensive),
Retryable. Next: parsec.query.sql.keyset_page.
"""

from typing import Any

from parsec.core.timestamp import DAY, LATEST
from parsec.ports.store import QueryLimits, StoreReader
from parsec.query.language.ast import Equal, Field, Match
from parsec.query.sql.columns import Parameters
from parsec.query.sql.filter import Scope, where
from parsec.query.sql.keyset_page import POSITION, Order, first, position
from parsec.query.sql.projection import Projection
from parsec.query.timerange import EVER, TimeRange

AROUND_NS = DAY
"""How far before and after an event its surroundings are looked for: a rare source may not cost a scan of years."""

Event = dict[str, object]


def event(store: StoreReader, tenant: str, event_id: str, limits: QueryLimits) -> Event | None:
    """The newest event of this id; None when there is none. An id is unique only within the dedup window."""
    row = _row(store, tenant, event_id, limits)
    return None if row is None else Projection().shown(row[len(POSITION) :])


def surroundings(
    store: StoreReader, tenant: str, event_id: str, counts: tuple[int, int], limits: QueryLimits
) -> tuple[list[Event], Event, list[Event]] | None:
    """The newest event of this id between at most `counts` events of its source within a day, all oldest first."""
    row = _row(store, tenant, event_id, limits)
    if row is None:
        return None
    shown = Projection()
    found = shown.shown(row[len(POSITION) :])
    of_source = Match(Field("source"), Equal(str(found["source"])))

    def beside(order: Order, count: int) -> list[Event]:
        if not count:
            return []
        scope = Scope(tenant, _around(row), of_source)
        beside = first(store, scope, order, position(row), shown, count, limits)
        return [shown.shown(one[len(POSITION) :]) for one in beside.rows]

    return beside("newest", counts[0])[::-1], found, beside("oldest", counts[1])


def _around(row: list[Any]) -> TimeRange:
    at_ns = position(row).at_ns
    return TimeRange(max(0, at_ns - AROUND_NS), min(LATEST, at_ns + AROUND_NS))


def _row(store: StoreReader, tenant: str, event_id: str, limits: QueryLimits) -> list[Any] | None:
    scope = Scope(tenant, EVER, Match(Field("id"), Equal(event_id)))
    parameters = Parameters()
    columns = ", ".join((*POSITION, *Projection().columns))
    sql = f"SELECT {columns} FROM events WHERE {where(scope, parameters)} ORDER BY timestamp DESC, offset DESC LIMIT 1"  # noqa: S608
    found = store.select(sql, parameters.values, limits, list[Any])
    return found[0] if found else None
