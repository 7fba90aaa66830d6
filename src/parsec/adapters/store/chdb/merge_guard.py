"""Stop merges before they fill the disk: a merge may write several times what it reads, since it builds the text index.

In: the store's directory and the bytes to keep free. Out: while fewer are free, running merges are cancelled, which
frees what they wrote, and none starts for a minute. Merges that only drop expired events do not count. Errors: the
driver's own. Next: parsec.adapters.store.chdb.engine.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

PAUSE_S = 60.0
_RUNNING = "SELECT count() FROM system.merges WHERE NOT is_mutation AND merge_type = 'Regular'"
_log = structlog.get_logger(__name__)


class MergeGuard:
    """For one thread, which checks often."""

    def __init__(self, directory: Path, keep_free: int) -> None:
        self._directory = directory
        self._keep_free = keep_free
        self._paused_until: float | None = None

    def check(self, client: "Client", now: float) -> None:
        """`now` is monotonic."""
        if self._paused_until is not None:
            if now >= self._paused_until:
                client.command("SYSTEM START MERGES")
                self._paused_until = None
        elif (free := self._free_bytes()) < self._keep_free and client.command(_RUNNING):
            client.command("SYSTEM STOP MERGES")
            self._paused_until = now + PAUSE_S
            _log.warning(
                "The disk is nearly full: parts of the store are not merged for a minute. Make room.", free_bytes=free
            )

    def _free_bytes(self) -> int:
        disk = os.statvfs(self._directory)
        return disk.f_bavail * disk.f_frsize
