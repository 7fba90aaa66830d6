"""One run of a plan over its connections, and the report on it.

In: a Plan. Out: its Result. Errors: ValueError when the URL is no address, OSError when Parsec does not listen or
connections break again and again, Rejected as in parsec.loadgen.plan. Next: parsec.cli.bench.
"""

import asyncio
from collections.abc import Callable
from time import perf_counter
from typing import Any

from parsec.api.audit import Audit
from parsec.api.status import LedgerStats, StatsAnswer
from parsec.core.counts import Counts
from parsec.loadgen.connection import LoadConnection
from parsec.loadgen.plan import Plan, Result, Schedule


class Load:
    """`result` grows while it runs."""

    def __init__(self, plan: Plan, clock: Callable[[], float] = perf_counter) -> None:
        """Raises ValueError when the plan's url is no address."""
        self.schedule = Schedule(plan, clock)
        self._connections: list[LoadConnection] = []

    @property
    def result(self) -> Result:
        return self.schedule.result

    async def run(self) -> Result:
        """Sends until the plan is fulfilled. Raises OSError, Rejected; `result` then has all that came before."""
        self.schedule.begin()
        self._connections = [LoadConnection(self.schedule) for _ in range(self.schedule.plan.connections)]
        running: list[asyncio.Task[None]] = []
        try:
            for connection in self._connections:
                await connection.open()
                running.append(asyncio.create_task(connection.run()))
            await asyncio.gather(*running)
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
            for connection in self._connections:
                connection.close()
            self.schedule.end()
        return self.result

    def abort_overdue(self) -> None:
        """Call it now and then: replaces connections with an overdue answer and counts their requests unanswered."""
        for connection in self._connections:
            connection.abort_overdue()


def in_flight(stats: StatsAnswer) -> int:
    """Accepted events that are not processed yet."""
    return (stats.ledger.in_flight or 0) + stats.channel.buffered + stats.spool.waiting


def restarted(before: StatsAnswer | None, after: StatsAnswer | None) -> bool:
    """Whether the server's own counters began again between the two."""
    return before is not None and after is not None and before.started_at != after.started_at


def report(
    result: Result, before: StatsAnswer | None, after: StatsAnswer | None, audit: Audit | None = None
) -> tuple[dict[str, Any], str]:
    """The report, and a doubt about its counts; "" without one. None: the key may not see the server's counts.

    After a restart the ledger, which survives it, counts the durable events, and `audit` checks the store.
    """
    found = _measured(result)
    found["restarted"] = restarted(before, after)
    if before is None or after is None:
        hidden = "counts cannot be compared: the server's counts need an API key with the scope admin"
        return found | {"server": None, "counts_agree": None}, hidden
    fates = Counts.__struct_fields__
    grown = {name: (getattr(after.ledger, name) or 0) - (getattr(before.ledger, name) or 0) for name in fates}
    processed, published = sum(grown.values()), after.producer.messages_sent - before.producer.messages_sent
    if found["restarted"]:
        published = _appended(before.ledger, after.ledger)
    for stats, when in ((before, "before"), (after, "after")):
        if left := in_flight(stats):
            agree: bool | None = None
            doubt = f"counts cannot be compared: {when} the run {left:,} events were not processed in time"
            break
    else:
        agree, doubt = _agreement(result, published, processed if isinstance(after.ledger.stored, int) else None)
        if agree and audit is not None and audit.difference:
            agree, doubt = (
                False,
                f"counts differ: the store and the ledger differ by {audit.difference:,}: parsec audit",
            )
    server = {"published": published, "processed": processed, "stored": grown["stored"]}
    return found | {"server": server, "counts_agree": agree}, doubt


def _appended(before: LedgerStats, after: LedgerStats) -> int:
    """By how much the ends of all partitions have moved."""
    ends = {(each.log_id, each.partition): each.end for each in before.partitions or ()}
    return sum(each.end - ends.get((each.log_id, each.partition), each.start) for each in after.partitions or ())


def _measured(result: Result) -> dict[str, Any]:
    quantiles = {
        f"p{q:g}".replace(".", "_"): round(result.latencies.quantile(q / 100) * 1000, 3) for q in (50, 90, 99, 99.9)
    }
    names = ("requests", "accepted", "rejected", "refused", "unanswered", "unsent", "reconnected")
    return {
        "seconds": round(result.seconds, 3),
        "events_per_s": round(result.accepted / result.seconds),
        "requests_per_s": round(result.requests / result.seconds),
        "latency_ms": quantiles,
        **{name: getattr(result, name) for name in names},
        "statuses": {str(status): count for status, count in sorted(result.statuses.items())},
    }


def _agreement(result: Result, published: int, processed: int | None) -> tuple[bool | None, str]:
    """None: cannot be said."""
    least = result.accepted
    most = least + result.unanswered  # events without an answer may or may not have been accepted
    answered = f"accepted {least:,} and left {most - least:,} without a clear answer"
    if not least <= published <= most:
        return False, f"counts differ: the server made {published:,} events durable, but {answered}"
    if processed is None:
        return None, "counts cannot be compared: the server's /stats has no ledger of processed events"
    if not least <= processed <= most:
        return False, f"counts differ: the server processed {processed:,} events, but {answered}"
    return True, ""
