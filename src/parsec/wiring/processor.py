"""Open the store and the processor that moves events into it.

In: settings, the log. Out: a `ProcessorSide`: the store, the processor where this process has one, subscriptions.
Errors: ParsecError or OSError when the store cannot be opened. Next: parsec.wiring.query.
"""

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from parsec.adapters.local.dedup import LocalDedup
from parsec.adapters.log.files import Files
from parsec.adapters.redis.dedup import RedisDedup
from parsec.api.repair import StoreGap
from parsec.core.held_directory import HeldDirectory
from parsec.ports.broker import Progress
from parsec.ports.dedup import Dedup, Window
from parsec.ports.store import Cancellation, LedgerCheckpoint, QueryLimits
from parsec.process.batching import InsertLimits, rows_of
from parsec.process.claims import Claims
from parsec.process.comparison import Checkpoints, Compare, StoreComparison, StoreWatch
from parsec.process.loop import Options, Processor
from parsec.process.lost_records import LostRecords
from parsec.process.repair import REPAIRED_TABLES, Repair
from parsec.process.rows import RowMaker
from parsec.process.search_text import texts
from parsec.process.size_retention import SizeRetention
from parsec.query.audit import today
from parsec.query.store_gaps import first_checkpoints, store_gaps
from parsec.query.tail.subscriptions import CommittedOffsets, Subscriptions, TailLimits
from parsec.service import Part, Resource, ThreadPart
from parsec.settings import Settings
from parsec.web.routes.health import reason_check, stage_check
from parsec.wiring.log import LogHandle
from parsec.wiring.runtime import REDIS_PREFIX, Checks, Runtime, redis_address

if TYPE_CHECKING:
    from parsec.adapters.store.backfill import Backfill
    from parsec.adapters.store.clickhouse import ClickHouseStore

LEAST_FREE_TO_MERGE = 64 << 20
"""Of the disk, for the embedded store, also with PARSEC_DISK_RESERVE=0."""
LAST_INSERT_SHARE = 0.25
"""Share of the shutdown timeout that is left to the insert in hand when the processor begins no new one."""
SECONDS_PER_DAY = 86_400
COMPARE_TIMEOUT_S = 600.0
"""Of one statement of the comparison, which runs in the background, on one thread of the store."""


class ProcessorSide(msgspec.Struct, frozen=True):
    """`store`: None where this process only ingests. `comparison`: of the store with the ledger, where it processes.
    `shared_progress`: of all processes, where others store too. `committed` is set by each commit of this process.
    `held`: the directory of the embedded store."""

    store: "ClickHouseStore | None"
    processor: Processor | None
    tails: Subscriptions
    committed: threading.Event
    shared_progress: Callable[[], Mapping[int, Progress]] | None
    parts: Sequence[Part] = ()
    checks: Checks = {}
    comparison: StoreComparison | None = None
    held: Sequence[HeldDirectory] = ()


