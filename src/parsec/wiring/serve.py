"""Run a process: open its sides, start its parts, return its exit code.

In: loaded settings. Out: an exit code. Errors: a side that cannot be opened is logged with what to do, exit code 3.
Next: parsec.service.
"""

import gc
import os
import sys
from collections.abc import Callable
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path

import structlog
import uvloop

from parsec import __version__, logs
from parsec.adapters.log.embedded import FULL_BYTES
from parsec.adapters.log.files import Files
from parsec.core.clock import SystemClock
from parsec.core.directory import NOT_FOR_SPACE, why_unusable
from parsec.core.errors import ParsecError
from parsec.core.lifecycle import Lifecycle
from parsec.core.loopback import is_loopback
from parsec.loading import Loaded
from parsec.service import EXIT_NOT_STARTED, Part, Service
from parsec.settings import NAMES_OF_OTHERS
from parsec.web.request_body import give_large_buffers_back
from parsec.wiring import in_start_order
from parsec.wiring.data_dir import make_private
from parsec.wiring.ingest import open_ingest
from parsec.wiring.log import open_log
from parsec.wiring.process_limits import check_process_limits
from parsec.wiring.processor import open_processor
from parsec.wiring.query import open_query
from parsec.wiring.reload import reload_all
from parsec.wiring.runtime import Runtime, new_runtime
from parsec.wiring.web import open_access, open_web

_log = structlog.get_logger(__name__)

SWITCH_INTERVAL_S = 0.001
"""How long a thread may hold the interpreter while another waits: the event loop must not wait for rows being made."""


def serve(loaded: Loaded) -> int:
    """Run Parsec until a signal stops it; the exit code."""
    settings = loaded.settings
    logs.configure(settings.log_level, settings.log_format)
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    give_large_buffers_back()
    return uvloop.run(_run(loaded))


async def _run(loaded: Loaded) -> int:
    settings = loaded.settings
    _log.info("Starting.", version=__version__, data_dir=settings.data_dir, pid=os.getpid())
    if settings.auth == "off" and not is_loopback(settings.host):
        _log.warning("API keys are off: anyone who reaches this address may do anything.", host=settings.host)
    if settings.auth == "warn":
        _log.warning("PARSEC_AUTH=warn: requests from this machine are served without an API key, logged and counted.")
    for name, ours in NAMES_OF_OTHERS.items():
        if os.environ.get(name) and loaded.sources[ours.lower()] == "default":
            _log.warning(f"Parsec does not read {name}. Set {ours} if it should use that server.")
    life = Lifecycle()
    service = Service(life, settings.drain, settings.shutdown_timeout, SystemClock())
    try:
        runtime = new_runtime(life, service.fail, check_process_limits(settings))
        parts, reloads = _open_parts(loaded, runtime)
    except (ParsecError, OSError) as error:
        _log.error("Parsec could not start.", why=_why(error, settings.data_dir))
        return EXIT_NOT_STARTED
    service.reload = partial(reload_all, reloads)
    gc.collect()
    gc.freeze()  # what lives as long as the process is not walked by every collection
    return await service.run(parts)


def _open_parts(loaded: Loaded, runtime: Runtime) -> tuple[list[Part], list[Callable[[], None]]]:
    """Every part in order of start, and what SIGHUP reloads.

    Raises ParsecError or OSError when a side cannot be opened.
    """
    settings = loaded.settings
    access = open_access(settings, runtime)  # bad keys or certificates end the start before a file is touched
    make_private(Path(settings.data_dir))
    with ExitStack() as opened:
        log = open_log(settings, runtime)
        opened.callback(log.close)
        processor = open_processor(settings, runtime, log)
        query = open_query(settings, runtime, log, processor)
        ingest = open_ingest(loaded, runtime, log)
        web = open_web(settings, runtime, access, log, processor, query, ingest)
        opened.pop_all()
    reloads = [access.keyring.reload, ingest.reload, *([] if access.tls is None else [access.tls.reload])]
    return in_start_order([*log.parts, *processor.parts, *query.parts, *ingest.parts, *web]), reloads


def _why(error: Exception, data_dir: str) -> str:
    """Why a start failed. A full disk can show as any error, but a directory that cannot be written is not full."""
    directory = Path(data_dir).absolute()
    unusable = why_unusable(directory)
    if unusable:
        known = unusable in str(error)
        return str(error) if known else f"{error} (the data directory {directory} cannot be used: {unusable})"
    with suppress(OSError):
        there = next(place for place in (directory, *directory.parents) if place.exists())
        free = Files().free_bytes(there)
        has_blocks = os.statvfs(there).f_blocks > 0  # /proc and the like have none, and are never full
        if has_blocks and free < FULL_BYTES and not _codes(error) & NOT_FOR_SPACE:
            return f"the disk of {directory} is full ({free >> 10} KiB free): make room and start again ({error})"
    if isinstance(error, PermissionError):
        return f"user {os.geteuid()} may not use {error.filename}: change its owner or permissions"
    return str(error)


def _codes(error: BaseException) -> set[int | None]:
    """The error numbers of an error and of those that led to it."""
    cause = error.__cause__
    return {getattr(error, "errno", None)} | (_codes(cause) if cause is not None else set())
