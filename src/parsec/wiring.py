"""Settings to objects: the one place where everything is put together, and the only importer of adapters.

In: loaded settings. Out: a running process and its exit code. Next: parsec.service.
"""

import asyncio
import gc
import os
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import structlog
import uvloop

from parsec import __version__, logs
from parsec.adapters.broker.kafka_opened import open_kafka
from parsec.adapters.broker.offline import OfflineLog, open_alone, open_offline
from parsec.adapters.broker.opened import Loop, Opened, open_embedded
from parsec.adapters.dedup.local import LocalDedup
from parsec.adapters.dedup.redis import RedisDedup
from parsec.adapters.limits.redis import RedisLeases
from parsec.adapters.redis_link import Server
from parsec.core.clock import SystemClock, SystemRandom
from parsec.core.errors import Fatal, ParsecError
from parsec.core.life import Life
from parsec.ingest.budget import ByteBudget
from parsec.ingest.channel import BatchLimits, Channel
from parsec.ingest.leasing import Leasing
from parsec.ingest.limits import TenantLimits
from parsec.ingest.pipeline import Identity, Pipeline, PipelineOptions
from parsec.ingest.policy import PolicyFile, policy_of
from parsec.ingest.worker import SLICE_BYTES, Worker, WorkerOptions
from parsec.keys.ring import Keyring
from parsec.ports.broker import LogReader, Progress, Slice
from parsec.ports.dedup import Dedup, Window
from parsec.ports.store import DeadLetter, Limits, Row, StoreReader, StoreWriter
from parsec.process.backlog import Limits as InsertLimits
from parsec.process.claims import Claims
from parsec.process.completeness import Completeness, Ends
from parsec.process.loop import Options, Processor
from parsec.process.rows import Rules, rows
from parsec.query.audit import Audit, today
from parsec.query.live import Live
from parsec.query.missing import audit_with_log
from parsec.query.polled import Polled
from parsec.query.tails import Bounds as TailBounds
from parsec.query.tails import Tails
from parsec.service import EXIT_NOT_STARTED, LoopTurn, Part, Resource, Service, ThreadPart, Ticker
from parsec.settings import Loaded, Settings, host_and_port, is_loopback
from parsec.telemetry import Telemetry
from parsec.web.admin_routes import AdminRoutes
from parsec.web.app import App
from parsec.web.asking import Asker
from parsec.web.bodies import give_large_buffers_back
from parsec.web.callers import Callers
from parsec.web.checks import channel_check, kafka_check, log_check, stage_check
from parsec.web.contract_routes import contract_route
from parsec.web.dead_letter_routes import DeadLetterRoutes
from parsec.web.gate import ClientLimits, Gate
from parsec.web.gauges import read_age, read_when_asked
from parsec.web.health_routes import Check, Health
from parsec.web.ingest_routes import Door, IngestRoute
from parsec.web.missing import Missing
from parsec.web.query_routes import QueryRoutes
from parsec.web.server import HttpServer, connections_that_fit
from parsec.web.stats_routes import Ledger, PartitionLedger, Stats
from parsec.web.tail_routes import TailRoutes
from parsec.web.tls import Tls

if TYPE_CHECKING:
    from parsec.adapters.store.clickhouse import ClickHouseStore

_log = structlog.get_logger(__name__)

GROUP_COMMIT_BYTES = 8 << 20
ACK_TIMEOUT_S = 30.0
QUERY_THREADS = 4
LOOK_S = 0.5
"""How often files of keys and certificates are looked at."""
OFFLINE_QUESTION_S = 600.0
LAST_INSERT_SHARE = 0.25
"""Share of the shutdown timeout that is left to the insert in hand when the processor begins no new one."""
SWITCH_INTERVAL_S = 0.001
"""How long a thread may hold the interpreter while another waits: the event loop must not wait for rows being made."""

_clock = SystemClock()


def serve(loaded: Loaded) -> int:
    """Runs Parsec until it is told to stop; the exit code."""
    settings = loaded.settings
    logs.configure(settings.log_level, settings.log_format)
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    give_large_buffers_back()
    return uvloop.run(_run(loaded))


def offline_logs(settings: Settings) -> list[OfflineLog]:
    """The log of a stopped Parsec and its spools, only to be read. Raises Fatal, for one while it is in use."""
    return open_offline(Path(settings.data_dir))


