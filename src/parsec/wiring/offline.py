"""Open the files of a stopped Parsec, for `parsec log`, `parsec audit` and `parsec repair`.

In: settings. Out: the log and its spools to read, a recount of the ledger, or a repaired store. Errors: Fatal while a
process uses the directory. Next: parsec.adapters.log.offline.
"""

import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, suppress
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from parsec.adapters.log.embedded import EmbeddedLog, LogOptions
from parsec.adapters.log.offline import NO_LOG, OfflineLog, open_exclusively, open_offline, open_spools
from parsec.adapters.log.state import State
from parsec.adapters.spool.ledger import DIRECTORY, read_losses
from parsec.adapters.spool.spool import SPOOL_READER
from parsec.api.audit import Audit
from parsec.api.repair import RepairStatus, StoreGap
from parsec.api.status import LostSpan, SpoolLedger
from parsec.core.clock import SystemClock, SystemRandom
from parsec.core.errors import Fatal
from parsec.core.timestamp import text_of
from parsec.ports.broker import READER, Assigned, Progress
from parsec.ports.dedup import Window
from parsec.ports.store import QueryLimits
from parsec.process.lost_records import LostRecords
from parsec.process.repair import REPAIRED_TABLES, Repair
from parsec.process.rows import RowMaker
from parsec.query.audit import audit_with_log, today
from parsec.query.store_gaps import first_checkpoints, store_gaps
from parsec.settings import Settings
from parsec.telemetry import Telemetry
from parsec.wiring.process_limits import require_limits

if TYPE_CHECKING:
    from parsec.adapters.store.chdb.engine import ChdbEngine
    from parsec.adapters.store.clickhouse import ClickHouseStore

QUERY_TIMEOUT_S = 600.0
"""Of one query of the audit; a person waits for it and may end it."""
EVER_S = 1e9
AFTER_FAILURE_S = 0.1
DAY_S = 86_400


def offline_logs(settings: Settings) -> list[OfflineLog]:
    """The log of a stopped Parsec and its spools, to read. Raises Fatal, for one while it is in use."""
    return open_offline(Path(settings.data_dir))


def offline_audit(settings: Settings) -> Audit:
    """Recount the ledger of a stopped Parsec record by record; its directory is locked meanwhile.

    Raises Fatal, Retryable, Rejected, OSError.
    """
    directory = Path(settings.data_dir)
    spools = lost_in_spools(directory)
    if settings.kafka_brokers or settings.storage_backend != "embedded":
        if spools:
            return Audit(0, 0, 0, [], spools)
        raise Fatal(
            "An offline audit needs the embedded log and the embedded store; with Kafka or ClickHouse run "
            "`parsec audit` against a running Parsec."
        )
    require_limits(engine=True)
    from parsec.adapters.store.chdb.engine import ChdbEngine
    from parsec.adapters.store.clickhouse import ClickHouseStore

    with ExitStack() as opened:
        log, progress = open_exclusively(directory)
        opened.callback(log.close)
        store = ClickHouseStore(ChdbEngine(directory / "store"), settings.retention)
        opened.callback(store.close)
        limits = QueryLimits(settings.query_memory, QUERY_TIMEOUT_S)
        found = audit_with_log(store.reader(), progress, log.records, today(SystemClock()), limits)
        return msgspec.structs.replace(found, spools=spools)


def lost_in_spools(data_dir: Path) -> list[SpoolLedger]:
    """What spools have lost, and what the damage in those that were not sent yet will lose. Raises Fatal, Retryable."""
    directory, now = data_dir / DIRECTORY, text_of(SystemClock().time_ns())
    found = {(each.spool, each.log_id): each for each in read_losses(directory)}
    with ExitStack() as opened:
        for spool in open_spools(data_dir):
            opened.callback(spool.close)
            progress = spool_progress(data_dir / spool.name)
            if progress is None:
                continue
            known = found.get((spool.name, progress.log_id)) or SpoolLedger(spool.name, progress.log_id, 0, 0, [])
            damaged = [
                LostSpan(each.first - each.lost, each.first, now)
                for each in spool.lines(progress.committed, None)
                if each.lost and each.first > known.counted_to
            ]
            if damaged:
                lost = known.lost + sum(span.end - span.first for span in damaged)
                found[spool.name, progress.log_id] = SpoolLedger(
                    spool.name, progress.log_id, lost, damaged[-1].end, [*known.where, *damaged]
                )
    return list(found.values())


