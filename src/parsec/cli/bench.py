"""`parsec bench`: put load on a Parsec and compare its counts with its answers. In: a plan. Out: a report.

Next: parsec.loadgen.load.
"""

import asyncio
import json
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from parsec.api.audit import Audit
from parsec.api.status import StatsAnswer
from parsec.cli.client_flags import api_key, ca_file, new_client, server_flags
from parsec.cli.terminal import GAVE_UP, NOT_ALL, fail, is_terminal, progress_bar, visible
from parsec.client import Client, RetryPolicy
from parsec.core.errors import Rejected, Retryable

if TYPE_CHECKING:
    from parsec.loadgen.load import Load

_STATS_TIMEOUT_S = 10.0
_POLL_S = 0.1
_UPDATE_S = 0.5


def _number(flag: str, default: float, type_: Any, text: str) -> Callable[[Any], Any]:
    return click.option(flag, default=default, show_default=True, type=type_, help=text)


@click.command()
@server_flags
@_number("--connections", 8, click.IntRange(1, 10_000), "Number of connections.")
@_number("--batch", 100, click.IntRange(1, 10_000), "Events per request.")
@_number("--rate", 0.0, click.FloatRange(0), "Events per second in total; 0: no limit.")
@_number("--duration", 10.0, click.FloatRange(0.1), "Seconds to send.")
@_number("--count", 0, click.IntRange(0), "Events to send, instead of --duration.")
@click.option("--tenant", help="Tenant of all events. Default: several, or that of a key without the scope admin.")
@_number("--tenants", 20, click.IntRange(1, 1000), "Number of tenants, bench-00 and so on; the first are the largest.")
@_number("--seed", 0, click.IntRange(0), "Seed of the random texts.")
@click.option(
    "--ack",
    default="durable",
    show_default=True,
    type=click.Choice(["durable", "enqueued"]),
    help="When the server answers: after fsync, or at once.",
)
@_number("--timeout", 30.0, click.FloatRange(0.1), "Seconds to wait; then a request counts as unanswered.")
@_number("--settle", 120.0, click.FloatRange(0), "Seconds to wait, before and after, until all events are processed.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, the default in a pipe.")
def bench(url: str, settle: float, as_json: bool, tenant: str | None, tenants: int, **plan: Any) -> None:
    """Send generated events and check the server's counts.

    The events vary and have about 310 bytes: 20 kinds of message, nested metadata, random numbers and trace ids.

    Compares the server's answers with what it made durable and processed. A request that is answered 429 or 5xx is not
    retried; its connection waits for Retry-After. With --rate, latency counts from the time at which a request was due.
    Other senders at the same time make the counts differ. If the server restarts, its counters begin again, so the
    ledger and an audit are compared instead.

    Exit code: 0 the counts agree, 1 they differ or cannot be compared, or all events are rejected, 3 no Parsec answers,
    or it refuses the requests.
    """
    import uvloop

    from parsec.loadgen.events import tenant_names
    from parsec.loadgen.load import Load, report, restarted
    from parsec.loadgen.plan import Plan

    plan["events"] = plan.pop("count")
    plan["duration_s"] = plan.pop("duration")
    plan["timeout_s"] = plan.pop("timeout")
    load: Load | None = None
    try:
        with new_client(url, _STATS_TIMEOUT_S) as client:
            before = _stats(client, settle)
            names = (tenant,) if tenant else () if before is None else tenant_names(tenants)
            load = Load(Plan(url, api_key=api_key(url), ca_file=ca_file(), tenants=names, **plan))
            uvloop.run(_run(load))
            after = _stats(client, settle, may_restart=True)
            audit = _audit(client, settle) if restarted(before, after) else None
    except Rejected as error:
        hint = "; name the key's tenant with --tenant" if error.code == "tenant_mismatch" else ""
        code = NOT_ALL if load is not None and load.result.rejected else GAVE_UP
        fail(visible(f"{url}: {error.message} ({error.code}){hint}"), code)
    except Retryable as error:
        fail(visible(str(error)), GAVE_UP)
    except OSError as error:
        fail(visible(f"{url}: {error}"), GAVE_UP)
    found, doubt = report(load.result, before, after, audit)
    click.echo(json.dumps(found) if as_json or not is_terminal() else _table(found))
    if doubt:
        fail(doubt, NOT_ALL)


def _stats(client: Client, within_s: float, *, may_restart: bool = False) -> StatsAnswer | None:
    """As `processed_stats`; None when the key may not see them."""
    try:
        return processed_stats(client, within_s, may_restart=may_restart)
    except Rejected as error:
        if error.code != "missing_scope":
            raise
        return None


def _audit(client: Client, within_s: float) -> Audit:
    """As `Client.audit`, also while a server that was killed again starts."""
    retry = RetryPolicy()
    end = retry.clock.monotonic() + within_s
    while True:
        try:
            return client.audit()
        except Retryable:
            if retry.clock.monotonic() >= end:
                raise
        retry.sleep(_POLL_S)


def processed_stats(
    client: Client, within_s: float, retry: RetryPolicy | None = None, *, may_restart: bool = False
) -> StatsAnswer:
    """The server's counts, once it has processed all events or `within_s` has passed.

    `may_restart`: waits that long for a server that does not answer, too. Raises as Client.stats."""
    from parsec.loadgen.load import in_flight

    retry = retry or RetryPolicy()
    end = retry.clock.monotonic() + within_s
    while True:
        try:
            stats = client.stats()
        except Retryable:
            if not may_restart or retry.clock.monotonic() >= end:
                raise
        else:
            if not in_flight(stats) or retry.clock.monotonic() >= end:
                return stats
        retry.sleep(_POLL_S)


async def _run(load: "Load") -> None:
    """Runs the load, on a terminal with a live line."""
    running = asyncio.create_task(load.run())
    plan = load.schedule.plan
    started, last = time.perf_counter(), 0
    with progress_bar(plan.events or plan.duration_s) as show:
        while not running.done():
            await asyncio.wait([running], timeout=_UPDATE_S)
            load.abort_overdue()
            result = load.result
            rate, last = int((result.accepted - last) / _UPDATE_S), result.accepted
            p99_ms = result.latencies.quantile(0.99) * 1000
            text = f"{rate:,} events/s  p99 {p99_ms:.1f} ms  refused {result.refused:,}"
            show(result.accepted if plan.events else time.perf_counter() - started, text)
    await running


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
    if report["restarted"]:
        lines.append(f"{'':>12} the server was restarted: counted by its ledger and an audit")
    return "\n".join(lines)
