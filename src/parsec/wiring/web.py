"""The side of a process that speaks HTTP.

In: what the other sides have added. Out: the parts that start last and stop first. Next: parsec.service.
"""

from collections.abc import Callable

import msgspec
import structlog

from parsec.ingest.budget import ByteBudget
from parsec.process.loop import Processor
from parsec.service import Part, Resource
from parsec.settings import Settings
from parsec.web.app import App
from parsec.web.auth import Authenticator
from parsec.web.http1.connection_limiter import ClientLimits, ConnectionLimiter
from parsec.web.http1.server import HttpServer, connections_that_fit
from parsec.web.routes.health import Check, kafka_check, log_check
from parsec.web.routes.ingest import IngestGuard, IngestRoute
from parsec.web.routes.openapi import contract_route
from parsec.web.routes.stats import Ledger, PartitionLedger, Stats, read_when_asked
from parsec.wiring.assembly import Assembly
from parsec.wiring.ingest import TakingIn
from parsec.wiring.log import LogHandle
from parsec.wiring.processor import Storing

_log = structlog.get_logger(__name__)

LOOK_S = 0.5
"""How often files of keys and certificates are looked at."""


def serving(of: Assembly, log: LogHandle, storing: Storing, taking_in: TakingIn) -> list[Part]:
    """In order of start."""
    settings, telemetry = of.settings, of.telemetry
    of.checks.update(_log_checks(log))
    read_when_asked(telemetry, of.health, taking_in.channel, settings.data_dir, settings.disk_reserve)

    def ledger() -> Ledger:
        return _ledger(log, storing.processor, taking_in.in_flight() + log.waiting())

    stats = Stats(telemetry, taking_in.channel, ledger, log.size_bytes)
    callers = Authenticator(of.ring)
    door = IngestGuard(settings.max_body_bytes, ByteBudget(settings.ingest_memory), log.refuses, callers)
    ingest = IngestRoute(taking_in.pipeline, door, telemetry)
    of.routes += [*stats.routes(), contract_route()]
    gate = ConnectionLimiter(_client_limits(settings), telemetry)
    app = App(ingest, of.routes, callers, settings.origins, gate.count)
    server = HttpServer(app, gate, settings.host, settings.port, settings.shutdown_timeout, of.fail, of.tls)

    def stats_line() -> None:
        _log.info("Stats.", **msgspec.to_builtins(stats.snapshot()))

    return [
        of.ticker("keys", LOOK_S, of.ring.look),
        *([] if of.tls is None else [of.ticker("certificate", LOOK_S, of.tls.look)]),
        server,
        Resource("tails", storing.tails.close),  # before the server waits for its open requests
        of.ticker("connections", 1.0, server.sweep),
        of.ticker("stats", settings.stats_interval, stats_line),
    ]


def _log_checks(log: LogHandle) -> dict[str, Callable[[], Check]]:
    if log.contact is None:
        return {"log": log_check(log.refuses)}
    return {"kafka": kafka_check(log.contact, log.refuses if log.writers else lambda: None, log.waiting)}


def _ledger(log: LogHandle, processor: Processor | None, not_in_log: int) -> Ledger:
    _, ends = log.ends() or (0, {})
    return Ledger(
        [
            PartitionLedger.of(progress, max(ends.get(number, 0), progress.committed))
            for number, progress in sorted(processor.progress().items() if processor is not None else ())
        ],
        not_in_log,
    )


def _client_limits(settings: Settings) -> ClientLimits:
    return ClientLimits(
        connections=connections_that_fit(settings.max_connections),
        connections_per_address=settings.max_connections_per_address,
        requests_per_address=settings.max_requests_per_address,
        head_timeout_s=settings.head_timeout,
        body_timeout_s=settings.body_timeout,
        min_rate=settings.min_rate,
        send_timeout_s=settings.send_timeout,
        max_head_bytes=settings.max_head_bytes,
        max_url_bytes=settings.max_url_bytes,
    )
