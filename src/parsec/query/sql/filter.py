"""The events that a statement is about, as a condition.

In: a tenant, a time range or a range of the log, a syntax tree. Out: a condition and its parameters. Errors: none.
Every statement over events takes its condition from here, so that none can leave out the tenant.
Next: parsec.query.sql.compile.
"""

from collections.abc import Mapping

import msgspec

from parsec.api.event_rules import MAX_STORED_AHEAD_S
from parsec.core.timestamp import SECOND
from parsec.query.language.ast import Everything, Node
from parsec.query.sql.columns import Parameters
from parsec.query.sql.compile import condition
from parsec.query.timerange import TimeRange

Offsets = Mapping[tuple[str, int], int]
"""The next offset by log_id and partition."""


class Scope(msgspec.Struct, frozen=True):
    """The events of `tenant` within `time_range` that match `node`."""

    tenant: str
    time_range: TimeRange
    node: Node = Everything()


def where(scope: Scope, parameters: Parameters) -> str:
    return (
        f"tenant_id = {parameters.bind(scope.tenant)} AND {within(scope.time_range, parameters)}"
        f" AND {condition(scope.node, parameters)}"
    )


def within(time_range: TimeRange, parameters: Parameters) -> str:
    """The time of receipt only lets the engine skip parts and granules: every row in the range has a later one, so its
    column is not read."""
    received_at_ns = max(0, time_range.start_ns - MAX_STORED_AHEAD_S * SECOND)
    return (
        f"timestamp >= {parameters.timestamp(time_range.start_ns)}"
        f" AND timestamp < {parameters.timestamp(time_range.end_ns)}"
        f" AND indexHint(received_at >= {parameters.timestamp(received_at_ns)})"
    )


def within_offsets(since: Offsets, until: Offsets, parameters: Parameters) -> str:
    """A partition that `since` lacks is new: all of it up to `until`."""
    ranges = [
        f"log_id = {parameters.bind(log_id)} AND partition = {parameters.bind(partition, 'UInt32')}"
        f" AND offset >= {parameters.bind(first, 'UInt64')} AND offset < {parameters.bind(end, 'UInt64')}"
        for (log_id, partition), end in until.items()
        if (first := since.get((log_id, partition), 0)) < end
    ]
    return f"({' OR '.join(ranges) or '0'})"
