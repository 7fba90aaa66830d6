"""One event by its id, its neighbours of the same source, and the time of the latest event.

In: a tenant, an id. Out: events as objects. Errors: Rejected(query_too_expensive), Retryable.
Next: parsec.query.sql.page.
"""

from typing import Any

from parsec.api.parameters import Order
from parsec.core.timestamp import DAY, LATEST
from parsec.ports.store import QueryLimits, StoreReader
from parsec.query.language.ast import Equal, Field, Match
from parsec.query.sql.columns import WHOLE_EVENT, Parameters, Projection
from parsec.query.sql.filter import Scope, where
from parsec.query.sql.page import KEY_COLUMNS, first_rows, row_key
from parsec.query.timerange import EVER, TimeRange

NEIGHBOUR_NS = DAY
"""How far neighbours may be from their event: those of a rare source would cost a scan of years."""

Event = dict[str, object]

_ID_ONLY = Projection(("id",))


def find_event(store: StoreReader, tenant: str, event_id: str, limits: QueryLimits) -> Event | None:
    """The newest event with this id; ids are unique only within the dedup window."""
    row = _find_row(store, tenant, event_id, limits)
    return None if row is None else WHOLE_EVENT.event(row[len(KEY_COLUMNS) :])


def find_context(
    store: StoreReader, tenant: str, event_id: str, counts: tuple[int, int], limits: QueryLimits
) -> tuple[list[Event], Event, list[Event]] | None:
    """The newest event with this id between at most `counts` events of its source, all oldest first."""
    row = _find_row(store, tenant, event_id, limits)
    if row is None:
        return None
    event, key = WHOLE_EVENT.event(row[len(KEY_COLUMNS) :]), row_key(row)
    time_range = TimeRange(max(0, key.at_ns - NEIGHBOUR_NS), min(LATEST, key.at_ns + NEIGHBOUR_NS))
    scope = Scope(tenant, time_range, Match(Field("source"), Equal(str(event["source"]))))

    def neighbours(order: Order, count: int) -> list[Event]:
        rows = first_rows(store, scope, order, key, WHOLE_EVENT, count, limits).rows if count else []
        return [WHOLE_EVENT.event(each[len(KEY_COLUMNS) :]) for each in rows]

    return neighbours("newest", counts[0])[::-1], event, neighbours("oldest", counts[1])


def latest_timestamp(store: StoreReader, tenant: str, limits: QueryLimits) -> int | None:
    """The timestamp of the tenant's latest event, in nanoseconds since 1970; None: it has none."""
    rows = first_rows(store, Scope(tenant, EVER), "newest", None, _ID_ONLY, 1, limits).rows
    return row_key(rows[0]).at_ns if rows else None


def _find_row(store: StoreReader, tenant: str, event_id: str, limits: QueryLimits) -> list[Any] | None:
    parameters = Parameters()
    condition = where(Scope(tenant, EVER, Match(Field("id"), Equal(event_id))), parameters)
    columns = ", ".join((*KEY_COLUMNS, *WHOLE_EVENT.columns))
    sql = f"SELECT {columns} FROM events WHERE {condition} ORDER BY timestamp DESC, offset DESC LIMIT 1"  # noqa: S608
    found = store.select(sql, parameters.values, limits, list[Any])
    return found[0] if found else None