def open_processor(settings: Settings, runtime: Runtime, log: LogHandle) -> ProcessorSide:
    """The store unless this process only ingests; a processor where it reads the log."""
    committed = threading.Event()
    shared_progress = log.progress if settings.storage_backend != "embedded" else None
    if settings.roles == {"ingest"}:
        return ProcessorSide(None, None, _subscriptions(), committed, shared_progress)
    detached = threading.Event()
    opened = _open_store(settings, runtime, detached.set)
    store, parts = opened.store, [*opened.parts]
    if log.reader is None:
        tails = _subscriptions(shared_progress)
        return ProcessorSide(store, None, tails, committed, shared_progress, parts, opened.checks, held=opened.held)
    window = Window(settings.dedup_window, settings.dedup_ids)
    dedup = _dedup(settings, runtime, window, store.name)
    make_rows = RowMaker(settings.retention, runtime.clock)
    lost = LostRecords(
        log.reader.read_again, store, lambda records: rows_of([records], make_rows, runtime.yield_gil), window
    )
    repair = Repair(lost, store, runtime.telemetry, runtime.clock, runtime.random)
    options = _options(settings, runtime, make_rows, repair, committed)
    claims = Claims(dedup, store, window, runtime.telemetry, repair.lost_rows, repair.restore)
    processor = Processor(log.reader, store, claims, options, runtime.telemetry, runtime.clock, runtime.random)
    backfill = _backfill(settings, store, processor)
    cancellation = Cancellation()
    watch = StoreWatch(
        *_compare(settings, runtime, store, cancellation), processor.progress, store.damage_changes,
        lambda: backfill is None or backfill.why() is None, detached, opened.check_parts, log.reader.keep_committed,
        opened.on_whole,
    )  # fmt: skip
    comparison = StoreComparison(watch, repair, runtime.telemetry, runtime.clock)
    parts += [
        _comparison_part(runtime, comparison, cancellation),
        Resource("claims", dedup.close),
        _processor_part(settings, runtime, processor, log.begin_shutdown, opened.held),
    ]
    checks = {
        "processor": stage_check("processor", processor),
        "stored_events": reason_check(comparison.why, "degraded"),
        **opened.checks,
    }
    if settings.store_max_bytes:
        size_retention = SizeRetention(
            store.day_partitions(), settings.store_max_bytes, runtime.telemetry, runtime.clock
        )
        checks["store_bound"] = reason_check(size_retention.why, "degraded")
        parts.append(runtime.thread("store-size", size_retention.run))
    if backfill is not None:
        checks["backfill"] = reason_check(backfill.why, "degraded")
        parts.append(runtime.thread("store-backfill", backfill.run))
    tails = _subscriptions(shared_progress, processor.progress)
    return ProcessorSide(store, processor, tails, committed, shared_progress, parts, checks, comparison, opened.held)


def _subscriptions(*sources: Callable[[], Mapping[int, Progress]] | None) -> Subscriptions:
    """`sources` of committed offsets: those of all processes may be a second old, those of this one are not."""
    committed = CommittedOffsets(lambda: [each for source in sources if source for each in source().values()])
    return Subscriptions(TailLimits(), committed)


class _OpenedStore(NamedTuple):
    """`check_parts` detaches damaged parts. `on_whole`: call it when nothing was missing, with the store's
    `damage_changes` from before it was compared."""

    store: "ClickHouseStore"
    parts: Sequence[Part]
    checks: Checks
    check_parts: Callable[[threading.Event], None]
    on_whole: Callable[[int], None]
    held: Sequence[HeldDirectory] = ()


