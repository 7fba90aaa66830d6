"""`parsec bench`: load on a Parsec, then whether its count is ours."""

import asyncio
import json
import sys
import time
from typing import Any

import click

from parsec.cli.server import GAVE_UP, NOT_ALL, api_key, ca_file, fail, open_client, server_flags
from parsec.cli.terminal import is_terminal, visible
from parsec.client import Client, RetryPolicy
from parsec.core.errors import Rejected, Retryable

_STATS_TIMEOUT_S = 10.0
_POLL_S = 0.1
_LOOK_S = 0.5


@click.command()
@server_flags
@click.option("--connections", default=8, show_default=True, type=click.IntRange(1, 10_000), help="Open at once.")
@click.option("--batch", default=100, show_default=True, type=click.IntRange(1, 10_000), help="Events per request.")
@click.option("--rate", default=0.0, type=click.FloatRange(0), help="Events per second in all; 0: as fast as it goes.")
@click.option("--duration", default=10.0, show_default=True, type=click.FloatRange(0.1), help="Seconds.")
@click.option("--count", default=0, type=click.IntRange(0), help="Events to send, instead of --duration.")
@click.option("--tenant", default="bench", show_default=True, help="Whose events these are.")
@click.option("--message-bytes", default=60, show_default=True, type=click.IntRange(1, 100_000), help="Per message.")
@click.option("--ack", default="durable", show_default=True, type=click.Choice(["durable", "enqueued"]))
@click.option(
    "--timeout",
    default=30.0,
    show_default=True,
    type=click.FloatRange(0.1),
    help="Seconds to wait for an answer; then the request counts as unanswered.",
)
@click.option(
    "--settle",
    default=120.0,
    show_default=True,
    type=click.FloatRange(0),
    help="Seconds to wait, before and after, until the server has processed all that is durable.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON; so is the output in a pipe.")
def bench(url: str, settle: float, as_json: bool, **plan: Any) -> None:
    """Send made-up events and compare what Parsec answered, made durable and processed.

    A request that is answered 429 or 5xx is not repeated; its connection waits as long as the answer asks for.
    With --rate, latency counts from the moment at which a request was due. Other senders at the same time make the
    counts differ.

    Exit code: 0 the counts agree, 1 they differ or cannot be compared, 3 no Parsec answers, or not to these requests.
    """
    import uvloop

    from parsec.loadgen.load import Load
    from parsec.loadgen.plan import Plan

    plan["events"] = plan.pop("count")
    plan["duration_s"] = plan.pop("duration")
    plan["timeout_s"] = plan.pop("timeout")
    try:
        with open_client(url, _STATS_TIMEOUT_S) as client:
            before, left_before = _counts(client, settle)
            load = Load(Plan(url, api_key=api_key(url), ca_file=ca_file(), **plan))
            uvloop.run(_watched(load, plan))
            after, left_after = _counts(client, settle)
    except Rejected as error:
        fail(visible(f"{url}: {error.message} ({error.code})"), GAVE_UP)
    except Retryable as error:
        fail(visible(str(error)), GAVE_UP)
    except OSError as error:
        fail(visible(f"{url}: {error}"), GAVE_UP)
    report = _report(load.result, before, after)
    if before and after:
        report["counts_agree"], doubt = _agreement(report, bool(_part(after, "ledger")), left_before, left_after)
    else:
        report |= {"server": None, "counts_agree": None}
        doubt = "counts cannot be compared: the server tells its own only to an API key with the scope admin"
    click.echo(json.dumps(report) if as_json or not is_terminal() else _table(report))
    if doubt:
        fail(doubt, NOT_ALL)


def _counts(client: Client, within_s: float) -> tuple[dict[str, Any], int]:
    """As `settled`; nothing where the key is good, but may not see them."""
    try:
        return settled(client, within_s)
    except Rejected as error:
        if error.code != "missing_scope":
            raise
        return {}, 0


def settled(client: Client, within_s: float, retry: RetryPolicy | None = None) -> tuple[dict[str, Any], int]:
    """The server's counts once it has processed all it took, and how many events it has not after `within_s`.

    Raises as Client.stats.
    """
    retry = retry or RetryPolicy()
    end = retry.clock.monotonic() + within_s
    while True:
        stats = client.stats()
        waits = (("ledger", "in_flight"), ("channel", "buffered"), ("spool", "waiting"))
        in_flight = sum(_part(stats, part).get(name, 0) for part, name in waits)
        if in_flight == 0 or retry.clock.monotonic() >= end:
            return stats, in_flight
        retry.sleep(_POLL_S)


