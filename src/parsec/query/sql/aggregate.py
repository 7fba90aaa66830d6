"""Metrics over events, in groups: counts, distinct values, minimum, maximum, mean, sum, quantiles.

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
_OF_NUMBERS = ("min", "max", "avg", "sum")


class Metric(msgspec.Struct, frozen=True):
    """`name`: as in the request. `kind`: count, distinct, min, max, avg, sum or quantile, then with its `level`."""

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
        known = "count, distinct(f), min(f), max(f), avg(f), sum(f), or p0(f) to p99.999(f)"
        message = f"Unknown metric {text[:64]!r}; write {known}."
        raise Rejected("invalid_parameter", message, field="metric")
    field = field_parameter(name.strip(), "metric")
    of_time = field.name in TIMES and kind in ("min", "max")
    if kind != "distinct" and field.name != "metadata" and not of_time:
        message = f"{kind} needs a number of the metadata, not {field}; write {kind}(metadata.key)."
        raise Rejected("invalid_parameter", message, field="metric")
    return Metric(text, "quantile", field, float(kind[1:]) / 100) if quantile else Metric(text, kind, field)


def aggregate(
    store: StoreReader, scope: Scope, metrics: Sequence[Metric], by: Sequence[Field], top: int, limits: QueryLimits
) -> list[AggregateGroup]:
    """The `top` groups by the first metric, the greatest first; a single group when `by` is empty."""
    parameters = Parameters()
    names = [f"key{n}" for n in range(len(by))]
    keys = [f"{text_value(field, parameters)} AS {name}" for field, name in zip(by, names, strict=True)]
    figures = [f"{_expression(metric, parameters)} AS figure{n}" for n, metric in enumerate(metrics)]
    grouped = f" GROUP BY {', '.join(names)}" if names else ""
    order = ", ".join(["figure0 DESC NULLS LAST", *names])
    sql = (
        f"SELECT {', '.join(keys + figures)} FROM events WHERE {where(scope, parameters)}"  # noqa: S608
        f"{grouped} ORDER BY {order} LIMIT {parameters.bind(top, 'UInt32')}"
    )
    return [_group(row, metrics, by) for row in store.select(sql, parameters.values, limits, list[Any])]


def _expression(metric: Metric, parameters: Parameters) -> str:
    if metric.field is None:
        return "count()"
    if metric.kind == "distinct":
        return f"uniq({text_value(metric.field, parameters)})"
    if metric.field.name in TIMES:
        return f"{metric.kind}OrNull({metric.field.name})"
    number = number_value(metric.field, parameters)
    if metric.kind == "quantile":
        return f"quantileOrNull({metric.level:.5f})({number})"
    return f"{metric.kind}OrNull({number})"


def _group(row: list[Any], metrics: Sequence[Metric], by: Sequence[Field]) -> AggregateGroup:
    keys, figures = row[: len(by)], row[len(by) :]
    return AggregateGroup(
        {str(field): key for field, key in zip(by, keys, strict=True)},
        # Only minima and maxima of times are texts.
        {
            metric.name: shorten(figure) if isinstance(figure, str) else figure
            for metric, figure in zip(metrics, figures, strict=True)
        },
    )
