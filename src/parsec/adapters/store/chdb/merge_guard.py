"""Keep merges away from the end of the disk: the engine may write part of a file there and not notice.

In: the free space. Out: the largest merge of the table of events, lowered while two such merges would not fit beside
what is to be kept free; below a floor, or at the end of the space, no merges at all. Errors: the driver's.
Next: parsec.adapters.store.chdb.part_integrity, which finds what meets the end all the same.

The other tables are small, and deleting from them, for a day that is dropped, waits for merges: theirs go on.
"""

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

_log = structlog.get_logger(__name__)

PAUSE_S = 60.0
"""Between a change and one to larger merges, so that merges do not chase the space that they free."""
LARGEST_MERGE, SMALLEST_MERGE = 4 << 30, 1 << 20
"""In bytes of sources. The largest is that of migration 1; the engine runs two merges at once (`background_pool_size`
and its ratio). Below the smallest, merging saves too little."""
_AT_ONCE = 2
_SETTING = "max_bytes_to_merge_at_max_space_in_pool"
_TABLE = "SELECT engine_full FROM system.tables WHERE database = currentDatabase() AND name = 'events'"
_RUNNING = "SELECT count() FROM system.merges WHERE NOT is_mutation AND merge_type = 'Regular'"


class MergeGuard:
    """For one thread, which checks often. `keep_free`: bytes of the disk that merges leave free."""

    def __init__(self, directory: Path, keep_free: int) -> None:
        self._directory = directory
        self._keep_free = keep_free
        self._stopped = False
        self._restored = False
        self._not_larger_before = float("-inf")

    def check(self, client: "Client", now: float) -> None:
        """`now` is monotonic."""
        free = self._free_bytes()
        most = _rounded((free - self._keep_free) // _AT_ONCE)
        if most == LARGEST_MERGE and self._restored:
            return
        if most < SMALLEST_MERGE:
            self._stop(client, free, now)
        elif now >= self._not_larger_before or not self._stopped:
            self._limit(client, most, free, now)

    def _stop(self, client: "Client", free: int, now: float) -> None:
        """Also once more while merges run: one that began just before goes on otherwise."""
        if not self._stopped or client.command(_RUNNING):
            client.command("SYSTEM STOP MERGES events")
        if not self._stopped:
            _log.warning("The disk is nearly full: parts of the store are not merged. Make room.", free_bytes=free)
        self._stopped, self._restored = True, False
        self._not_larger_before = now + PAUSE_S

    def _limit(self, client: "Client", most: int, free: int, now: float) -> None:
        found = re.search(rf"{_SETTING} = (\d+)", str(client.command(_TABLE)))
        current = int(found[1]) if found else LARGEST_MERGE
        if most < current or (most > current and now >= self._not_larger_before):
            client.command(f"ALTER TABLE events MODIFY SETTING {_SETTING} = {most}")
            self._not_larger_before = now + PAUSE_S
            _log.info(
                "The largest merge of the store's parts was fitted to the free space.", bytes=most, free_bytes=free
            )
            current = most
        if self._stopped:
            client.command("SYSTEM START MERGES events")
            self._stopped = False
        self._restored = current == LARGEST_MERGE

    def _free_bytes(self) -> int:
        disk = os.statvfs(self._directory)
        return disk.f_bavail * disk.f_frsize


def _rounded(bytes_: int) -> int:
    """Down to a power of two, so that a change is rare; at most LARGEST_MERGE."""
    return min(1 << max(bytes_, 1).bit_length() - 1, LARGEST_MERGE)