def _open_store(settings: Settings, runtime: Runtime, on_detached: Callable[[], None]) -> _OpenedStore:
    """The embedded engine, or a server. Raises ParsecError."""
    # Not at the top: a process that only ingests needs none of it, which saves 6 MB.
    from parsec.adapters.store.chdb.engine import ChdbEngine
    from parsec.adapters.store.clickhouse import ClickHouseStore
    from parsec.adapters.store.server import ClickHouseServer

    if settings.storage_backend == "clickhouse":
        server = ClickHouseServer(
            url=settings.clickhouse_url,
            user=settings.clickhouse_user,
            password=settings.clickhouse_password,
            database=settings.clickhouse_database,
        )
        store = ClickHouseStore(server, settings.retention, yield_gil=runtime.yield_gil)
        return _OpenedStore(store, [Resource("store", store.close)], {}, lambda _: None, lambda _: None)
    keep_free = max(settings.disk_reserve // 2, LEAST_FREE_TO_MERGE)
    engine = ChdbEngine(
        Path(settings.data_dir) / "store", memory_bytes=runtime.limits.engine_memory, keep_free=keep_free,
        telemetry=runtime.telemetry, on_detached=on_detached,
    )  # fmt: skip
    store = ClickHouseStore(engine, settings.retention, yield_gil=runtime.yield_gil)
    parts: list[Part] = [
        Resource("store", store.close),
        runtime.thread("store-sync", engine.watch_merges),
        runtime.thread("store-scrub", lambda stop: engine.scrub(stop, settings.retention)),
    ]

    if engine.damaged_parts.why() is not None:
        on_detached()  # at this start, or before

    def on_whole(changes: int) -> None:
        engine.damaged_parts.restored(REPAIRED_TABLES, changes)

    def check_parts(stop: threading.Event) -> None:
        engine.check_parts(stop, settings.retention)

    checks = {"store": reason_check(engine.damaged_parts.why, "degraded")}
    return _OpenedStore(store, parts, checks, check_parts, on_whole, [engine.held])


def _backfill(settings: Settings, store: "ClickHouseStore", processor: Processor) -> "Backfill | None":
    """Copies what an earlier version stored. Of several processes with one store, the owner of partition 0 does it."""
    from parsec.adapters.store.backfill import Surroundings

    directory = Path(settings.data_dir) / "store"
    embedded = settings.storage_backend != "clickhouse"
    return store.backfill(
        Surroundings(
            lambda metadata: texts(msgspec.Raw(metadata.encode()))[1],
            lambda: Files().free_bytes(directory) - settings.disk_reserve if embedded else None,
            lambda: 0 in processor.positions(),
        )
    )


def _dedup(settings: Settings, runtime: Runtime, window: Window, store_name: str) -> Dedup:
    if not settings.redis_addr:
        return LocalDedup(window, runtime.telemetry, runtime.clock, runtime.yield_gil)
    prefix = f"{REDIS_PREFIX}{store_name}:"
    return RedisDedup(redis_address(settings), prefix, window, runtime.telemetry, runtime.clock)


def _days(settings: Settings) -> int:
    """How long the store keeps what it has."""
    return ceil(settings.retention / SECONDS_PER_DAY)


def _options(
    settings: Settings, runtime: Runtime, make_rows: RowMaker, repair: Repair, committed: threading.Event
) -> Options:
    return Options(
        make_rows, InsertLimits(linger_s=settings.process_linger_ms / 1000), yield_gil=runtime.yield_gil,
        on_commit=committed.set, dead_letter_days=_days(settings),
        repair=repair,
    )  # fmt: skip


def _compare(
    settings: Settings, runtime: Runtime, store: "ClickHouseStore", cancellation: Cancellation
) -> tuple[Compare, Checkpoints]:
    reader = store.reader()
    limits = QueryLimits(settings.query_memory, COMPARE_TIMEOUT_S, max_threads=1, cancellation=cancellation)

    def checkpoints(progress: Progress, held: int) -> Sequence[LedgerCheckpoint]:
        return first_checkpoints(reader, progress, held, today(runtime.clock) + _days(settings), limits)

    def compare(progress: Iterable[Progress], also_unknown: bool) -> Sequence[StoreGap]:
        return store_gaps(reader, progress, today(runtime.clock), limits, also_unknown=also_unknown)

    return compare, checkpoints


def _comparison_part(runtime: Runtime, comparison: StoreComparison, cancellation: Cancellation) -> ThreadPart:
    ended = threading.Event()

    def stop(_: float) -> None:
        ended.set()
        cancellation.cancel()

    return ThreadPart("store-comparison", lambda: comparison.run(ended), stop, runtime.fail, runtime.clock)


def _processor_part(
    settings: Settings, runtime: Runtime, processor: Processor, begin_shutdown: Callable[[], None],
    held: Sequence[HeldDirectory],
) -> ThreadPart:  # fmt: skip
    def stop(deadline: float) -> None:
        begin_shutdown()
        # Other processes go on with a backlog in Kafka; one in the embedded log is caught up with, as time allows.
        # A store whose directory is gone takes no more.
        catches_up = not settings.kafka_brokers and not any(each.why_gone() for each in held)
        processor.stop(deadline - settings.shutdown_timeout * LAST_INSERT_SHARE if catches_up else None)

    return ThreadPart("processor", processor.run, stop, runtime.fail, runtime.clock)
