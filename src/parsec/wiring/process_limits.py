"""Check what the operating system allows this process, before anything opens that would crash for lack of it.

In: settings, the limits of the process. Out: how many connections and how much memory for the engine fit. Errors:
Fatal that names the limit found, the least that works, and how to raise it. Next: parsec.wiring.serve.

The figures were measured (docs/decisions/0021): the engine holds 160 files when idle, 250 under load, and up to 1,300
while it merges parts with many metadata fields; it ends the whole process when it finds neither a file nor memory for
one of its threads.
"""

import resource
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec
import structlog

from parsec.core.errors import Fatal
from parsec.core.units import show_quantity
from parsec.settings import Settings

_log = structlog.get_logger(__name__)

LEAST_FILES, LEAST_FILES_WITH_ENGINE = 160, 512
FILES_OF_THE_LOG = 128
"""The log, Kafka, Redis, a few refused connections."""
FILES_OF_THE_ENGINE, MOST_FILES_OF_THE_ENGINE = 448, 1536
"""With the log's. The larger one covers the widest merge; in between it gets three quarters of the limit."""
LEAST_ADDRESS_SPACE, LEAST_ADDRESS_SPACE_WITH_ENGINE = 1 << 30, 3 << 30
LEAST_THREADS, LEAST_THREADS_WITH_ENGINE = 64, 256
ENGINE_MEMORY, LEAST_ENGINE_MEMORY = 2 << 30, 256 << 20
LOW_MEMORY = 1 << 30
ENGINE_SHARE = 0.6
"""Of the memory of a container. The rest is for bodies, the channel and the interpreter."""
_CGROUPS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
_UNBOUNDED = 1 << 60
"""Version 1 of control groups writes a number near 2**63 for no limit."""

Limit = Callable[[int], int]
"""From a `resource.RLIMIT_*` to its value after the soft limit was raised to the hard one."""


class ProcessLimits(msgspec.Struct, frozen=True):
    """`connections`: open ones that fit beside the files of log and store. `engine_memory`: bytes."""

    connections: int
    engine_memory: int = ENGINE_MEMORY


def raised(which: int) -> int:
    """Raise the soft limit to the hard one, which needs no privilege; the limit that holds then."""
    soft, hard = resource.getrlimit(which)
    with suppress(OSError, ValueError):  # a sandbox may forbid it
        resource.setrlimit(which, (hard, hard))
        soft = hard
    return _UNBOUNDED if soft == resource.RLIM_INFINITY else soft


def check_process_limits(
    settings: Settings, limit: Limit = raised, cgroups: Sequence[Path] = _CGROUPS
) -> ProcessLimits:
    """Raises Fatal when a limit is too low to run at all."""
    engine = settings.storage_backend == "embedded" and settings.roles != {"ingest"}
    require_limits(engine=engine, limit=limit)
    files = limit(resource.RLIMIT_NOFILE)
    return ProcessLimits(
        _connections(files, settings.max_connections, engine=engine), _engine_memory(cgroups) if engine else 0
    )


def require_limits(*, engine: bool, limit: Limit = raised) -> None:
    """Also for commands that open the engine. Raises Fatal."""
    _require(
        "open files", limit(resource.RLIMIT_NOFILE), LEAST_FILES_WITH_ENGINE if engine else LEAST_FILES,
        "raise it with `ulimit -n 65536`, LimitNOFILE=65536 in a systemd unit, or --ulimit nofile=65536 of a container",
    )  # fmt: skip
    _require(
        "address space in bytes", limit(resource.RLIMIT_AS),
        LEAST_ADDRESS_SPACE_WITH_ENGINE if engine else LEAST_ADDRESS_SPACE,
        "lift it with `ulimit -v unlimited` or LimitAS=infinity; a control group bounds memory better",
    )  # fmt: skip
    _require(
        "threads of this user", limit(resource.RLIMIT_NPROC), LEAST_THREADS_WITH_ENGINE if engine else LEAST_THREADS,
        "raise it with `ulimit -u 4096` or LimitNPROC=4096",
    )  # fmt: skip


def _require(what: str, found: int, least: int, how: str) -> None:
    if found < least:
        raise Fatal(f"the limit on {what} is {found:,}, and Parsec needs at least {least:,}: {how}")


def _connections(files: int, wanted: int, *, engine: bool) -> int:
    reserved = FILES_OF_THE_LOG
    if engine:
        reserved = min(max(FILES_OF_THE_ENGINE, files * 3 // 4), MOST_FILES_OF_THE_ENGINE)
    fit = files - reserved
    if fit < wanted:
        _log.warning(
            "The limit on open files allows fewer connections than PARSEC_MAX_CONNECTIONS. Raise it (ulimit -n).",
            open_files=files, reserved=reserved, connections=fit,
        )  # fmt: skip
    return min(wanted, fit)


def _engine_memory(cgroups: Sequence[Path]) -> int:
    memory = min(map(_memory_limit, cgroups), default=_UNBOUNDED)
    if memory < LOW_MEMORY:
        _log.warning(
            "The memory of this container is low, so large queries may fail. Give it at least 1 GiB.",
            memory=show_quantity(memory, "bytes"),
        )  # fmt: skip
    return max(min(ENGINE_MEMORY, int(memory * ENGINE_SHARE)), LEAST_ENGINE_MEMORY)


def _memory_limit(file: Path) -> int:
    """Of the container, where there is one."""
    try:
        text = file.read_text().strip()
    except OSError:
        return _UNBOUNDED
    return int(text) if text.isdigit() else _UNBOUNDED
