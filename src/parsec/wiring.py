"""Settings to objects: the one place where everything is put together, and the only importer of adapters.

In: loaded settings. Out: a running process and its exit code. Next: parsec.service.
"""

import asyncio
import gc
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import structlog
import uvloop

from parsec import __version__, logs
from parsec.adapters.broker.embedded import EmbeddedLog, LogOptions
from parsec.adapters.broker.offline import OfflineLog, open_offline
from parsec.adapters.store.clickhouse import ClickHouseStore
from parsec.adapters.store.embedded import Embedded
from parsec.core.clock import SystemClock, SystemRandom
from parsec.core.errors import ParsecError
from parsec.core.life import Life
from parsec.ingest.budget import ByteBudget
from parsec.ingest.channel import BatchLimits, Channel
from parsec.ingest.pipeline import Identity, Pipeline, PipelineOptions
from parsec.ingest.worker import Worker, WorkerOptions
from parsec.ports.broker import Slice
from parsec.ports.store import DeadLetter, Limits, Row, StoreWriter
from parsec.process.backlog import Limits as InsertLimits
from parsec.process.completeness import Completeness
from parsec.process.loop import Options, Processor
from parsec.process.rows import Rules, rows
from parsec.service import EXIT_NOT_STARTED, LoopTurn, Part, Resource, Service, ThreadPart, Ticker
from parsec.settings import Loaded, Settings
from parsec.telemetry import Telemetry
from parsec.web.app import App
from parsec.web.checks import channel_check, log_check, stage_check
from parsec.web.health_routes import Health
from parsec.web.ingest_routes import Door, IngestRoute
from parsec.web.query_routes import QueryRoutes
from parsec.web.server import HttpServer
from parsec.web.stats_routes import Ledger, Stats

_log = structlog.get_logger(__name__)

GROUP_COMMIT_BYTES = 8 << 20
ACK_TIMEOUT_S = 30.0
QUERY_THREADS = 4
LAST_INSERT_SHARE = 0.25
"""Share of the shutdown timeout that is left to the insert in hand when the processor begins no new one."""
READER = "processor"
"""The name under which the log remembers how far the processor has read."""
SWITCH_INTERVAL_S = 0.001
"""How long a thread may hold the interpreter while another waits: the event loop must not wait for rows being made."""

_clock = SystemClock()


def serve(loaded: Loaded) -> int:
    """Runs Parsec until it is told to stop; the exit code."""
    settings = loaded.settings
    logs.configure(settings.log_level, settings.log_format)
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    return uvloop.run(_run(settings))


def offline_logs(settings: Settings) -> list[OfflineLog]:
    """The log of a stopped Parsec and its spools, only to be read. Raises Fatal, for one while it is in use."""
    return open_offline(Path(settings.data_dir))


async def _run(settings: Settings) -> int:
    _log.info("Starting.", version=__version__, data_dir=settings.data_dir, pid=os.getpid())
    life = Life()
    service = Service(life, settings.drain, settings.shutdown_timeout, _clock)
    try:
        parts = _parts(settings, life, service.fail)
    except (ParsecError, OSError) as error:
        _log.error("Parsec could not start.", why=str(error))
        return EXIT_NOT_STARTED
    gc.collect()
    gc.freeze()  # what lives as long as the process is not walked by every collection
    return await service.run(parts)


