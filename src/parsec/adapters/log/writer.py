"""Writes to the active segment: the frames of one publish with one call, made durable with one sync.

In: groups. Out: the durable end is behind them; or Retryable, and none of them is visible. Keeps invariants I1 to I4 of
parsec.adapters.log.embedded. Called by one thread at a time. Next: parsec.adapters.log.reader.
"""

import contextlib
from collections.abc import Sequence

from parsec.adapters.log import frame, segment
from parsec.adapters.log.checkpoint import Checkpoint, CheckpointFile
from parsec.adapters.log.index import LogContext
from parsec.adapters.log.recovery import BLOCK
from parsec.adapters.log.segment import Segment
from parsec.adapters.log.state import SavedLog
from parsec.core.clock import Clock
from parsec.core.errors import Retryable
from parsec.ports.broker import Group


class SegmentWriter:
    """Owns the descriptor of the active segment, if there is one, and the checkpoint."""

    def __init__(self, context: LogContext, segment_bytes: int, high_water: int, clock: Clock) -> None:
        self._context = context
        self._segment_bytes = segment_bytes
        self._high_water = high_water
        self._clock = clock
        self._seed = frame.checksum_seed(context.log_id)
        self._boot_id = context.files.boot_id()
        self._active: Segment | None = None
        self._fd = -1
        self._checkpoint_file: CheckpointFile | None = None
        self._in_doubt: Segment | None = None

    def resume(self, newest: Segment) -> None:
        """Continues a segment that recovery found valid up to its last byte. Raises OSError."""
        if newest.size < self._segment_bytes:
            self._fd = self._context.files.open(newest.path, write=True)
            self._active = newest

    def roll(self) -> Segment:
        """Seals the active segment and starts the next one, at the durable end. Raises Retryable."""
        self._close_segment()
        context, first = self._context, self._context.index.end
        if self._in_doubt is not None:
            # The truncation may not have reached the disk: only this hides what is behind it for good (I3).
            context.state.save_cut(self._in_doubt.first, self._in_doubt.size)
            self._in_doubt = None
        try:
            fd = segment.create(context.files, context.directory, context.log_id, first)
        except OSError as error:
            raise Retryable(f"a segment of the log cannot be created: {error.strerror or error}") from error
        try:
            # Before the state knows of the log: without a checkpoint a start would take its end for missing.
            self._checkpoint_file = self._checkpoint_file or self._repair_checkpoint()
            # Before any event is in it: a start must know when this segment is missing (I2).
            self._save_state(first, first + BLOCK)
        except BaseException:
            context.files.close(fd)
            raise
        self._fd = fd
        path = context.directory / segment.file_name(first)
        self._active = Segment(first, path, segment.SEGMENT_HEADER_BYTES, self._clock.time_ns())
        context.index.add(self._active, self._clock.time_ns())
        return self._active

    def open_checkpoint(self) -> CheckpointFile:
        """Called before the first publish of this process. Raises OSError."""
        if self._checkpoint_file is None:
            directory = self._context.directory.parent
            self._checkpoint_file = CheckpointFile.create(self._context.files, directory, self._checkpoint(clean=False))
        return self._checkpoint_file

    def save_start(self) -> None:
        """Saves to the state where this process began, unless the disk is full."""
        newest, end = self._context.index.newest, self._context.index.end
        with contextlib.suppress(Retryable):
            self._save_state(newest.first if newest else end, end + BLOCK)

    def append(self, groups: Sequence[Group]) -> int:
        """Returns the bytes written once all groups are durable. Raises Retryable."""
        index = self._context.index
        checkpoint_file = self._checkpoint_file or self._repair_checkpoint()
        active = self._active
        if active is None or active.size >= self._segment_bytes:
            active = self.roll()
        buffers: list[bytes] = []
        began = end = index.end
        size = 0
        for group in groups:
            count, lines = len(group.events), group.lines
            buffers += (frame.pack_header(self._seed, began, end, count, lines), lines)
            end += count
            size += frame.FRAME_HEADER_BYTES + len(lines)
        if end > self._high_water:
            self._save_state(active.first, end + BLOCK)
        self._write(active, buffers, size)
        position = active.size + size
        try:
            checkpoint_file.write(
                Checkpoint(self._context.log_id, self._boot_id, active.first, position, end, self._high_water)
            )
            index.advance(active, position, end)
        except OSError:
            # Half written, or whole: the events stay, and nothing is acknowledged before it is rewritten (I2).
            index.advance(active, position, end)
            self._close_checkpoint()
            self._repair_checkpoint()
        return size

    def close(self) -> None:
        """Leaves a clean checkpoint if the disk allows it, and the end in the state in case that one is lost."""
        with contextlib.suppress(OSError, Retryable):
            file = self.open_checkpoint()
            file.write(self._checkpoint(clean=True))
            file.sync()
            self._context.state.save_end(self._context.index.end)
        self._close_checkpoint()
        self._close_segment()

    def _write(self, active: Segment, buffers: Sequence[bytes], size: int) -> None:
        """Writes and syncs. Raises Retryable when the outcome is unknown."""
        durable = False
        try:
            if self._context.files.write(self._fd, buffers, active.size) != size:
                raise OSError("the disk took only a part of the bytes")
            self._context.files.sync(self._fd)
            durable = True
        except OSError as error:
            raise Retryable(f"the log cannot be written: {error.strerror or error}") from error
        finally:
            if not durable:
                self._abandon(active)

    def _abandon(self, active: Segment) -> None:
        """After a write or sync of unknown outcome (I3): no later sync of this file could be trusted."""
        with contextlib.suppress(OSError):
            self._context.files.truncate(self._fd, active.size)
        if active.size > segment.SEGMENT_HEADER_BYTES:
            self._in_doubt = active
        self._close_segment()

    def _repair_checkpoint(self) -> CheckpointFile:
        try:
            return self.open_checkpoint()
        except OSError as error:
            raise Retryable(f"the log's checkpoint cannot be written: {error.strerror or error}") from error

    def _close_checkpoint(self) -> None:
        """The next publish starts with a new file: this one may be half written."""
        with contextlib.suppress(OSError):
            if self._checkpoint_file:
                self._checkpoint_file.close()
        self._checkpoint_file = None

    def _checkpoint(self, *, clean: bool) -> Checkpoint:
        log_id, index = self._context.log_id, self._context.index
        newest = index.newest
        first, size = (newest.first, newest.size) if newest else (index.end, segment.SEGMENT_HEADER_BYTES)
        return Checkpoint(log_id, self._boot_id, first, size, index.end, self._high_water, clean)

    def _save_state(self, first: int, high_water: int) -> None:
        high_water = max(high_water, self._high_water)
        self._context.state.save(SavedLog(self._context.log_id, high_water, first, self._context.index.end))
        self._high_water = high_water

    def _close_segment(self) -> None:
        if self._active is not None:
            with contextlib.suppress(OSError):
                self._context.files.close(self._fd)
        self._active, self._fd = None, -1
