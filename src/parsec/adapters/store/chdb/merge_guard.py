"""Merges end before the disk does: they may write several times what they read, for the word index is made by them.

In: the directory of the store, and how many bytes are to stay free. Out: merges that run while fewer are free are
ended, which gives back what they wrote, and none begins for a minute. What only drops expired events does not count as
one. Errors: the driver's own. Next: nothing.
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
    """For one thread, which looks often."""

    def __init__(self, directory: Path, keep_free: int) -> None:
        self._directory = directory
        self._keep_free = keep_free
        self._paused_until: float | None = None

    def look(self, client: "Client", now: float) -> None:
        """`now` is monotonic."""
        if self._paused_until is not None:
            if now >= self._paused_until:
                client.command("SYSTEM START MERGES")
                self._paused_until = None
        elif (free := self._free()) < self._keep_free and client.command(_RUNNING):
            client.command("SYSTEM STOP MERGES")
            self._paused_until = now + PAUSE_S
            _log.warning("The disk is nearly full; parts of the store are not merged for a while.", free_bytes=free)

    def _free(self) -> int:
        disk = os.statvfs(self._directory)
        return disk.f_bavail * disk.f_frsize