def _parts(settings: Settings, life: Life, fail: Callable[[], None]) -> list[Part]:
    """Everything that runs, in order of start. Raises ParsecError or OSError when a part cannot be opened."""
    telemetry = Telemetry()
    log = _open_log(settings, telemetry)
    turn = LoopTurn(asyncio.get_running_loop())
    try:
        engine = Embedded(Path(settings.data_dir) / "store")
        store = ClickHouseStore(engine, settings.retention, breathe=turn)
    except BaseException:
        log.close()
        raise
    processor = _processor(settings, log, store, telemetry, turn)
    completeness = Completeness(lambda: log.end, lambda: processor.positions().get(0, 0), _clock)
    completeness.sample()
    channel = Channel(settings.channel_events, settings.channel_bytes)
    pipeline = Pipeline(channel, _pipeline_options(settings), telemetry, _clock, SystemRandom())
    worker = Worker(channel, log, pipeline.resolve, _worker_options(settings), telemetry, _clock, fail)
    stats = Stats(
        telemetry,
        channel,
        lambda: _ledger(log, processor, channel.offered_events - worker.finished_events),
        lambda: log.size_bytes,
    )
    checks = {
        "log": log_check(log),
        "channel": channel_check(channel),
        "worker": stage_check("worker", worker, settings.stall_after),
        "processor": stage_check("processor", processor, settings.stall_after),
    }
    askers = ThreadPoolExecutor(QUERY_THREADS, "parsec-query")
    limits = Limits(settings.query_memory, settings.query_timeout)
    queries = QueryRoutes(store.reader(), limits, completeness.until_ns, askers, _clock)
    door = Door(
        settings.max_body_bytes, ByteBudget(settings.ingest_memory), channel, log.refuses, settings.body_timeout
    )
    ingest = IngestRoute(pipeline, door, telemetry)
    routes = [*Health(life, checks, _clock).routes(), *stats.routes(), *queries.routes()]

    server = HttpServer(App(ingest, routes), settings.host, settings.port, settings.shutdown_timeout, fail)

    settled = threading.Event()

    def stop_worker(_: float) -> None:
        channel.close()
        worker.hurry()

    def stop_processor(deadline: float) -> None:
        processor.stop(deadline - settings.shutdown_timeout * LAST_INSERT_SHARE)

    def stats_line() -> None:
        _log.info("Stats.", **stats.snapshot())

    return [
        Resource("log", log.close),
        Resource("store", store.close),
        ThreadPart("settler", lambda: engine.keep_settled(settled), lambda _: settled.set(), fail, _clock),
        ThreadPart("processor", processor.run, stop_processor, fail, _clock),
        Resource("queries", lambda: askers.shutdown(cancel_futures=True)),
        ThreadPart("worker", worker.run, stop_worker, fail, _clock),
        Ticker("acks", 1.0, pipeline.expire, fail),
        Ticker("completeness", 1.0, completeness.sample, fail),
        server,
        Ticker("connections", 1.0, lambda: server.sweep(settings.body_timeout), fail),
        Ticker("stats", settings.stats_interval, stats_line, fail),
    ]


def _open_log(settings: Settings, telemetry: Telemetry) -> EmbeddedLog:
    options = LogOptions(
        segment_bytes=settings.segment_bytes,
        max_bytes=settings.log_max_bytes,
        retention_s=settings.log_retention,
        disk_reserve=settings.disk_reserve,
    )
    return EmbeddedLog.open(Path(settings.data_dir), options, _clock, telemetry)


def _processor(
    settings: Settings, log: EmbeddedLog, store: StoreWriter, telemetry: Telemetry, turn: LoopTurn
) -> Processor:
    limits = InsertLimits(
        settings.process_batch_events, settings.process_batch_bytes, settings.process_linger_ms / 1000
    )

    def make_rows(piece: Slice) -> tuple[list[Row], list[DeadLetter]]:
        return rows(piece, Rules(settings.retention, _clock.time_ns()))

    options = Options(limits, breathe=turn)
    return Processor(log.reader(READER), store, make_rows, options, telemetry, _clock, SystemRandom())


def _ledger(log: EmbeddedLog, processor: Processor, not_durable: int) -> Ledger | None:
    progress = processor.progress().get(0)
    if progress is None:
        return None
    counts = progress.counts
    return Ledger(
        start=progress.start,
        committed=progress.committed,
        end=log.end,
        stored=counts.stored,
        duplicate=counts.duplicate,
        dead=counts.dead,
        lost=counts.lost,
        difference=progress.committed - progress.start - counts.total,
        in_flight=log.end - progress.committed + not_durable,
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
    # The embedded log syncs once per publish, so it takes all that waits, however few events a batch should have.
    return WorkerOptions(BatchLimits(sys.maxsize, GROUP_COMMIT_BYTES), settings.publish_retries)
