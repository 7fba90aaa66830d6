"""Reads durable records from the segments, in order of offset, for one named reader.

In: the index of segments, and the committed offset of this reader. Out: slices; offsets of which nothing is left are
counted in `lost` (I5). Errors: Retryable while the disk refuses, Fatal once the log is closed.
Next: parsec.process.loop.
"""

from collections.abc import Callable
from functools import partial

from parsec.adapters.log import frame, segment
from parsec.adapters.log.frame import FrameCursor, Records
from parsec.adapters.log.index import LogContext
from parsec.adapters.log.segment import Segment
from parsec.core.errors import Fatal, Retryable
from parsec.ports.broker import Assigned, Counts, Progress, Range, Revoked, Slice

PARTITION = 0
"""The embedded log has one partition."""
_NEVER = 1 << 63


class EmbeddedReader:
    """A LogReader of partition 0. Used by one thread. `make_room` is called after a commit and while it waits."""

    def __init__(
        self, context: LogContext, make_room: Callable[[], None], name: str, progress: Progress, epoch: int
    ) -> None:
        self._context = context
        self._make_room = make_room
        self._name = name
        self._progress = progress
        self._epoch = epoch
        self._assigned = self._revoked = False
        self._paused = self._epoch_ended = self._closed = False
        self._stream = RecordStream(context, progress.committed)
        self._again = RecordStream(context, progress.start)

    def poll(self, max_wait_s: float, max_events: int, max_bytes: int) -> Slice | Assigned | Revoked | None:
        if self._closed:
            raise Fatal("the reader of the log is closed")
        if not self._assigned:
            self._assigned = True
            return Assigned(self._progress, self._epoch)
        if self._epoch_ended and not self._revoked:
            self._revoked = True
            return Revoked(PARTITION)
        beyond = _NEVER if self._paused or self._epoch_ended else self._stream.next
        if self._context.index.wait_beyond(beyond, max_wait_s) <= beyond:
            self._make_room()
            self._close_deleted()
            return None
        return self._read(max_events, max_bytes)

    def reserve(self, taken: Range, epoch: int, attempt: int) -> None:
        if self._epoch_ended or epoch != self._epoch:
            raise Retryable("the epoch of this reader has ended")
        self._context.state.reserve(self._name, taken, attempt)

    def commit(self, partition: int, epoch: int, next_offset: int, counts: Counts) -> bool:
        if self._epoch_ended or epoch != self._epoch or partition != PARTITION:
            return False
        index = self._context.index
        self._context.state.commit(self._name, next_offset, counts, index.end)
        index.committed_by(self._name, next_offset)
        self._make_room()
        self._close_deleted()
        return True

    def read_again(self, span: Range, max_events: int, max_bytes: int) -> Slice | None:
        if self._epoch_ended or span.partition != PARTITION or span.log_id != self._context.log_id:
            return None
        self._again.seek(span.first)
        end = span.last + 1
        found = self._again.read(end, max_events, max_bytes)
        if found is None or found.first >= end:
            # A gap may reach beyond the range.
            return self._slice(span.first, Records(end, []))
        return self._slice(span.first, found)

    def keep_committed(self, keep: bool) -> None:
        self._context.index.keeps_all = keep

    def pause(self, partition: int) -> None:
        self._paused = self._paused or partition == PARTITION

    def resume(self, partition: int) -> None:
        self._paused = self._paused and partition != PARTITION

    def ends(self) -> dict[int, int]:
        return {} if self._epoch_ended else {PARTITION: self._context.index.end}

    def end_epoch(self) -> None:
        """Called when another reader of this name has taken over. From any thread."""
        self._epoch_ended = True

    def close(self) -> None:
        self._closed = True
        self._stream.close()
        self._again.close()

    def _close_deleted(self) -> None:
        self._stream.close_deleted()
        self._again.close_deleted()

    def _read(self, max_events: int, max_bytes: int) -> Slice | None:
        """One slice of consecutive records, with a gap before them at most."""
        begin = self._stream.next
        found = self._stream.read(self._context.index.end, max_events, max_bytes)
        if found is None:
            return None
        if found.first > begin:
            self._context.quarantine.report_gap(self._name, begin, found.first)
        return self._slice(begin, found)

    def _slice(self, begin: int, found: Records) -> Slice:
        offsets, log_id = range(found.first, found.first + len(found.values)), self._context.log_id
        lost = found.first - begin
        return Slice(log_id, PARTITION, self._epoch, begin, offsets.stop, offsets, found.values, lost=lost)


