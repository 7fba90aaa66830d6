"""Durable records out of the segments, in order of offset, for one named reader.

In: the index of segments and what the state remembers of this reader. Out: slices; an offset that holds nothing any
more is counted in `lost`, never skipped in silence (I5). Errors: Retryable while the disk refuses, Fatal once the log
is closed. Next: parsec.process.loop.
"""

from collections.abc import Callable

from parsec.adapters.log import frame, segment
from parsec.adapters.log.context import LogContext
from parsec.adapters.log.segment import FrameCursor, Segment, Values
from parsec.core.errors import Fatal, Retryable
from parsec.ports.broker import Assigned, Counts, Progress, Range, Revoked, Slice

PARTITION = 0
"""The embedded log has one."""
_NEVER = 1 << 63


class EmbeddedReader:
    """A LogReader of the one partition, 0. Called from one thread."""

    def __init__(self, parts: LogContext, tidy: Callable[[], None], name: str, progress: Progress, epoch: int) -> None:
        self._parts = parts
        self._tidy = tidy
        self._name = name
        self._progress = progress
        self._epoch = epoch
        self._assigned = False
        self._paused = False
        self._ended = self._told = False
        self._closed = False
        self._next = progress.committed
        self._walk = Walk(parts)
        self._waiting: Values | None = None

    def poll(self, max_wait_s: float, max_events: int, max_bytes: int) -> Slice | Assigned | Revoked | None:
        if self._closed:
            raise Fatal("the reader of the log is closed")
        if not self._assigned:
            self._assigned = True
            return Assigned(self._progress, self._epoch)
        if self._ended and not self._told:
            self._told = True
            return Revoked(PARTITION)
        beyond = _NEVER if self._paused or self._ended else self._next
        if self._parts.index.wait_beyond(beyond, max_wait_s) <= beyond:
            self._make_room()
            return None
        return self._gather(max_events, max_bytes)

    def reserve(self, taken: Range, epoch: int, attempt: int) -> None:
        if self._ended or epoch != self._epoch:
            raise Retryable("the epoch of this reader has ended")
        self._parts.state.reserve(self._name, taken, attempt)

    def commit(self, partition: int, epoch: int, next_offset: int, counts: Counts) -> bool:
        if self._ended or epoch != self._epoch or partition != PARTITION:
            return False
        index = self._parts.index
        self._parts.state.commit(self._name, next_offset, counts, index.end)
        index.committed_by(self._name, next_offset)
        self._make_room()
        return True

    def pause(self, partition: int) -> None:
        self._paused = self._paused or partition == PARTITION

    def resume(self, partition: int) -> None:
        self._paused = self._paused and partition != PARTITION

    def ends(self) -> dict[int, int]:
        return {} if self._ended else {PARTITION: self._parts.index.end}

    def end_epoch(self) -> None:
        """Another reader of this name has taken over. From any thread."""
        self._ended = True

    def close(self) -> None:
        self._closed = True
        self._walk.close()

    def _make_room(self) -> None:
        self._tidy()
        self._walk.leave_deleted()

    def _gather(self, max_events: int, max_bytes: int) -> Slice | None:
        """One run of contiguous records; a gap can only stand before it."""
        begin = first_value = at = self._next
        values: list[bytes] = []
        size = 0
        while len(values) < max_events and size < max_bytes:
            try:
                found = self._waiting or self._walk.next(at, max_events - len(values), max_bytes - size)
            except Retryable:
                if at == begin:
                    raise
                break
            self._waiting = found
            if found is None or (values and found.first > at):
                break
            if not values:
                first_value = at = found.first
            room = max_events - len(values)
            taken = found.values[:room] if len(found.values) > room else found.values
            values += taken
            at += len(taken)
            size += found.size
            rest = found.values[len(taken) :] if len(found.values) > room else None
            self._waiting = Values(at, rest, found.size) if rest else None
        if at == begin:
            return None
        self._next = at
        if first_value > begin:
            self._parts.aside.gap(self._name, begin, first_value)
        offsets = range(first_value, at)
        return Slice(self._parts.log_id, PARTITION, self._epoch, begin, at, offsets, values, lost=first_value - begin)


class Walk:
    """From segment to segment. Keeps the one it is in open."""

    def __init__(self, parts: LogContext) -> None:
        self._parts = parts
        self._seed = frame.seed(parts.log_id)
        self._segment: Segment | None = None
        self._cursor: FrameCursor | None = None
        self._fd = -1

    def next(self, offset: int, max_events: int, max_bytes: int) -> Values | None:
        """The first values at or above `offset`, cut off below it; None when nothing more is durable."""
        index = self._parts.index
        while offset < index.end:
            view = index.view(self._segment) if self._segment else None
            if view is None or self._cursor is None:
                self.close()
                gap = self._enter(offset)
                if gap is not None:
                    return gap
                continue
            while found := self._cursor.values(view.size, view.end, max_events, max_bytes):
                skip = offset - found.first
                if skip < len(found.values):
                    return Values(offset, found.values[skip:], found.size) if skip > 0 else found
            if view.sealed:
                self.close()
            if offset < view.end:
                return Values(view.end, [], 0)
        return None

    def leave_deleted(self) -> None:
        """A deleted file takes up the disk for as long as somebody has it open."""
        if self._segment is not None and self._parts.index.view(self._segment) is None:
            self.close()

    def close(self) -> None:
        if self._segment is not None:
            self._parts.files.close(self._fd)
        self._segment = self._cursor = None

    def _enter(self, offset: int) -> Values | None:
        """Opens the segment where `offset` lies; a gap when it lies in none, None when there is something to try."""
        index = self._parts.index
        inside = index.locate(offset)
        if inside is None:
            following = index.after(offset)
            return Values(following.first if following else index.end, [], 0)
        try:
            fd = self._parts.files.open(inside.path)
        except FileNotFoundError:
            self._parts.aside.missing(inside.path, "it was deleted")
            index.discard(inside)
            return None
        except OSError as error:
            raise Retryable(f"a segment of the log cannot be opened: {error.strerror}") from error
        if not self._is_ours(inside, fd):
            self._parts.files.close(fd)
            index.discard(inside)
            self._parts.aside.segment(inside.path, "its header is damaged or of another log")
            return None
        stretch, path = self._parts.aside.stretch, inside.path
        self._segment, self._fd = inside, fd
        self._cursor = FrameCursor(
            self._parts.files,
            fd,
            self._seed,
            segment.HEADER_BYTES,
            inside.first,
            lambda begin, end: stretch(path, begin, end),
        )
        return None

    def _is_ours(self, inside: Segment, fd: int) -> bool:
        """The header of the growing segment was written by this process or checked at start."""
        view = self._parts.index.view(inside)
        if view is not None and not view.sealed:
            return True
        try:
            return segment.belongs(self._parts.files, fd, self._parts.log_id, inside.first)
        except OSError as error:
            self._parts.files.close(fd)
            raise Retryable(f"a segment of the log cannot be read: {error.strerror}") from error
