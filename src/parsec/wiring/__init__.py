"""Settings to objects: the one place where everything is put together, and the only importer of adapters.

In: loaded settings. Out: a running process and its exit code. Next: parsec.service.

One file per side of the process, each adds its parts to the same Assembly: storing, asking, taking_in, serving.
"""

import gc
import os
import sys
from contextlib import ExitStack, suppress
from pathlib import Path

import structlog
import uvloop

from parsec import __version__, logs
from parsec.adapters.log.files import OsFiles
from parsec.adapters.log.offline import OfflineLog, open_alone, open_offline
from parsec.adapters.log.retention import FULL_BYTES
from parsec.api.audit import Audit
from parsec.core.clock import SystemClock
from parsec.core.errors import Fatal, ParsecError
from parsec.core.lifecycle import Lifecycle
from parsec.loading import Loaded, is_loopback
from parsec.ports.store import QueryLimits
from parsec.query.audit import audit_with_log, today
from parsec.service import EXIT_NOT_STARTED, Part, Resource, Service
from parsec.settings import Settings
from parsec.web.request_body import give_large_buffers_back
from parsec.wiring.assembly import Assembly
from parsec.wiring.ingest import add_taking_in
from parsec.wiring.log import LogHandle, open_embedded, open_kafka
from parsec.wiring.processor import add_storing
from parsec.wiring.query import add_questions
from parsec.wiring.web import serving

_log = structlog.get_logger(__name__)

OFFLINE_QUESTION_S = 600.0
SWITCH_INTERVAL_S = 0.001
"""How long a thread may hold the interpreter while another waits: the event loop must not wait for rows being made."""


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
    from parsec.adapters.store.chdb.engine import ChdbEngine
    from parsec.adapters.store.clickhouse import ClickHouseStore

    directory = Path(settings.data_dir)
    with ExitStack() as opened:
        log, progress = open_alone(directory)
        opened.callback(log.close)
        store = ClickHouseStore(ChdbEngine(directory / "store"), settings.retention)
        opened.callback(store.close)
        limits = QueryLimits(settings.query_memory, OFFLINE_QUESTION_S)
        return audit_with_log(store.reader(), progress, log.records, today(SystemClock()), limits)


async def _run(loaded: Loaded) -> int:
    settings = loaded.settings
    _log.info("Starting.", version=__version__, data_dir=settings.data_dir, pid=os.getpid())
    if settings.auth == "off" and not is_loopback(settings.host):
        _log.warning("Keys are off: whoever reaches this address may do anything.", host=settings.host)
    life = Lifecycle()
    service = Service(life, settings.drain, settings.shutdown_timeout, SystemClock())
    try:
        parts = _parts(Assembly(loaded, life, service.fail))
    except (ParsecError, OSError) as error:
        _log.error("Parsec could not start.", why=_why(error, settings.data_dir))
        return EXIT_NOT_STARTED
    gc.collect()
    gc.freeze()  # what lives as long as the process is not walked by every collection
    return await service.run(parts)


def _why(error: Exception, data_dir: str) -> str:
    """What ended a start. A full disk shows as any error of anybody, so it is told first."""
    directory = Path(data_dir).absolute()
    with suppress(OSError):
        there = next(place for place in (directory, *directory.parents) if place.exists())
        free = OsFiles().free_bytes(there)
        if free < FULL_BYTES:
            return f"the disk of {directory} is full ({free >> 10} KiB free): make room and start again ({error})"
    return str(error)


def _parts(of: Assembly) -> list[Part]:
    """Everything that runs, in order of start. Raises ParsecError or OSError when a part cannot be opened."""
    log = _open_log(of)
    of.parts += [Resource("log", log.close), *map(of.thread, log.loops)]
    try:
        storing = add_storing(of, log)
    except BaseException:
        log.close()
        raise
    if storing.store is not None and "query" in of.settings.roles:
        add_questions(of, log, storing)
    taking_in = add_taking_in(of, log)
    return [*of.parts, *taking_in.parts, *serving(of, log, storing, taking_in)]


def _open_log(of: Assembly) -> LogHandle:
    """Kafka where it is named, else the embedded log. Raises Fatal."""
    settings, telemetry = of.settings, of.telemetry
    if settings.kafka_brokers:
        roles = settings.roles
        ingest, process = "ingest" in roles, "process" in roles
        return open_kafka(settings, of.clock, of.random, telemetry, ingest=ingest, process=process)
    return open_embedded(settings, of.clock, telemetry)
