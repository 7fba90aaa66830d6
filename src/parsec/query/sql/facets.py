"""Which fields events have, and which values a field has.

In: a scope. Out: names or values with how many events have them, the most frequent first. Errors:
Rejected(query_too_expensive), Retryable. Next: parsec.ports.store.
"""

from parsec.api.query import FieldCount, ValueCount
from parsec.ports.store import QueryLimits, StoreReader
from parsec.query.language.ast import FIXED, Field
from parsec.query.language.fields import METADATA
from parsec.query.sql import columns
from parsec.query.sql.columns import Parameters
from parsec.query.sql.filter import Scope, where

MOST_NAMES = 1_000


def names(store: StoreReader, scope: Scope, limits: QueryLimits) -> list[FieldCount]:
    """Every field of the scope's events: the fixed ones first, then paths of the metadata, at most MOST_NAMES."""
    parameters = Parameters()
    condition = where(scope, parameters)
    present = ", ".join(f"countIf({name} != '')" if name in ("region", "node") else "count()" for name in FIXED)
    (fixed,) = store.select(f"SELECT {present} FROM events WHERE {condition}", parameters.values, limits, list[int])  # noqa: S608
    found = store.select(
        f"SELECT arrayJoin(JSONAllPaths(attributes)) AS path, count() AS often FROM events WHERE {condition}"  # noqa: S608
        f" GROUP BY path ORDER BY often DESC, path LIMIT {MOST_NAMES}",
        parameters.values,
        limits,
        tuple[str, int],
    )
    present_fixed = [FieldCount(name, count) for name, count in zip(FIXED, fixed, strict=True) if count]
    return present_fixed + [FieldCount(METADATA + path, often) for path, often in found]


def values(store: StoreReader, scope: Scope, field: Field, top: int, limits: QueryLimits) -> list[ValueCount]:
    """The `top` values of a field, as text."""
    parameters = Parameters()
    sql = (
        f"SELECT {columns.text_of(field, parameters)} AS value, count() AS often FROM events"  # noqa: S608
        f" WHERE {where(scope, parameters)} AND isNotNull(value)"
        f" GROUP BY value ORDER BY often DESC, value LIMIT {parameters.bind(top, 'UInt32')}"
    )
    return [ValueCount(*row) for row in store.select(sql, parameters.values, limits, tuple[str, int])]
