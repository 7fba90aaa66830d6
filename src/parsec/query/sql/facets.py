"""The fields that events have, and the values of a field.

In: a scope. Out: fields or values with the number of events that have them, the most frequent first. Errors:
Rejected(query_too_expensive), Retryable. Next: parsec.ports.store.
"""

from parsec.api.query import FieldCount, ValueCount
from parsec.ports.store import QueryLimits, StoreReader
from parsec.query.language.ast import FIXED, Field
from parsec.query.language.fields import METADATA
from parsec.query.sql.columns import Parameters, text_value
from parsec.query.sql.filter import Scope, where

MOST_PATHS = 1_000


def field_counts(store: StoreReader, scope: Scope, limits: QueryLimits) -> list[FieldCount]:
    """The fixed fields first, then at most MOST_PATHS paths of the metadata."""
    parameters = Parameters()
    condition = where(scope, parameters)
    present = ", ".join(f"countIf({name} != '')" if name in ("region", "node") else "count()" for name in FIXED)
    (fixed,) = store.select(f"SELECT {present} FROM events WHERE {condition}", parameters.values, limits, list[int])  # noqa: S608
    found = store.select(
        "SELECT arrayJoin(JSONExtract(paths, 'Array(String)')) AS path, sum(events) AS often FROM"  # noqa: S608
        f" (SELECT paths, count() AS events FROM events WHERE {condition} GROUP BY paths)"
        f" GROUP BY path ORDER BY often DESC, path LIMIT {MOST_PATHS}",
        parameters.values,
        limits,
        tuple[str, int],
    )
    present_fixed = [FieldCount(name, count) for name, count in zip(FIXED, fixed, strict=True) if count]
    # A path with a backtick cannot be searched, so it is not listed: each name here is one that a query may use.
    return present_fixed + [FieldCount(METADATA + path, often) for path, often in found if "`" not in path]


def value_counts(store: StoreReader, scope: Scope, field: Field, top: int, limits: QueryLimits) -> list[ValueCount]:
    """The `top` values of a field, as text."""
    parameters = Parameters()
    sql = (
        f"SELECT {text_value(field, parameters)} AS value, count() AS often FROM events"  # noqa: S608
        f" WHERE {where(scope, parameters)} AND isNotNull(value)"
        f" GROUP BY value ORDER BY often DESC, value LIMIT {parameters.bind(top, 'UInt32')}"
    )
    return [ValueCount(*row) for row in store.select(sql, parameters.values, limits, tuple[str, int])]
