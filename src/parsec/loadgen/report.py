"""The report on a load, and whether the server's own counts agree with its answers; no I/O.

In: a Result, and the server's counts (GET /stats) before and after the load. Out: a report as JSON has it, and the
reason why counts differ or cannot be compared. Errors: none. Next: parsec.cli.bench.
"""

from collections.abc import Mapping
from typing import Any

from parsec.loadgen.plan import Result

Stats = Mapping[str, Any]
_WAITING = (("ledger", "in_flight"), ("channel", "buffered"), ("spool", "waiting"))


def in_flight(stats: Stats) -> int:
    """Accepted events that are not processed yet."""
    return sum(_part(stats, part).get(name, 0) for part, name in _WAITING)


def report(result: Result, before: Stats, after: Stats) -> tuple[dict[str, Any], str]:
    """The report, and a doubt about its counts; "" without one. Empty stats: the key may not see them."""
    found = _measured(result)
    if not (before and after):
        hidden = "counts cannot be compared: only an API key with the scope admin sees the server's"
        return found | {"server": None, "counts_agree": None}, hidden

    def grown(part: str, name: str) -> int:
        return int(_part(after, part).get(name, 0) - _part(before, part).get(name, 0))

    processed = sum(grown("ledger", fate) for fate in ("stored", "duplicate", "dead", "lost"))
    published = grown("producer", "messages_sent")
    agree, doubt = _agreement(result, published, processed, before, after)
    server = {"published": published, "processed": processed, "stored": grown("ledger", "stored")}
    return found | {"server": server, "counts_agree": agree}, doubt


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


def _agreement(result: Result, published: int, processed: int, before: Stats, after: Stats) -> tuple[bool | None, str]:
    """None: cannot be said."""
    least = result.accepted
    most = least + result.unanswered  # events without an answer may or may not have been accepted
    answered = f"accepted {least:,} and left {most - least:,} without a clear answer"
    for stats, when in ((before, "before"), (after, "after")):
        if left := in_flight(stats):
            return None, f"counts cannot be compared: {when} the run {left:,} events were not processed in time"
    if not least <= published <= most:
        return False, f"counts differ: the server made {published:,} events durable, but {answered}"
    if not _part(after, "ledger"):
        return None, "counts cannot be compared: the server's /stats has no ledger of processed events"
    if not least <= processed <= most:
        return False, f"counts differ: the server processed {processed:,} events, but {answered}"
    return True, ""


def _part(stats: Stats, name: str) -> Mapping[str, int]:
    part = stats.get(name)
    return part if isinstance(part, dict) else {}
