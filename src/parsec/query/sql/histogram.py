"""The number of events per interval of time.

In: a scope, an interval or none, groups or none. Out: every bucket of the range, also the empty ones. Errors:
Rejected(invalid_parameter, query_too_expensive), Retryable. Next: parsec.ports.store.
"""

from typing import NamedTuple

from parsec.api.query import HistogramBucket
from parsec.core.errors import Rejected
from parsec.core.severity import SEVERITIES
from parsec.core.timestamp import SECOND, text_of
from parsec.ports.store import QueryLimits, StoreReader
from parsec.query.language.ast import Field
from parsec.query.sql.columns import Parameters, text_value
from parsec.query.sql.filter import Scope, where
from parsec.query.timerange import TimeRange

MOST_BUCKETS = 2_000
_AIM = 60
_NICE_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400, 604_800)


class GroupBy(NamedTuple):
    """The `most` frequent values of a field, over the whole range, are counted apart; others are in `count` only."""

    field: Field
    most: int


def histogram(
    store: StoreReader, scope: Scope, limits: QueryLimits, *, interval_s: int | None = None,
    groups: GroupBy | None = None,
) -> tuple[int, list[HistogramBucket]]:  # fmt: skip
    """The length of an interval in seconds, and every bucket of the range."""
    step_s = interval(scope.time_range) if interval_s is None else interval_s
    first, last = _numbers(scope.time_range, step_s)
    if last - first >= MOST_BUCKETS:
        message = (
            f"The range has more than {MOST_BUCKETS} such intervals; use an interval of {interval(scope.time_range)} s,"
            " or a shorter range."
        )
        raise Rejected("invalid_parameter", message, field="interval")
    parameters = Parameters()
    sql = _statement(scope, step_s, groups, parameters)
    counts: dict[int, int] = dict.fromkeys(range(first, last + 1), 0)
    named: dict[int, dict[str, int]] = {number: {} for number in counts}
    for number, value, count in store.select(sql, parameters.values, limits, tuple[int, str | None, int]):
        counts[number] += count
        if value is not None:
            named[number][value] = count
    return step_s, [
        HistogramBucket(text_of(n * step_s * SECOND), count, ranked(named[n])) for n, count in counts.items()
    ]


def ranked(counts: dict[str, int]) -> dict[str, int]:
    """The greatest count first, equal ones by name; the store returns them in no fixed order."""
    return dict(sorted(counts.items(), key=lambda each: (-each[1], each[0])))


def interval(time_range: TimeRange) -> int:
    """A round number of seconds that divides the range into about sixty intervals."""
    wanted = (time_range.end_ns - time_range.start_ns) / SECOND / _AIM
    nice = next((seconds for seconds in _NICE_S if seconds >= wanted), None)
    weeks = int(wanted // _NICE_S[-1]) + 1
    return weeks * _NICE_S[-1] if nice is None else nice


def _numbers(time_range: TimeRange, step_s: int) -> tuple[int, int]:
    """The first and the last bucket; an empty range has none."""
    step = step_s * SECOND
    return time_range.start_ns // step, (time_range.end_ns - 1) // step


def _statement(scope: Scope, step_s: int, groups: GroupBy | None, parameters: Parameters) -> str:
    condition = where(scope, parameters)
    number = f"intDiv(toUnixTimestamp64Nano(timestamp), {parameters.bind(step_s * SECOND, 'Int64')})"
    value = "CAST(NULL, 'Nullable(String)')"
    if groups is not None and groups.field.name == "severity" and groups.most >= len(SEVERITIES):
        value = "toNullable(severity)"  # few enough to be counted in one pass
    elif groups is not None:
        text = text_value(groups.field, parameters)
        most = (
            f"SELECT {text} AS value FROM events WHERE {condition} AND isNotNull(value)"  # noqa: S608
            f" GROUP BY value ORDER BY count() DESC, value LIMIT {parameters.bind(groups.most, 'UInt32')}"
        )
        value = f"if({text} IN ({most}), toNullable({text}), NULL)"
    return (
        f"SELECT {number} AS number, {value} AS value, count() FROM events WHERE {condition}"  # noqa: S608
        " GROUP BY number, value ORDER BY number"
    )