def offline_audit(settings: Settings) -> Audit:
    """The ledger of a stopped Parsec, recounted record by record; its directory is held meanwhile.

    Raises Fatal, Retryable, Rejected, OSError.
    """
    if settings.kafka_brokers or settings.storage_backend != "embedded":
        raise Fatal("only the embedded log and store can be recounted offline; ask a process that runs")
    from parsec.adapters.store.clickhouse import ClickHouseStore
    from parsec.adapters.store.embedded import Embedded

    directory = Path(settings.data_dir)
    with ExitStack() as opened:
        log, progress = open_alone(directory)
        opened.callback(log.close)
        store = ClickHouseStore(Embedded(directory / "store"), settings.retention)
        opened.callback(store.close)
        limits = Limits(settings.query_memory, OFFLINE_QUESTION_S)
        return audit_with_log(store.reader(), progress, log.records, today(_clock), limits)


async def _run(loaded: Loaded) -> int:
    settings = loaded.settings
    _log.info("Starting.", version=__version__, data_dir=settings.data_dir, pid=os.getpid())
    if settings.auth == "off" and not is_loopback(settings.host):
        _log.warning("Keys are off: whoever reaches this address may do anything.", host=settings.host)
    life = Life()
    service = Service(life, settings.drain, settings.shutdown_timeout, _clock)
    try:
        parts = _parts(loaded, life, service.fail)
    except (ParsecError, OSError) as error:
        _log.error("Parsec could not start.", why=str(error))
        return EXIT_NOT_STARTED
    gc.collect()
    gc.freeze()  # what lives as long as the process is not walked by every collection
    return await service.run(parts)


def _parts(loaded: Loaded, life: Life, fail: Callable[[], None]) -> list[Part]:
    """Everything that runs, in order of start. Raises ParsecError or OSError when a part cannot be opened."""
    settings = loaded.settings
    roles = settings.roles
    telemetry = Telemetry()
    ring = Keyring(settings.keys_path, _clock)
    tls = Tls(Path(settings.tls_certificate), Path(settings.tls_key)) if settings.tls_certificate else None
    log = open_log(settings, telemetry)
    turn = LoopTurn(asyncio.get_running_loop())
    parts: list[Part] = [Resource("log", log.close), *(_loop_part(loop, fail) for loop in log.loops)]
    checks: dict[str, Callable[[], Check]] = {}
    health = Health(life, checks, _clock)
    routes = health.routes()
    processor: Processor | None = None
    tails = Tails(TailBounds(settings.tails_per_tenant, settings.tails, settings.tail_bytes))
    live = Live(tails)
    shared = log.progress if settings.storage_backend != "embedded" else None
    """Where others store events, too."""
    try:
        store = _open_store(settings, turn, parts, fail) if roles != {"ingest"} else None
    except BaseException:
        log.close()
        raise
    if store is not None and log.reader is not None:
        window = Window(settings.dedup_window, settings.dedup_ids)
        dedup = _dedup(settings, window, store.name, telemetry, turn)
        claims = Claims(dedup, store, window, telemetry)
        processor = _processor(
            settings, log.reader, store, claims, telemetry, turn, live.offer if shared is None else _ignore
        )
        checks["processor"] = stage_check("processor", processor, settings.stall_after)
        parts += [
            Resource("claims", dedup.close),
            _loop_part(Loop("live", live.run), fail),
            _processor_part(processor, settings, log.hurry, fail),
        ]

    positions = processor.positions if processor is not None else dict[int, int]
    if store is not None and "query" in roles:
        progress = shared or (processor.progress if processor is not None else dict[int, Progress])
        completeness = Completeness(lambda: _ends(log), log.committed or positions, lambda: _lost(progress()))
        completeness.sample()
        read_age(telemetry, completeness.until_ns, _clock.time_ns)
        askers = ThreadPoolExecutor(QUERY_THREADS, "parsec-query")
        reader, asker = store.reader(), Asker(askers, _query_limits(settings), telemetry)
        missing = Missing(reader, completeness, log.waiting, _clock)
        routes += QueryRoutes(reader, missing, asker, _clock).routes()
        routes += DeadLetterRoutes(reader, asker, _clock).routes()
        routes += TailRoutes(tails, telemetry).routes()
        routes += AdminRoutes(reader, lambda: progress().values(), asker, telemetry, _clock).routes()
        parts += [
            Resource("queries", asker.close),
            *([] if shared is None else [_polled(tails, reader, shared, settings, fail)]),
            Ticker("completeness", 1.0, completeness.sample, fail),
        ]

    large_bytes = sys.maxsize if settings.kafka_brokers else SLICE_BYTES
    channel = Channel(settings.channel_events, settings.channel_bytes, large_bytes)
    tenant_limits = _tenant_limits(loaded, log, parts, fail)
    pipeline = Pipeline(
        channel, _pipeline_options(settings), telemetry, _clock, SystemRandom(), log.max_event_bytes, tenant_limits
    )
    workers = [
        Worker(channel, writer, pipeline.resolve, _worker_options(settings), telemetry, _clock, fail)
        for writer in log.writers
    ]
    if workers:
        checks["channel"] = channel_check(channel)
    for name, worker in _named(workers):
        checks[name] = stage_check(name, worker, settings.stall_after)
    checks |= _log_checks(log)

    def in_flight() -> int:
        return channel.offered_events - sum(worker.finished_events for worker in workers) + log.waiting()

    def stop_worker(_: float) -> None:
        channel.close()
        for worker in workers:
            worker.hurry()

    read_when_asked(telemetry, health, channel, settings.data_dir, settings.disk_reserve)
    stats = Stats(telemetry, channel, lambda: _ledger(log, processor, in_flight()), log.size_bytes)
    callers = Callers(ring)
    door = Door(settings.max_body_bytes, ByteBudget(settings.ingest_memory), log.refuses, callers)
    ingest = IngestRoute(pipeline, door, telemetry)
    routes += [*stats.routes(), contract_route()]
    gate = Gate(_client_limits(settings), telemetry)
    app = App(ingest, routes, callers, settings.origins, gate.count)
    server = HttpServer(app, gate, settings.host, settings.port, settings.shutdown_timeout, fail, tls)

    def stats_line() -> None:
        _log.info("Stats.", **msgspec.to_builtins(stats.snapshot()))

    return [
        *parts,
        *(ThreadPart(name, worker.run, stop_worker, fail, _clock) for name, worker in _named(workers)),
        Ticker("acks", 1.0, pipeline.expire, fail),
        Ticker("keys", LOOK_S, ring.look, fail),
        *([] if tls is None else [Ticker("certificate", LOOK_S, tls.look, fail)]),
        server,
        Resource("tails", tails.close),  # before the server waits for its open requests
        Ticker("connections", 1.0, server.sweep, fail),
        Ticker("stats", settings.stats_interval, stats_line, fail),
    ]


