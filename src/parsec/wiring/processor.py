"""The side of a process that brings events from the log into the store.

In: the log. Out: the store, the processor where this process has one, and who wants to hear of rows that are stored.
Errors: ParsecError, OSError when the store cannot be opened. Next: parsec.wiring.query.
"""

from collections.abc import Callable, Mapping, Sequence
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from parsec.adapters.local.dedup import LocalDedup
from parsec.adapters.redis.dedup import RedisDedup
from parsec.ports.broker import LogReader, Progress, Slice
from parsec.ports.dedup import Dedup, Window
from parsec.ports.store import DeadLetter, Row
from parsec.process.batching import InsertLimits as InsertLimits
from parsec.process.claims import Claims
from parsec.process.loop import Options, Processor
from parsec.process.rows import Rules, rows
from parsec.process.size_retention import SizeRetention
from parsec.query.tail.fanout import Live
from parsec.query.tail.subscriptions import Subscriptions
from parsec.query.tail.subscriptions import TailLimits as TailBounds
from parsec.service import Resource, ThreadPart
from parsec.web.routes.health import bound_check, stage_check
from parsec.wiring.assembly import Assembly
from parsec.wiring.log import LogHandle, Loop

if TYPE_CHECKING:
    from parsec.adapters.store.clickhouse import ClickHouseStore

LEAST_FREE_TO_MERGE = 64 << 20
"""Of the disk, for the embedded store, also where no reserve is asked for."""
LAST_INSERT_SHARE = 0.25
"""Share of the shutdown timeout that is left to the insert in hand when the processor begins no new one."""


class Storing(msgspec.Struct, frozen=True):
    """What the other sides need of this one. `shared`: progress of all processes, where others store events, too."""

    store: "ClickHouseStore | None"
    processor: Processor | None
    tails: Subscriptions
    shared: Callable[[], Mapping[int, Progress]] | None


def add_storing(of: Assembly, log: LogHandle) -> Storing:
    """Opens the store, unless this process only takes events in."""
    settings = of.settings
    tails = Subscriptions(TailBounds(settings.tails_per_tenant, settings.tails, settings.tail_bytes))
    shared = log.progress if settings.storage_backend != "embedded" else None
    store = _open_store(of) if settings.roles != {"ingest"} else None
    processor: Processor | None = None
    if store is not None and log.reader is not None:
        window = Window(settings.dedup_window, settings.dedup_ids)
        dedup = _dedup(of, window, store.name)
        claims = Claims(dedup, store, window, of.telemetry)
        live = Live(tails)
        processor = _processor(of, log.reader, store, claims, live.offer if shared is None else _ignore)
        of.checks["processor"] = stage_check("processor", processor, settings.stall_after)
        of.parts += [
            *_bound(of, store),
            Resource("claims", dedup.close),
            of.thread(Loop("live", live.run)),
            _processor_part(of, processor, log.hurry),
        ]
    return Storing(store, processor, tails, shared)


def _open_store(of: Assembly) -> "ClickHouseStore":
    """ChdbEngine or on a server; what it needs to run is added to the parts. Raises ParsecError."""
    # Not at the top: what only ingests needs none of it, and 6 MB less.
    from parsec.adapters.store.chdb.engine import ChdbEngine
    from parsec.adapters.store.clickhouse import ClickHouseStore
    from parsec.adapters.store.server import ClickHouseServer as StoreServer

    settings = of.settings
    if settings.storage_backend == "clickhouse":
        server = StoreServer(
            url=settings.clickhouse_url,
            user=settings.clickhouse_user,
            password=settings.clickhouse_password,
            database=settings.clickhouse_database,
        )
        store = ClickHouseStore(server, settings.retention, breathe=of.turn)
        of.parts.append(Resource("store", store.close))
        return store
    engine = ChdbEngine(
        Path(settings.data_dir) / "store", keep_free=max(settings.disk_reserve // 2, LEAST_FREE_TO_MERGE)
    )
    store = ClickHouseStore(engine, settings.retention, breathe=of.turn)
    of.parts += [Resource("store", store.close), of.thread(Loop("settler", engine.keep_settled))]
    return store


def _bound(of: Assembly, store: "ClickHouseStore") -> list[ThreadPart]:
    """What keeps the store within its bound, if it has one."""
    if not of.settings.store_max_bytes:
        return []
    bound = SizeRetention(store.day_partitions(), of.settings.store_max_bytes, of.telemetry, of.clock)
    of.checks["store_bound"] = bound_check(bound.why)
    return [of.thread(Loop("store-bound", bound.keep))]


def _dedup(of: Assembly, window: Window, store_name: str) -> Dedup:
    settings, telemetry = of.settings, of.telemetry
    if not settings.redis_addr:
        return LocalDedup(window, telemetry, of.clock, of.turn)
    return RedisDedup(of.redis(), f"{settings.redis_prefix}{store_name}:", window, telemetry, of.clock)


def _processor(
    of: Assembly,
    reader: LogReader,
    store: "ClickHouseStore",
    claims: Claims,
    stored: Callable[[Sequence[Row]], None],
) -> Processor:
    settings = of.settings
    limits = InsertLimits(
        settings.process_batch_events, settings.process_batch_bytes, settings.process_linger_ms / 1000
    )

    def make_rows(piece: Slice) -> tuple[list[Row], list[DeadLetter]]:
        return rows(piece, Rules(settings.retention, of.clock.time_ns()))

    letters_days = ceil(settings.retention / 86_400)
    options = Options(make_rows, limits, breathe=of.turn, stored=stored, letters_days=letters_days)
    return Processor(reader, store, claims, options, of.telemetry, of.clock, of.random)


def _processor_part(of: Assembly, processor: Processor, hurry: Callable[[], None]) -> ThreadPart:
    settings = of.settings

    def stop(deadline: float) -> None:
        hurry()
        # What is left in Kafka is there for others, too; in the embedded log it waits for the next start.
        alone = not settings.kafka_brokers
        processor.stop(deadline - settings.shutdown_timeout * LAST_INSERT_SHARE if alone else None)

    return ThreadPart("processor", processor.run, stop, of.fail, of.clock)


def _ignore(_: object) -> None: ...
