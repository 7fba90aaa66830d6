"""Figures about events, in groups: how many, how many different, the least, the greatest, the mean, quantiles.

In: a scope, metrics, up to three fields to group by. Out: the top groups. Errors: Rejected(invalid_parameter,
query_too_expensive), Retryable. Next: parsec.ports.store.
"""

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from parsec.api.query import AggregateGroup
from parsec.core.errors import Rejected
from parsec.ports.store import QueryLimits, StoreReader
from parsec.query.language.ast import TIMES, Field
from parsec.query.language.fields import field_parameter
from parsec.query.sql.columns import Parameters, number_value, shorten, text_value
from parsec.query.sql.filter import Scope, where

_METRIC = re.compile(r"([a-z]+|p[0-9]{1,2}(?:\.[0-9]{1,3})?)(?:\((.*)\))?", re.DOTALL)
_OF_NUMBERS = {"min": "min", "max": "max", "avg": "avg", "sum": "sum"}


class Metric(msgspec.Struct, frozen=True):
    """`name` is how it was asked for; `kind` one of count, distinct, min, max, avg, sum, quantile."""

    name: str
    kind: str
    field: Field | None = None
    level: float = 0.0


def parse_metric(text: str) -> Metric:
    """`count`, `distinct(source)`, `min(metadata.ms)`, `p95(metadata.ms)`: min, max, avg, sum and p0 to p99.999."""
    found = _METRIC.fullmatch(text.strip())
    kind, name = (found[1], found[2]) if found else ("", None)
    if kind == "count" and name is None:
        return Metric(text, "count")
    quantile = kind[:1] == "p" and kind[1:2].isdigit()
    if name is None or not (quantile or kind == "distinct" or kind in _OF_NUMBERS):
        message = f"{text[:64]!r} is none of count, distinct(f), min(f), max(f), avg(f), sum(f), p0(f) to p99.999(f)."
        raise Rejected("invalid_parameter", message, field="metric")
    of = field_parameter(name.strip(), "metric")
    timely = of.name in TIMES and kind in ("min", "max", "distinct")
    if kind != "distinct" and of.name != "metadata" and not timely:
        raise Rejected("invalid_parameter", f"{kind} needs a number of the metadata, not {of}.", field="metric")
    return Metric(text, "quantile", of, float(kind[1:]) / 100) if quantile else Metric(text, kind, of)


def aggregate(
    store: StoreReader, scope: Scope, metrics: Sequence[Metric], by: Sequence[Field], top: int, limits: QueryLimits
) -> list[AggregateGroup]:
    """The `top` groups by the first metric, greatest first; one group of everything without fields."""
    parameters = Parameters()
    sql = _statement(scope, metrics, by, top, parameters)
    rows = store.select(sql, parameters.values, limits, list[Any])
    return [_group(row, metrics, by) for row in rows]


def _statement(scope: Scope, metrics: Sequence[Metric], by: Sequence[Field], top: int, parameters: Parameters) -> str:
    keys = [f"{text_value(field, parameters)} AS key{n}" for n, field in enumerate(by)]
    figures = [f"{_figure(one, parameters)} AS figure{n}" for n, one in enumerate(metrics)]
    names = [f"key{n}" for n in range(len(by))]
    grouped = f" GROUP BY {', '.join(names)}" if names else ""
    order = ", ".join(["figure0 DESC NULLS LAST", *names])
    return (
        f"SELECT {', '.join(keys + figures)} FROM events WHERE {where(scope, parameters)}"  # noqa: S608
        f"{grouped} ORDER BY {order} LIMIT {parameters.bind(top, 'UInt32')}"
    )


def _figure(one: Metric, parameters: Parameters) -> str:
    if one.field is None:
        return "count()"
    if one.kind == "distinct":
        return f"uniq({text_value(one.field, parameters)})"
    if one.field.name in TIMES:
        return f"{one.kind}OrNull({one.field.name})"
    number = number_value(one.field, parameters)
    if one.kind == "quantile":
        return f"quantileOrNull({one.level:.5f})({number})"
    return f"{_OF_NUMBERS[one.kind]}OrNull({number})"


def _group(row: list[Any], metrics: Sequence[Metric], by: Sequence[Field]) -> AggregateGroup:
    keys, figures = row[: len(by)], row[len(by) :]
    return AggregateGroup(
        {str(field): key for field, key in zip(by, keys, strict=True)},
        {one.name: _shown(one, figure) for one, figure in zip(metrics, figures, strict=True)},
    )


def _shown(one: Metric, figure: Any) -> int | float | str | None:
    timely = one.field is not None and one.field.name in TIMES and one.kind != "distinct"
    return shorten(figure) if timely and isinstance(figure, str) else figure