def spool_progress(spool: Path) -> Progress | None:
    """None where its state is missing or damaged; then a start reads the spool from its beginning."""
    with suppress(Fatal):
        return State.peek(spool / "state.db").get(SPOOL_READER)
    return None


def offline_repair(settings: Settings) -> Iterator[RepairStatus]:
    """Detach damaged parts of a stopped Parsec's store, and store again from its log what the store lacks.

    Yields the status after each step; the last one has the phase `idle`. The directory is locked meanwhile. Raises
    Fatal, Retryable, Rejected, OSError.
    """
    if settings.kafka_brokers or settings.storage_backend != "embedded":
        raise Fatal(
            "An offline repair needs the embedded log and the embedded store; with Kafka or ClickHouse run "
            "`parsec repair` against a running Parsec."
        )
    require_limits(engine=True)
    from parsec.adapters.store.chdb.engine import ChdbEngine
    from parsec.adapters.store.clickhouse import ClickHouseStore

    directory, telemetry = Path(settings.data_dir), Telemetry()
    if not (directory / "segments").is_dir():
        raise Fatal(f"{directory} has no log: {NO_LOG}")
    with ExitStack() as opened:
        options = LogOptions(max_bytes=sys.maxsize, retention_s=EVER_S, kept_bytes=sys.maxsize, disk_reserve=0)
        log = EmbeddedLog.open(directory, options, SystemClock(), telemetry)
        opened.callback(log.close)
        engine = ChdbEngine(directory / "store", telemetry=telemetry)
        store = ClickHouseStore(engine, settings.retention)
        opened.callback(store.close)
        yield from _repaired(settings, log, engine, store, telemetry)


def _repaired(
    settings: Settings, log: EmbeddedLog, engine: "ChdbEngine", store: "ClickHouseStore", telemetry: Telemetry
) -> Iterator[RepairStatus]:
    clock, limits = SystemClock(), QueryLimits(settings.query_memory, QUERY_TIMEOUT_S)
    reader = log.reader(READER)
    assigned = reader.poll(0.0, 1, 1)
    assert isinstance(assigned, Assigned)
    progress = [assigned.progress]

    def gaps(*, also_unknown: bool) -> Sequence[StoreGap]:
        return store_gaps(store.reader(), progress, today(clock), limits, also_unknown=also_unknown)

    yield RepairStatus("comparing")
    engine.check_parts(threading.Event(), settings.retention)
    found = gaps(also_unknown=True)
    window = Window(settings.dedup_window, settings.dedup_ids)
    lost_records = LostRecords(reader.read_again, store, RowMaker(settings.retention, clock), window)
    repair = Repair(lost_records, store, telemetry, clock, SystemRandom())
    repair.request(found)
    missing, began = sum(gap.missing for gap in found), clock.monotonic()
    for _ in turns(repair, progress):
        rate = int(repair.stored_again / max(clock.monotonic() - began, 0.1))
        yield RepairStatus("storing", missing, repair.stored_again, rate, found)
    if any(not gap.first_checkpoint for gap in found):
        keep_until = today(clock) + ceil(settings.retention / DAY_S)
        held = repair.first_held(assigned.progress)
        repair.save(first_checkpoints(store.reader(), assigned.progress, held, keep_until, limits))
        for _ in turns(repair, progress):
            pass
    changes = store.damage_changes()
    lost = [gap for gap in gaps(also_unknown=False) if gap.missing]
    if not lost:
        engine.damaged_parts.restored(REPAIRED_TABLES, changes)
    yield RepairStatus("idle", missing, repair.stored_again, 0, (), lost)


def turns(
    repair: Repair, progress: Collection[Progress], wait: Callable[[float], object] = time.sleep
) -> Iterator[None]:
    """Takes turns until all is done that was requested; one that failed is repeated."""
    while not repair.idle.is_set():
        if repair.turn(progress):
            yield
        elif not repair.idle.is_set():
            wait(AFTER_FAILURE_S)