def _open_store(settings: Settings, turn: LoopTurn, parts: list[Part], fail: Callable[[], None]) -> "ClickHouseStore":
    """Embedded or on a server; what it needs to run is added to the parts. Raises ParsecError."""
    # Not at the top: what only ingests needs none of it, and 6 MB less.
    from parsec.adapters.store.clickhouse import ClickHouseStore
    from parsec.adapters.store.embedded import Embedded
    from parsec.adapters.store.server import Server as StoreServer

    if settings.storage_backend == "clickhouse":
        server = StoreServer(
            url=settings.clickhouse_url,
            user=settings.clickhouse_user,
            password=settings.clickhouse_password,
            database=settings.clickhouse_database,
        )
        store = ClickHouseStore(server, settings.retention, breathe=turn)
        parts.append(Resource("store", store.close))
        return store
    engine = Embedded(Path(settings.data_dir) / "store")
    store = ClickHouseStore(engine, settings.retention, breathe=turn)
    parts += [Resource("store", store.close), _loop_part(Loop("settler", engine.keep_settled), fail)]
    return store


def _query_limits(settings: Settings) -> Limits:
    return Limits(
        settings.query_memory,
        settings.query_timeout,
        max_rows_read=settings.query_rows,
        max_bytes_read=settings.query_bytes,
    )


def _processor_part(
    processor: Processor, settings: Settings, hurry: Callable[[], None], fail: Callable[[], None]
) -> ThreadPart:
    def stop(deadline: float) -> None:
        hurry()
        # What is left in Kafka is there for others, too; in the embedded log it waits for the next start.
        alone = not settings.kafka_brokers
        processor.stop(deadline - settings.shutdown_timeout * LAST_INSERT_SHARE if alone else None)

    return ThreadPart("processor", processor.run, stop, fail, _clock)


def _log_checks(log: Opened) -> dict[str, Callable[[], Check]]:
    if log.contact is None:
        return {"log": log_check(log.refuses)}
    return {"kafka": kafka_check(log.contact, log.refuses if log.writers else lambda: None, log.waiting)}


