"""The limits of the log in bytes: deletes segments that no reader needs, and says when nothing may be written.

In: the size of the log, the committed offsets, the free space of the disk. Out: deleted segments; the reason why
nothing can be made durable. Errors: none; a file that cannot be deleted is tried again by the next start.
Next: parsec.adapters.log.embedded.
"""

import msgspec
import structlog

from parsec.adapters.log.index import LogContext
from parsec.adapters.log.segment import SEGMENT_HEADER_BYTES
from parsec.core.clock import Clock
from parsec.core.units import show_quantity
from parsec.telemetry import Telemetry

FULL_BYTES = 1 << 20
"""A disk with less free space is full: writes would fail, so nothing is accepted even with PARSEC_DISK_RESERVE=0."""
_CHECK_EVERY_S = 0.2
_CHECK_EVERY_BYTES = 16 << 20
_DELETE_AT_ONCE = 4
"""Segments deleted per call, so that neither publish nor commit waits for the file system for long."""

_log = structlog.get_logger(__name__)


class LogOptions(msgspec.Struct, frozen=True):
    """`retention_s`: how long a segment is kept once every reader has passed it, unless `max_bytes` is reached."""

    segment_bytes: int = 128 << 20
    max_bytes: int = 8 << 30
    retention_s: float = 3600.0
    disk_reserve: int = 512 << 20


class Retention:
    """Safe from any thread."""

    def __init__(self, context: LogContext, options: LogOptions, clock: Clock, telemetry: Telemetry) -> None:
        self._context = context
        self._index = context.index
        self._options = options
        self._clock = clock
        self._log_bytes = telemetry.log_bytes
        self._checked_at = float("-inf")
        self._unchecked_bytes = 0
        self._disk_is_low = False
        self._free = 0

    @property
    def is_full(self) -> bool:
        """The log has its largest size; only segments that every reader has passed can make room."""
        return self._index.size_bytes >= self._options.max_bytes

    def lacks_room(self) -> bool:
        """Whether the log has its largest size, or the disk is low. While it is False nothing is refused."""
        now = self._clock.monotonic()
        if now - self._checked_at >= _CHECK_EVERY_S or self._unchecked_bytes >= _CHECK_EVERY_BYTES:
            self._checked_at, self._unchecked_bytes = now, 0
            self._check_disk()
        return self._disk_is_low or self._index.size_bytes >= self._options.max_bytes

    def must_roll(self) -> bool:
        """Whether room is needed and every reader has passed the active segment: it can be deleted once sealed."""
        if not self.lacks_room():
            return False
        newest = self._index.newest
        return newest is not None and newest.size > SEGMENT_HEADER_BYTES and self._index.committed >= self._index.end

    def refusal(self) -> str | None:
        """Why nothing can be made durable now."""
        if not self.lacks_room():
            return None
        if self.is_full and self._index.committed < self._index.end:
            limit = show_quantity(self._options.max_bytes, "bytes")
            return f"the log has reached {limit} (PARSEC_LOG_MAX_BYTES) of events that are not read yet"
        if not self._disk_is_low:
            return None
        if self._options.disk_reserve < FULL_BYTES:
            return f"the disk is full ({self._free >> 10} KiB free): make room"
        reserve = show_quantity(self._options.disk_reserve, "bytes")
        return f"the disk has {self._free >> 20} MiB free, less than the {reserve} of PARSEC_DISK_RESERVE"

    def count_written(self, size: int) -> None:
        """After so many bytes the free space is checked again, however little time has passed."""
        self._unchecked_bytes += size
        self._log_bytes.set(self._index.size_bytes)

    def delete_unneeded(self) -> None:
        """Deletes the oldest segments that every reader has passed, while they are old or room is needed."""
        kept_since = self._clock.time_ns() - int(self._options.retention_s * 1e9)
        max_bytes = 0 if self.lacks_room() and self._disk_is_low else self._options.max_bytes
        unneeded = self._index.take_unneeded(kept_since, max_bytes, _DELETE_AT_ONCE)
        for segment in unneeded:
            try:
                self._context.files.remove(segment.path)
            except OSError as error:
                name = segment.path.name
                _log.warning("A segment of the log could not be deleted.", segment=name, why=error.strerror)
        if unneeded:
            self._checked_at = float("-inf")
            self._log_bytes.set(self._index.size_bytes)

    def _check_disk(self) -> None:
        try:
            self._free = self._context.files.free_bytes(self._context.directory)
        except OSError:
            return
        self._disk_is_low = self._free < max(self._options.disk_reserve, FULL_BYTES)
