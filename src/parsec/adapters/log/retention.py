"""The log's bounds in bytes: what is deleted when nobody needs it, and when nothing more may come in.

In: the size of the log, what the readers have passed, the free space of the disk. Out: fewer segments; a sentence that
says why nothing can be made durable. Errors: none; a file that cannot be deleted is tried again by the next start.
Next: parsec.adapters.log.embedded.
"""

import msgspec
import structlog

from parsec.adapters.log.context import LogContext
from parsec.adapters.log.segment import HEADER_BYTES
from parsec.core.clock import Clock
from parsec.core.units import show_quantity
from parsec.telemetry import Telemetry

FULL_BYTES = 1 << 20
"""A disk with less free is full: nothing is taken in, whatever reserve was asked for, for writes would fail."""
_CHECK_EVERY_S = 0.2
_CHECK_EVERY_BYTES = 16 << 20
_DELETE_AT_ONCE = 4
"""Segments deleted per call, so that neither publish nor commit waits for the file system for long."""

_log = structlog.get_logger(__name__)


class LogOptions(msgspec.Struct, frozen=True):
    """`retention_s`: how long a segment is kept that every reader has passed, unless `max_bytes` is reached."""

    segment_bytes: int = 128 << 20
    max_bytes: int = 8 << 30
    retention_s: float = 3600.0
    disk_reserve: int = 512 << 20


class Retention:
    """Safe from any thread."""

    def __init__(self, parts: LogContext, options: LogOptions, clock: Clock, telemetry: Telemetry) -> None:
        self._parts = parts
        self._options = options
        self._clock = clock
        self._size_metric = telemetry.log_bytes
        self._checked_at = float("-inf")
        self._written_since = 0
        self._disk_low = False
        self._free = 0

    @property
    def full(self) -> bool:
        """The log has reached its size; only segments that are read can make room."""
        return self._parts.index.size_bytes >= self._options.max_bytes

    @property
    def growing_is_in_the_way(self) -> bool:
        """Room is needed, and every reader has passed the growing segment, too: it may go once the next has begun."""
        index = self._parts.index
        newest = index.newest
        if newest is None or newest.size <= HEADER_BYTES or index.committed < index.end:
            return False
        return self.full or self._disk_is_low()

    def refusal(self) -> str | None:
        """Why nothing can be made durable now."""
        index = self._parts.index
        if self.full and index.committed < index.end:
            limit = show_quantity(self._options.max_bytes, "bytes")
            return f"the log holds its {limit} (PARSEC_LOG_MAX_BYTES) of events that nobody has read yet"
        if self._disk_is_low():
            if self._options.disk_reserve < FULL_BYTES:
                return f"the disk is full ({self._free >> 10} KiB free): make room"
            reserve = show_quantity(self._options.disk_reserve, "bytes")
            return f"the disk has {self._free >> 20} MiB free, less than the {reserve} of PARSEC_DISK_RESERVE"
        return None

    def wrote(self, size: int) -> None:
        """Free space is looked at again after so many bytes, however little time has passed."""
        self._written_since += size
        self._size_metric.set(self._parts.index.size_bytes)

    def tidy(self) -> None:
        """Deletes the oldest segments that every reader has passed, while they are old or room is needed."""
        options = self._options
        kept_since = self._clock.time_ns() - int(options.retention_s * 1e9)
        max_bytes = 0 if self._disk_is_low() else options.max_bytes
        unneeded = self._parts.index.take_unneeded(kept_since, max_bytes, _DELETE_AT_ONCE)
        for segment in unneeded:
            try:
                self._parts.files.remove(segment.path)
            except OSError as error:
                _log.warning(
                    "A segment of the log could not be deleted.", segment=segment.path.name, why=error.strerror
                )
        if unneeded:
            self._checked_at = float("-inf")
            self._size_metric.set(self._parts.index.size_bytes)

    def _disk_is_low(self) -> bool:
        now = self._clock.monotonic()
        if now - self._checked_at >= _CHECK_EVERY_S or self._written_since >= _CHECK_EVERY_BYTES:
            self._checked_at, self._written_since = now, 0
            try:
                self._free = self._parts.files.free_bytes(self._parts.directory)
            except OSError:
                return self._disk_low
            self._disk_low = self._free < max(self._options.disk_reserve, FULL_BYTES)
        return self._disk_low
