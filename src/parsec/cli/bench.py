"""`parsec bench`: load on a Parsec, then whether its count is ours."""

import asyncio
import json
import sys
import time
from typing import Any

import click

from parsec.cli.server import GAVE_UP, NOT_ALL, api_key, fail, server_flags
from parsec.cli.terminal import is_terminal

_SETTLE_S = 120.0


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
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON; so is the output in a pipe.")
def bench(url: str, as_json: bool, **plan: Any) -> None:
    """Send made-up events and compare what Parsec answered, made durable and processed.

    Exit code 1 when the counts differ. Other senders at the same time make them differ too.
    """
    import uvloop

    from parsec.client.load import Load, Plan

    plan["events"] = plan.pop("count")
    plan["duration_s"] = plan.pop("duration")
    try:
        before = _settled_stats(url)
        load = Load(Plan(url, api_key=api_key(), **plan))
        uvloop.run(_watched(load, plan))
        after = _settled_stats(url)
    except OSError as error:
        fail(f"{url}: {error}", GAVE_UP)
    report = _report(load.result, before, after)
    click.echo(json.dumps(report) if as_json or not is_terminal() else _table(report))
    if not report["counts_agree"]:
        fail("the server's counts differ from the answers", NOT_ALL)


async def _watched(load: Any, plan: dict[str, Any]) -> None:
    """Runs the load; on a terminal with a line that lives."""
    running = asyncio.create_task(load.run())
    if not sys.stderr.isatty():
        await running
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    shown = Progress(
        BarColumn(), TextColumn("{task.description}"), TimeElapsedColumn(), console=Console(stderr=True), transient=True
    )
    with shown:
        bar = shown.add_task("", total=plan["events"] or plan["duration_s"])
        started, last = time.perf_counter(), 0
        while not running.done():
            await asyncio.wait([running], timeout=0.5)
            done = load.result.accepted
            elapsed = time.perf_counter() - started
            p99_ms = load.result.latencies.quantile(0.99) * 1000
            text = f"{(done - last) * 2:,} events/s  p99 {p99_ms:.1f} ms  refused {load.result.refused:,}"
            shown.update(bar, completed=done if plan["events"] else elapsed, description=text)
            last = done
    await running


def _stats(url: str) -> dict[str, Any]:
    import urllib.request

    request = urllib.request.Request(url.rstrip("/") + "/stats")  # noqa: S310 (the address is the caller's own)
    if key := api_key():
        request.add_header("Authorization", f"Bearer {key}")
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
        stats: dict[str, Any] = json.load(answer)
        return stats


def _settled_stats(url: str) -> dict[str, Any]:
    """The server's counts once it has processed all that is durable."""
    end = time.monotonic() + _SETTLE_S
    while True:
        stats = _stats(url)
        if not stats["ledger"] or stats["ledger"]["in_flight"] == 0 or time.monotonic() > end:
            return stats
        time.sleep(0.1)


def _report(result: Any, before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    def grown(part: str, name: str) -> int:
        first, last = before.get(part, {}), after.get(part, {})
        return int(last.get(name, 0)) - int(first.get(name, 0))

    processed = sum(grown("ledger", fate) for fate in ("stored", "duplicate", "dead", "lost"))
    published = grown("producer", "messages_sent")
    # A request without an answer may or may not have been taken.
    agree = all(result.accepted <= n <= result.accepted + result.unanswered for n in (published, processed))
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
        "statuses": {str(status): count for status, count in sorted(result.statuses.items())},
        "server": {"published": published, "processed": processed, "stored": grown("ledger", "stored")},
        "counts_agree": agree,
    }


def _table(report: dict[str, Any]) -> str:
    latency = ", ".join(f"{name} {value:g}" for name, value in report["latency_ms"].items())
    lines = [
        f"{report['events_per_s']:>12,} events/s, {report['requests_per_s']:,} requests/s in {report['seconds']:.1f} s",
        f"{'latency':>12} ms: {latency}",
        f"{report['accepted']:>12,} accepted, {report['rejected']:,} rejected, {report['refused']:,} refused, "
        f"{report['unanswered']:,} unanswered",
        f"{report['server']['published']:>12,} durable on the server, {report['server']['processed']:,} processed",
    ]
    return "\n".join(lines)