def open_log(settings: Settings, telemetry: Telemetry) -> Opened:
    """Kafka where it is named, else the embedded log. Raises Fatal."""
    if settings.kafka_brokers:
        roles = settings.roles
        ingest, process = "ingest" in roles, "process" in roles
        return open_kafka(settings, _clock, SystemRandom(), telemetry, ingest=ingest, process=process)
    return open_embedded(settings, _clock, telemetry)


def _loop_part(loop: Loop, fail: Callable[[], None]) -> ThreadPart:
    stop = threading.Event()
    return ThreadPart(loop.name, lambda: loop.run(stop), lambda _: stop.set(), fail, _clock)


def _named(workers: Sequence[Worker]) -> list[tuple[str, Worker]]:
    """One is `worker`, several have numbers."""
    return [("worker" if len(workers) == 1 else f"worker-{n}", worker) for n, worker in enumerate(workers, 1)]


def _ends(log: Opened) -> Ends | None:
    """Not known while accepted events are not even in the log."""
    found = None if log.waiting() else log.ends()
    return None if found is None else Ends(*found)


def _polled(
    tails: Tails,
    store: StoreReader,
    progress: Callable[[], Mapping[int, Progress]],
    settings: Settings,
    fail: Callable[[], None],
) -> ThreadPart:
    polled = Polled(tails, store, lambda: progress().values(), _query_limits(settings))
    return _loop_part(Loop("live", polled.run), fail)


def _ignore(_: object) -> None: ...


def _lost(progress: Mapping[int, Progress]) -> int:
    return sum(each.counts.lost for each in progress.values())


def _dedup(settings: Settings, window: Window, store_name: str, telemetry: Telemetry, turn: LoopTurn) -> Dedup:
    if not settings.redis_addr:
        return LocalDedup(window, telemetry, _clock, turn)
    return RedisDedup(_redis(settings), f"{settings.redis_prefix}{store_name}:", window, telemetry, _clock)


def _redis(settings: Settings) -> Server:
    return Server(
        *host_and_port(settings.redis_addr),
        settings.redis_username,
        settings.redis_password,
        settings.redis_tls,
        settings.redis_db,
    )


def _tenant_limits(loaded: Loaded, log: Opened, parts: list[Part], fail: Callable[[], None]) -> TenantLimits:
    """Shared where there is Redis; what keeps them up to date is added to the parts. Raises Fatal."""
    settings = loaded.settings
    shared = bool(settings.redis_addr and log.writers)
    limits = TenantLimits(policy_of(loaded), _clock, shared=shared)
    if shared:
        leases = RedisLeases(_redis(settings), settings.redis_prefix, SystemRandom().bytes(8).hex(), _clock)
        parts.append(Leasing(limits, leases, fail))
    parts.append(Ticker("limits", 1.0, PolicyFile(loaded, limits.change).tick, fail))
    return limits


def _processor(
    settings: Settings,
    reader: LogReader,
    store: StoreWriter,
    claims: Claims,
    telemetry: Telemetry,
    turn: LoopTurn,
    stored: Callable[[Sequence[Row]], None],
) -> Processor:
    limits = InsertLimits(
        settings.process_batch_events, settings.process_batch_bytes, settings.process_linger_ms / 1000
    )

    def make_rows(piece: Slice) -> tuple[list[Row], list[DeadLetter]]:
        return rows(piece, Rules(settings.retention, _clock.time_ns()))

    letters_days = ceil(settings.retention / 86_400)
    options = Options(make_rows, limits, breathe=turn, stored=stored, letters_days=letters_days)
    return Processor(reader, store, claims, options, telemetry, _clock, SystemRandom())


def _ledger(log: Opened, processor: Processor | None, not_in_log: int) -> Ledger:
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


def _pipeline_options(settings: Settings) -> PipelineOptions:
    return PipelineOptions(
        Identity(settings.region, settings.node),
        settings.max_request_events,
        settings.max_event_bytes,
        settings.ingest_lenient,
        settings.derive_ids,
        ACK_TIMEOUT_S,
    )


def _worker_options(settings: Settings) -> WorkerOptions:
    if settings.kafka_brokers:
        # The writer tries again by itself, and a request is spooled or refused whole: it is a group of its own.
        limits = BatchLimits(settings.publish_batch_events, GROUP_COMMIT_BYTES)
        return WorkerOptions(limits, attempts=1, group_bytes=0)
    # The embedded log syncs once per publish, so it takes all that waits, however few events a batch should have.
    return WorkerOptions(BatchLimits(sys.maxsize, GROUP_COMMIT_BYTES), settings.publish_retries)
