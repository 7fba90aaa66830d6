"""The growing end of the log: frames of one publish, written with one call, made durable with one sync.

In: groups. Out: the durable end moved past them, or Retryable with nothing of them visible. Invariants I1 to I4 of
parsec.adapters.log.embedded are kept here. Called by one thread at a time. Next: parsec.adapters.log.reader.
"""

import contextlib
from collections.abc import Sequence

from parsec.adapters.log import frame, segment
from parsec.adapters.log.checkpoint import Checkpoint, CheckpointFile
from parsec.adapters.log.context import LogContext
from parsec.adapters.log.recovery import BLOCK
from parsec.adapters.log.segment import Segment
from parsec.adapters.log.state import Known
from parsec.core.clock import Clock
from parsec.core.errors import Retryable
from parsec.ports.broker import Group


class SegmentWriter:
    """Owns the descriptor of the growing segment, if there is one, and the mark."""

    def __init__(self, parts: LogContext, segment_bytes: int, high_water: int, clock: Clock) -> None:
        self._parts = parts
        self._segment_bytes = segment_bytes
        self._high_water = high_water
        self._clock = clock
        self._seed = frame.seed(parts.log_id)
        self._boot_id = parts.files.boot_id()
        self._segment: Segment | None = None
        self._fd = -1
        self._mark: CheckpointFile | None = None
        self._doubtful: Segment | None = None

    def resume(self, newest: Segment) -> None:
        """Goes on in a segment that recovery found sound up to its last byte. Raises OSError."""
        if newest.size < self._segment_bytes:
            self._fd = self._parts.files.open(newest.path, write=True)
            self._segment = newest

    def begin(self) -> Segment:
        """Seals the segment and starts the next, at the durable end. Raises Retryable."""
        self._let_go()
        parts, first = self._parts, self._parts.index.end
        if self._doubtful is not None:
            # Should the cut not have reached the disk: only this keeps what is behind it out of sight for good (I3).
            parts.state.cut(self._doubtful.first, self._doubtful.size)
            self._doubtful = None
        try:
            fd = segment.create(parts.files, parts.directory, parts.log_id, first)
        except OSError as error:
            raise Retryable(f"a segment of the log cannot be created: {error.strerror or error}") from error
        try:
            # The state must not know of a log that has no mark: a start would take its end for missing.
            self._mark = self._mark or self._repaired_mark()
            # Before any event is in it: a start must know when this segment is missing (I2).
            self._remember(first, first + BLOCK)
        except BaseException:
            parts.files.close(fd)
            raise
        self._fd = fd
        path = parts.directory / segment.file_name(first)
        self._segment = Segment(first, path, segment.HEADER_BYTES, self._clock.time_ns())
        parts.index.add(self._segment, self._clock.time_ns())
        return self._segment

    def start_mark(self) -> CheckpointFile:
        """Before the first publish of this process. Raises OSError."""
        if self._mark is None:
            directory = self._parts.directory.parent
            self._mark = CheckpointFile.begin(self._parts.files, directory, self._present_mark(clean=False))
        return self._mark

    def announce(self) -> None:
        """Puts into the state where this process began; a full disk may keep it from that."""
        newest, end = self._parts.index.newest, self._parts.index.end
        with contextlib.suppress(Retryable):
            self._remember(newest.first if newest else end, end + BLOCK)

    def append(self, groups: Sequence[Group]) -> int:
        """Returns the bytes written once all groups are durable. Raises Retryable."""
        parts = self._parts
        growing = self._segment
        mark = self._mark or self._repaired_mark()
        if growing is None or growing.size >= self._segment_bytes:
            growing = self.begin()
        buffers: list[bytes] = []
        began = end = parts.index.end
        size = 0
        for group in groups:
            count, lines = len(group.events), group.lines
            buffers += (frame.header(self._seed, began, end, count, lines), lines)
            end += count
            size += frame.HEADER_BYTES + len(lines)
        if end > self._high_water:
            self._remember(growing.first, end + BLOCK)
        position = growing.size + size
        durable = False
        try:
            if parts.files.write(self._fd, buffers, growing.size) != size:
                raise OSError("the disk took only a part of the bytes")
            parts.files.sync(self._fd)
            durable = True
        except OSError as error:
            raise Retryable(f"the log cannot be written: {error.strerror or error}") from error
        finally:
            if not durable:
                self._abandon(growing)
        self._note(
            mark, Checkpoint(parts.log_id, self._boot_id, growing.first, position, end, self._high_water), growing
        )
        return size

    def _note(self, file: CheckpointFile, mark: Checkpoint, growing: Segment) -> None:
        """Nothing is acknowledged beyond the mark, so that it is exact while the machine runs (I2)."""
        try:
            file.write(mark)
            self._parts.index.advance(growing, mark.position, mark.end)
        except OSError:
            # Perhaps half written, perhaps whole: so the bytes stay, and the mark is made anew.
            self._parts.index.advance(growing, mark.position, mark.end)
            self._drop_mark()
            self._repaired_mark()

    def close(self) -> None:
        """Leaves a clean mark where the disk lets it, and a state that knows the end should the mark be lost."""
        with contextlib.suppress(OSError, Retryable):
            mark = self.start_mark()
            mark.write(self._present_mark(clean=True))
            mark.sync()
            self._parts.state.note_last(self._parts.index.end)
        self._drop_mark()
        self._let_go()

    def _repaired_mark(self) -> CheckpointFile:
        try:
            return self.start_mark()
        except OSError as error:
            raise Retryable(f"the log's mark cannot be written: {error.strerror or error}") from error

    def _drop_mark(self) -> None:
        """A mark that may be half written: the next publish begins with a sound one."""
        with contextlib.suppress(OSError):
            if self._mark:
                self._mark.close()
        self._mark = None

    def _present_mark(self, *, clean: bool) -> Checkpoint:
        newest = self._parts.index.newest
        first, size = (newest.first, newest.size) if newest else (self._parts.index.end, segment.HEADER_BYTES)
        return Checkpoint(
            self._parts.log_id, self._boot_id, first, size, self._parts.index.end, self._high_water, clean
        )

    def _remember(self, first: int, high_water: int) -> None:
        end = self._parts.index.end
        self._parts.state.remember(Known(self._parts.log_id, max(high_water, self._high_water), first, end))
        self._high_water = max(high_water, self._high_water)

    def _abandon(self, growing: Segment) -> None:
        """After a write or sync of unknown outcome (I3): no further sync of this file could be believed."""
        with contextlib.suppress(OSError):
            self._parts.files.truncate(self._fd, growing.size)
        if growing.size > segment.HEADER_BYTES:
            self._doubtful = growing
        self._let_go()

    def _let_go(self) -> None:
        if self._segment is not None:
            with contextlib.suppress(OSError):
                self._parts.files.close(self._fd)
        self._segment, self._fd = None, -1
