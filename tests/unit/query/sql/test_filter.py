"""The condition of every statement over events."""

from parsec.query.language.parse import parse
from parsec.query.sql.columns import Parameters
from parsec.query.sql.filter import Scope, where, within_offsets
from parsec.query.timerange import TimeRange

DAY_NS = 86_400_000_000_000


def test_tenant_and_time_range_always_hold_and_the_receipt_narrows() -> None:
    parameters = Parameters()
    assert where(Scope("acme", TimeRange(10 * DAY_NS, 11 * DAY_NS), parse("id:a OR id:b")), parameters) == (
        "tenant_id = {v0:String}"
        " AND timestamp >= fromUnixTimestamp64Nano({v1:Int64}, 'UTC')"
        " AND timestamp < fromUnixTimestamp64Nano({v2:Int64}, 'UTC')"
        " AND indexHint(received_at >= fromUnixTimestamp64Nano({v3:Int64}, 'UTC'))"
        " AND ((id = {v4:String}) OR (id = {v5:String}))"
    )
    ahead_ns = 600_000_000_000
    assert list(parameters.values.values()) == ["acme", 10 * DAY_NS, 11 * DAY_NS, 9 * DAY_NS - ahead_ns, "a", "b"]


def test_ranges_of_the_log_are_those_that_were_committed_in_between() -> None:
    parameters = Parameters()
    since = {("x", 0): 5, ("x", 1): 7}
    until = {("x", 0): 9, ("x", 1): 7, ("x", 2): 3}
    assert within_offsets(since, until, parameters) == (
        "(log_id = {v0:String} AND partition = {v1:UInt32} AND offset >= {v2:UInt64} AND offset < {v3:UInt64}"
        " OR log_id = {v0:String} AND partition = {v4:UInt32} AND offset >= {v5:UInt64} AND offset < {v6:UInt64})"
    )
    assert list(parameters.values.values()) == ["x", 0, 5, 9, 2, 0, 3]
    assert within_offsets(until, until, parameters) == "(0)"
