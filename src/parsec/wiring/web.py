"""Open the HTTP server with the routes of all sides.

In: settings and the other sides. Out: the parts of the HTTP server. Errors: ParsecError for bad keys or certificates,
before anything else is opened. Next: parsec.web.http1.server.
"""

from collections.abc import Callable
from pathlib import Path

import msgspec
import structlog

from parsec.core.loopback import is_loopback
from parsec.keys.keyring import Keyring
from parsec.process.loop import Processor
from parsec.service import Part, Resource
from parsec.settings import Settings
from parsec.web.app import App
from parsec.web.auth import Authenticator
from parsec.web.http1.allowed_hosts import AllowedHosts
from parsec.web.http1.connection_limiter import ClientLimits, ConnectionLimiter
from parsec.web.http1.server import HttpServer, Tls
from parsec.web.request_body import RequestBodyReader
from parsec.web.routes.health import Check, Health, kafka_check, reason_check
from parsec.web.routes.ingest import IngestRoute
from parsec.web.routes.keyless import KEYLESS_TICK_S, KeylessSenders
from parsec.web.routes.stats import Ledger, Stats, connect_gauges, partition_ledger
from parsec.wiring.data_dir import WATCH_INTERVAL_S, DirectoryWatch
from parsec.wiring.ingest import IngestSide
from parsec.wiring.log import LogHandle
from parsec.wiring.processor import ProcessorSide
from parsec.wiring.query import QuerySide
from parsec.wiring.runtime import Runtime
from parsec.wiring.url_file import UrlFile

_log = structlog.get_logger(__name__)

FILE_CHECK_INTERVAL_S = 0.5
"""How often files of keys and certificates are checked for changes."""
STATS_INTERVAL_S = 30.0
"""Between two stats lines: often enough to see an incident, 3,000 lines a day."""


class Access(msgspec.Struct, frozen=True):
    """API keys, and the certificate if there is one."""

    keyring: Keyring
    tls: Tls | None


def open_access(settings: Settings, runtime: Runtime) -> Access:
    """Read keys and certificate. Raises ParsecError."""
    tls = Tls(Path(settings.tls_certificate), Path(settings.tls_key)) if settings.tls_certificate else None
    return Access(Keyring(settings.keys_path, runtime.clock), tls)


def open_web(
    settings: Settings, runtime: Runtime, access: Access, log: LogHandle, processor: ProcessorSide,
    query: QuerySide, ingest: IngestSide,
) -> list[Part]:  # fmt: skip
    """The server and the timers around it; it listens only once its part starts."""
    telemetry, keyring, tls = runtime.telemetry, access.keyring, access.tls
    watch = DirectoryWatch([*log.held, *processor.held], runtime.fail)
    checks = {**processor.checks, **ingest.checks, **_log_checks(log), "data_dir": reason_check(watch.why, "unhealthy")}
    health = Health(runtime.life, checks, runtime.clock)
    connect_gauges(telemetry, health, ingest.channel, settings.data_dir, settings.disk_reserve)

    def ledger() -> Ledger:
        return _ledger(log, processor.processor, ingest.channel.in_flight_events + log.waiting())

    stats = Stats(telemetry, ingest.channel, ledger, log.size_bytes)
    authenticator = Authenticator(keyring, warns=settings.auth == "warn")
    keyless = KeylessSenders(telemetry, settings.auth, str(settings.keys_file_path.absolute()))
    bodies = RequestBodyReader(ingest.admission, settings.max_body_bytes)
    limiter = ConnectionLimiter(
        _client_limits(settings, runtime.limits.connections), telemetry, _allowed_hosts(settings, keyring)
    )
    app = App(
        IngestRoute(ingest.pipeline, bodies, authenticator, keyless),
        [*keyless.routes(), *health.routes(), *query.routes, *stats.routes()],
        authenticator, settings.origins, limiter.count,
    )  # fmt: skip
    server = HttpServer(app, limiter, settings.host, settings.port, settings.shutdown_timeout, runtime.fail, tls)

    def log_stats() -> None:
        _log.info("Stats.", **msgspec.to_builtins(stats.snapshot()))

    return [
        runtime.ticker("keyless", KEYLESS_TICK_S, keyless.tick),
        runtime.ticker("data-dir", WATCH_INTERVAL_S, watch.tick),
        runtime.ticker("keys", FILE_CHECK_INTERVAL_S, keyring.reload_if_changed),
        *([] if tls is None else [runtime.ticker("certificate", FILE_CHECK_INTERVAL_S, tls.reload_if_changed)]),
        server,
        UrlFile(Path(settings.data_dir), lambda: server.url),
        Resource("tails", processor.tails.close),
        runtime.ticker("connections", 1.0, server.sweep),
        runtime.ticker("stats", STATS_INTERVAL_S, log_stats),
    ]


def _log_checks(log: LogHandle) -> dict[str, Callable[[], Check]]:
    if log.health is None:
        return {"log": reason_check(log.refuses, "unhealthy")}
    if not log.writers:  # it accepts no events, so it refuses none
        return {"kafka": kafka_check(log.health, lambda: None, log.waiting, lambda: None)}
    return {"kafka": kafka_check(log.health, log.refuses, log.waiting, log.spool_refuses)}


def _ledger(log: LogHandle, processor: Processor | None, not_in_log: int) -> Ledger:
    _, ends = log.ends() or (0, {})
    return Ledger(
        [
            partition_ledger(progress, max(ends.get(number, 0), progress.committed))
            for number, progress in sorted(processor.progress().items() if processor is not None else ())
        ],
        not_in_log,
        log.lost_in_spools(),
    )


def _allowed_hosts(settings: Settings, keyring: Keyring) -> AllowedHosts | None:
    """None where PARSEC_AUTH=off opened another address to everyone and no names are set."""
    if not is_loopback(settings.host) and not settings.host_names and settings.auth == "off":
        return None
    warns = settings.auth == "warn"
    return AllowedHosts(settings.host_names, lambda: warns or keyring.is_open, lambda: not keyring.is_open)


def _client_limits(settings: Settings, connections: int) -> ClientLimits:
    return ClientLimits(
        connections=connections,
        connections_per_address=settings.max_connections_per_address,
        requests_per_address=settings.max_requests_per_address,
    )
