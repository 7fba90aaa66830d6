"""Which segments exist and how far the log is durable: the one thing that writer, reader and event loop share.

In: what the writer made durable, what the readers committed. Out: where an offset is, how far it may be read, which
segments nobody needs. Safe from any thread; waits only in `wait_beyond`. Next: parsec.adapters.log.reader.
"""

import threading
from bisect import bisect_right
from collections.abc import Mapping, Sequence

import msgspec

from parsec.adapters.log.segment import Segment
from parsec.core.errors import Fatal


class View(msgspec.Struct, frozen=True, gc=False):
    """How far a segment may be read now: below byte `size` and offset `end`. `sealed`: it will not grow."""

    size: int
    end: int
    sealed: bool


class SegmentIndex:
    """Segments in order of their first offset; the last one may be growing."""

    def __init__(self, segments: Sequence[Segment], end: int, committed: Mapping[str, int]) -> None:
        self._changed = threading.Condition()
        self._segments = list(segments)
        self._committed = dict(committed)
        self._closed = False
        self.end = end
        self.size_bytes = sum(segment.size for segment in segments)

    @property
    def start(self) -> int:
        """The first offset still held; the end when nothing is."""
        with self._changed:
            return self._segments[0].first if self._segments else self.end

    @property
    def newest(self) -> Segment | None:
        with self._changed:
            return self._segments[-1] if self._segments else None

    @property
    def committed(self) -> int:
        """The offset below which no reader will read again; 0 while there is no reader."""
        with self._changed:
            return min(self._committed.values(), default=0)

    def add(self, segment: Segment, now_ns: int) -> None:
        """`segment` grows from now on; the last one is sealed. One of the same name, without frames, is replaced."""
        with self._changed:
            if self._segments:
                self._segments[-1].closed_ns = now_ns
                if self._segments[-1].first == segment.first:
                    self.size_bytes -= self._segments.pop().size
            self._segments.append(segment)
            self.size_bytes += segment.size
            self._changed.notify_all()

    def advance(self, segment: Segment, size: int, end: int) -> None:
        """Everything below byte `size` of the growing segment and below offset `end` is durable."""
        with self._changed:
            self.size_bytes += size - segment.size
            segment.size = size
            self.end = end
            self._changed.notify_all()

    def committed_by(self, reader: str, offset: int) -> None:
        with self._changed:
            self._committed[reader] = offset

    def locate(self, offset: int) -> Segment | None:
        """The segment in which `offset` lies or would lie; None when it is older than all."""
        with self._changed:
            at = bisect_right(self._segments, offset, key=lambda segment: segment.first)
            return self._segments[at - 1] if at else None

    def after(self, offset: int) -> Segment | None:
        """The first segment that begins beyond `offset`."""
        with self._changed:
            at = bisect_right(self._segments, offset, key=lambda segment: segment.first)
            return self._segments[at] if at < len(self._segments) else None

    def view(self, segment: Segment) -> View | None:
        """None when the segment is no longer one of the log. Its offsets end where the next one begins (I4)."""
        with self._changed:
            at = bisect_right(self._segments, segment.first, key=lambda each: each.first)
            if not at or self._segments[at - 1] is not segment:
                return None
            if at < len(self._segments):
                return View(segment.size, self._segments[at].first, True)
            return View(segment.size, self.end, False)

    def discard(self, segment: Segment) -> None:
        """Forgets a segment that cannot be read; its offsets become a gap."""
        with self._changed:
            if segment in self._segments:
                self._segments.remove(segment)
                self.size_bytes -= segment.size

    def take_unneeded(self, closed_before_ns: int, max_bytes: int, at_most: int) -> list[Segment]:
        """Removes and returns the oldest sealed segments that every reader has passed (I7), while they are older
        than `closed_before_ns` or the log is larger than `max_bytes`."""
        taken: list[Segment] = []
        with self._changed:
            committed = min(self._committed.values(), default=0)
            while len(self._segments) > 1 and len(taken) < at_most and self._segments[1].first <= committed:
                oldest = self._segments[0]
                if oldest.closed_ns > closed_before_ns and self.size_bytes < max_bytes:
                    break
                taken.append(self._segments.pop(0))
                self.size_bytes -= oldest.size
        return taken

    def wait_beyond(self, offset: int, max_wait_s: float) -> int:
        """The durable end, as soon as it is beyond `offset` or after max_wait_s. Raises Fatal once closed."""
        with self._changed:
            if self.end <= offset and not self._closed and max_wait_s > 0:
                self._changed.wait_for(lambda: self.end > offset or self._closed, max_wait_s)
            if self._closed:
                raise Fatal("the log is closed")
            return self.end

    def close(self) -> None:
        """Wakes whoever waits."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