async def _watched(load: Any, plan: dict[str, Any]) -> Any:
    """Runs the load; on a terminal with a line that lives."""
    running = asyncio.create_task(load.run())
    if not sys.stderr.isatty():
        while not running.done():
            await asyncio.wait([running], timeout=_LOOK_S)
            load.abort_overdue()
        return await running
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    shown = Progress(
        BarColumn(), TextColumn("{task.description}"), TimeElapsedColumn(), console=Console(stderr=True), transient=True
    )
    with shown:
        bar = shown.add_task("", total=plan["events"] or plan["duration_s"])
        started, last = time.perf_counter(), 0
        while not running.done():
            await asyncio.wait([running], timeout=_LOOK_S)
            load.abort_overdue()
            done = load.result.accepted
            elapsed = time.perf_counter() - started
            p99_ms = load.result.latencies.quantile(0.99) * 1000
            text = f"{int((done - last) / _LOOK_S):,} events/s  p99 {p99_ms:.1f} ms  refused {load.result.refused:,}"
            shown.update(bar, completed=done if plan["events"] else elapsed, description=text)
            last = done
    return await running


def _part(stats: dict[str, Any], name: str) -> dict[str, int]:
    part = stats.get(name)
    return part if isinstance(part, dict) else {}


def _report(result: Any, before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    def grown(part: str, name: str) -> int:
        return _part(after, part).get(name, 0) - _part(before, part).get(name, 0)

    processed = sum(grown("ledger", fate) for fate in ("stored", "duplicate", "dead", "lost"))
    published = grown("producer", "messages_sent")
    quantiles = {
        f"p{q:g}".replace(".", "_"): round(result.latencies.quantile(q / 100) * 1000, 3) for q in (50, 90, 99, 99.9)
    }
    return {
        "seconds": round(result.seconds, 3),
        "events_per_s": round(result.accepted / result.seconds),
        "requests_per_s": round(result.requests / result.seconds),
        "latency_ms": quantiles,
        "requests": result.requests,
        "accepted": result.accepted,
        "rejected": result.rejected,
        "refused": result.refused,
        "unanswered": result.unanswered,
        "unsent": result.unsent,
        "reconnected": result.reconnected,
        "statuses": {str(status): count for status, count in sorted(result.statuses.items())},
        "server": {"published": published, "processed": processed, "stored": grown("ledger", "stored")},
    }


def _agreement(report: dict[str, Any], has_ledger: bool, left_before: int, left_after: int) -> tuple[bool | None, str]:
    """Whether the server's counts are those of its answers, and if not, why; None: that cannot be said."""
    least = report["accepted"]
    most = least + report["unanswered"]  # without an answer they may or may not have been taken
    published, processed = report["server"]["published"], report["server"]["processed"]
    answered = f"accepted {least:,} and left {most - least:,} without a clear answer"
    for left, when in ((left_before, "before"), (left_after, "after")):
        if left:
            return None, f"counts cannot be compared: {when} the run {left:,} events did not get processed in time"
    if not least <= published <= most:
        return False, f"counts differ: the server made {published:,} events durable, but {answered}"
    if not has_ledger:
        return None, "counts cannot be compared: the server's /stats has no ledger of what it processed"
    if not least <= processed <= most:
        return False, f"counts differ: the server processed {processed:,} events, but {answered}"
    return True, ""


def _table(report: dict[str, Any]) -> str:
    latency = ", ".join(f"{name} {value:g}" for name, value in report["latency_ms"].items())
    lines = [
        f"{report['events_per_s']:>12,} events/s, {report['requests_per_s']:,} requests/s in {report['seconds']:.1f} s",
        f"{'latency':>12} ms: {latency}",
        f"{report['accepted']:>12,} accepted, {report['rejected']:,} rejected, {report['refused']:,} refused, "
        f"{report['unanswered']:,} unanswered, {report['unsent']:,} unsent",
    ]
    if report["server"] is not None:
        published, processed = report["server"]["published"], report["server"]["processed"]
        lines.append(f"{published:>12,} durable on the server, {processed:,} processed")
    return "\n".join(lines)
