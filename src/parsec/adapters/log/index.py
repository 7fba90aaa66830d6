"""The index of segments, with the durable end of the log, and the parts that writer, readers and retention share.

In: what the writer made durable, what the readers committed. Out: the segment of an offset, how far it may be read,
which segments no reader needs. Errors: Fatal after `close`. Safe from any thread; only `wait_beyond` waits.
Next: parsec.adapters.log.reader.
"""

import threading
import time
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from operator import attrgetter
from pathlib import Path

import msgspec

from parsec.adapters.log.files import Files
from parsec.adapters.log.quarantine import Quarantine
from parsec.adapters.log.segment import Segment
from parsec.adapters.log.state import State
from parsec.core.errors import Fatal
from parsec.core.held_directory import HeldDirectory

_FIRST = attrgetter("first")


class View(msgspec.Struct, frozen=True, gc=False):
    """How far a segment may be read now: below byte `size` and offset `end`. `sealed`: it will not grow."""

    size: int
    end: int
    sealed: bool


class SegmentIndex:
    """Segments in order of their first offset; the last one may be active. `keeps_all`: see `take_unneeded`."""

    def __init__(self, segments: Sequence[Segment], end: int, committed: Mapping[str, int]) -> None:
        self._changed = threading.Condition()
        self._segments = list(segments)
        self._committed = dict(committed)
        self._closed = False
        self.keeps_all = False
        self.end = end
        self.size_bytes = sum(segment.size for segment in segments)

    @property
    def start(self) -> int:
        """The first offset that the log still has; its end when it has none."""
        with self._changed:
            return self._segments[0].first if self._segments else self.end

    @property
    def newest(self) -> Segment | None:
        with self._changed:
            return self._segments[-1] if self._segments else None

    @property
    def committed(self) -> int:
        """The offset below which all readers have committed; 0 while there is no reader."""
        with self._changed:
            return min(self._committed.values(), default=0)

    def add(self, segment: Segment, now_ns: int) -> None:
        """Makes `segment` the active one and seals the last. One with the same first offset, which has no frames, is
        replaced."""
        with self._changed:
            if self._segments:
                self._segments[-1].closed_ns = now_ns
                if self._segments[-1].first == segment.first:
                    self._remove(self._segments[-1])
            self._segments.append(segment)
            self.size_bytes += segment.size
            self._changed.notify_all()

    def advance(self, segment: Segment, size: int, end: int) -> None:
        """All bytes below `size` of the active segment, and all offsets below `end`, are durable."""
        with self._changed:
            self.size_bytes += size - segment.size
            segment.size = size
            self.end = end
            self._changed.notify_all()

    def committed_by(self, reader: str, offset: int) -> None:
        with self._changed:
            self._committed[reader] = offset

    def locate(self, offset: int) -> Segment | None:
        """The segment in which `offset` is or would be; None when it is older than all."""
        with self._changed:
            at = bisect_right(self._segments, offset, key=_FIRST)
            return self._segments[at - 1] if at else None

    def after(self, offset: int) -> Segment | None:
        """The first segment that begins beyond `offset`."""
        with self._changed:
            at = bisect_right(self._segments, offset, key=_FIRST)
            return self._segments[at] if at < len(self._segments) else None

    def view(self, segment: Segment) -> View | None:
        """None when the segment is deleted. Its offsets end where the next one begins (I4)."""
        with self._changed:
            if segment.deleted:
                return None
            if segment is self._segments[-1]:
                return View(segment.size, self.end, False)
            return View(
                segment.size, self._segments[bisect_right(self._segments, segment.first, key=_FIRST)].first, True
            )

    def discard(self, segment: Segment) -> None:
        """Removes a segment that cannot be read; its offsets become a gap."""
        with self._changed:
            if not segment.deleted:
                self._remove(segment)

    def take_unneeded(self, closed_before_ns: int, kept_bytes: int, max_bytes: int, at_most: int) -> list[Segment]:
        """Removes and returns the oldest sealed segments that every reader has passed (I7), while the log is larger
        than `max_bytes` or, unless `keeps_all` is set, such segments are older than `closed_before_ns` or have more
        than `kept_bytes` together."""
        taken: list[Segment] = []
        with self._changed:
            committed = min(self._committed.values(), default=0)
            passed = max(bisect_right(self._segments, committed, key=_FIRST) - 1, 0)
            passed_bytes = sum(segment.size for segment in self._segments[:passed])
            # The last one may be active, and names the end of the one before (I4).
            while len(self._segments) > 1 and len(taken) < at_most and self._segments[1].first <= committed:
                oldest = self._segments[0]
                is_kept = self.keeps_all or (oldest.closed_ns > closed_before_ns and passed_bytes <= kept_bytes)
                if is_kept and self.size_bytes < max_bytes:
                    break
                self._remove(oldest)
                passed_bytes -= oldest.size
                taken.append(oldest)
        return taken

    def wait_beyond(self, offset: int, max_wait_s: float) -> int:
        """The durable end, as soon as it is beyond `offset`, or after max_wait_s. Raises Fatal once closed."""
        until = time.monotonic() + max_wait_s
        with self._changed:
            while self.end <= offset and not self._closed and (left_s := until - time.monotonic()) > 0:
                self._changed.wait(left_s)
            if self._closed:
                raise Fatal("the log is closed")
            return self.end

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _remove(self, segment: Segment) -> None:
        self._segments.remove(segment)
        self.size_bytes -= segment.size
        segment.deleted = True


class LogContext(msgspec.Struct, frozen=True):
    """The shared parts of one open log. `directory`: of its segments; `held`: whether that is still at its path."""

    log_id: str
    files: Files
    directory: Path
    index: SegmentIndex
    state: State
    quarantine: Quarantine
    held: HeldDirectory
