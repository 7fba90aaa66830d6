"""Which events a question is about, whatever it asks of them.

In: tenant, time range, tree. Out: a condition and its parameters. Errors: none. Every statement of this package has its
condition from here, so that none can leave out the tenant. Next: parsec.query.sql.compile.
"""

import msgspec

from parsec.api.event_rules import MAX_STORED_AHEAD_S
from parsec.core.timestamp import SECOND
from parsec.query.language.ast import Everything, Node
from parsec.query.sql.columns import Parameters
from parsec.query.sql.compile import condition
from parsec.query.timerange import TimeRange


class Scope(msgspec.Struct, frozen=True):
    """The events of `tenant` within `between` that `node` matches."""

    tenant: str
    between: TimeRange
    node: Node = Everything()


def where(scope: Scope, parameters: Parameters) -> str:
    """What stands after WHERE. The time of receipt only tells the engine which parts and granules to leave out: no row
    of the others breaks it, so its column is not read."""
    between = scope.between
    received = max(0, between.start_ns - MAX_STORED_AHEAD_S * SECOND)
    return (
        f"tenant_id = {parameters.text(scope.tenant)}"
        f" AND timestamp >= {parameters.moment(between.start_ns)}"
        f" AND timestamp < {parameters.moment(between.end_ns)}"
        f" AND indexHint(received_at >= {parameters.moment(received)})"
        f" AND {condition(scope.node, parameters)}"
    )