class RecordStream:
    """Consecutive records from the offset `next` on."""

    def __init__(self, context: LogContext, offset: int) -> None:
        self.next = offset
        self._cursor = LogCursor(context)
        self._read_ahead: Records | None = None

    def seek(self, offset: int) -> None:
        """Continues at `offset`. Forward within a segment is cheap."""
        ahead, self._read_ahead = self._read_ahead, None
        if ahead is not None and ahead.first <= offset < ahead.first + len(ahead.values):
            self._read_ahead = Records(offset, ahead.values[offset - ahead.first :], ahead.size)
        elif offset < self.next or (ahead is not None and offset < ahead.first):
            self._cursor.close()
        self.next = offset

    def read(self, end: int, max_events: int, max_bytes: int) -> Records | None:
        """Records below `end`, with a gap before them at most; None: there are none now. Raises Retryable."""
        begin = first_value = at = self.next
        values: list[bytes] = []
        size = 0
        while len(values) < max_events and size < max_bytes and at < end:
            try:
                found = self._read_ahead or self._cursor.next(at, max_events - len(values), max_bytes - size)
            except Retryable:
                if at == begin:
                    raise
                break
            self._read_ahead = found
            if found is None or (values and found.first > at):
                break  # the gap begins the next slice
            if not values:
                first_value = at = found.first
            room = min(max_events - len(values), max(end - at, 0))
            taken, rest = found.values, None
            if len(taken) > room:
                taken, rest = taken[:room], taken[room:]
            values += taken
            at += len(taken)
            size += found.size
            self._read_ahead = Records(at, rest, found.size) if rest else None
        if at == begin:
            return None
        self.next = at
        return Records(first_value, values, size)

    def close_deleted(self) -> None:
        self._cursor.close_deleted()

    def close(self) -> None:
        self._cursor.close()


class LogCursor:
    """Reads from segment to segment. Keeps the segment that it reads open."""

    def __init__(self, context: LogContext) -> None:
        self._context = context
        self._seed = frame.checksum_seed(context.log_id)
        self._segment: Segment | None = None
        self._frames: FrameCursor | None = None
        self._fd = -1

    def next(self, offset: int, max_events: int, max_bytes: int) -> Records | None:
        """The first records at or above `offset`, without those below it; None when no more is durable."""
        index = self._context.index
        while offset < index.end:
            view = index.view(self._segment) if self._segment else None
            if view is None or self._frames is None:
                self.close()
                gap = self._open(offset)
                if gap is not None:
                    return gap
                continue
            while found := self._frames.records(view.size, view.end, max_events, max_bytes):
                skip = offset - found.first
                if skip < len(found.values):
                    return Records(offset, found.values[skip:], found.size) if skip > 0 else found
            if view.sealed:
                self.close()
            if offset < view.end:
                return Records(view.end, [])
        return None

    def close_deleted(self) -> None:
        """A deleted file takes up the disk for as long as it is open."""
        if self._segment is not None and self._segment.deleted:
            self.close()

    def close(self) -> None:
        if self._segment is not None:
            self._context.files.close(self._fd)
        self._segment = self._frames = None

    def _open(self, offset: int) -> Records | None:
        """Opens the segment of `offset`. Returns a gap if it is in none; None when there is a segment to try."""
        index, quarantine = self._context.index, self._context.quarantine
        inside = index.locate(offset)
        if inside is None:
            following = index.after(offset)
            return Records(following.first if following else index.end, [])
        try:
            fd = self._context.files.open(inside.path)
        except FileNotFoundError:
            if (gone := self._context.held.why_gone()) is not None:
                raise Retryable(gone) from None
            quarantine.report_missing(inside.path, "it was deleted")
            index.discard(inside)
            return None
        except OSError as error:
            raise Retryable(f"a segment of the log cannot be opened: {error.strerror}") from error
        if not self._belongs(inside, fd):
            self._context.files.close(fd)
            index.discard(inside)
            quarantine.move(inside.path, "its header is damaged or of another log")
            return None
        self._segment, self._fd = inside, fd
        on_damage = partial(quarantine.copy, inside.path)
        begin = segment.SEGMENT_HEADER_BYTES
        self._frames = FrameCursor(self._context.files, fd, self._seed, begin, inside.first, on_damage)
        return None

    def _belongs(self, inside: Segment, fd: int) -> bool:
        """Whether the segment is one of this log. The active one was created by this process, or checked at start."""
        view = self._context.index.view(inside)
        if view is not None and not view.sealed:
            return True
        try:
            return segment.read_log_id(self._context.files, fd, inside.first) == self._context.log_id
        except OSError as error:
            self._context.files.close(fd)
            raise Retryable(f"a segment of the log cannot be read: {error.strerror}") from error
