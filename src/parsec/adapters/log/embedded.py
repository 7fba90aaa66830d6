"""The embedded log: segment files, small state and a checkpoint in one directory, written and read by one process.

In: groups of events from the worker, commits from the processor. Out: durable records in order of offset.
Errors: Retryable while the disk refuses, Fatal once closed or when another process holds the directory.
Next: parsec.process.loop.

Invariants, cited by tests
 I1. Only synced events are visible to readers or acknowledged; visible events stay so, under the same offset.
 I2. An offset is never assigned to two events that could both be seen, even when segments, checkpoint or state are
     lost: every offset is below the high water that the state had before it was assigned, and a start that misses
     anything continues above all offsets that may have been assigned.
 I3. After a write or sync of unknown outcome the segment is cut back to its durable end and never written or synced
     again; the next segment begins at that end. Nothing in doubt is acknowledged.
 I4. A segment's offsets end where the next segment begins, so that bytes left behind a cut are not part of the log.
 I5. Every offset from a reader's start on is returned once per reading, as a record or in `lost`, in order.
 I6. A damaged file never keeps the log from opening; the damage is quarantined as `*.corrupt` and counted.
 I7. A segment is deleted only once every reader has durably committed beyond it.
 I8. The files stay below `max_bytes` plus one publish (and `*.corrupt` files below an eighth more, one at least).
 I9. Once the directory is not at its path any more, nothing is acknowledged, created, deleted or taken for lost.
"""

import threading
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import msgspec
import structlog

from parsec.adapters.log import writer
from parsec.adapters.log.files import Files
from parsec.adapters.log.index import LogContext, SegmentIndex
from parsec.adapters.log.lock import DirectoryLock
from parsec.adapters.log.quarantine import Quarantine
from parsec.adapters.log.reader import EmbeddedReader
from parsec.adapters.log.recovery import Hints, Recovery
from parsec.adapters.log.segment import SEGMENT_HEADER_BYTES, Segment
from parsec.adapters.log.state import State
from parsec.adapters.log.write_check import WriteCheck, make_deleted_directory
from parsec.adapters.log.writer import SegmentWriter
from parsec.core.clock import Clock, Random, SystemRandom
from parsec.core.errors import Fatal, Retryable
from parsec.core.held_directory import GONE, HeldDirectory
from parsec.core.units import show_quantity
from parsec.ports.broker import Group, Progress
from parsec.telemetry import Telemetry

_SMALLEST_SEGMENT = 1 << 12
FULL_BYTES = 1 << 20
"""A disk with less free space is full: writes would fail, so nothing is accepted even with PARSEC_DISK_RESERVE=0."""
_CHECK_EVERY_S = 0.2
_CHECK_EVERY_BYTES = 16 << 20
_DELETE_AT_ONCE = 4
"""Segments deleted per call, so that neither publish nor commit waits for the file system for long."""

_log = structlog.get_logger(__name__)


class LogOptions(msgspec.Struct, frozen=True):
    """`retention_s`: how long a segment is kept once every reader has passed it, unless `max_bytes` is reached, or such
    segments have more than `kept_bytes`."""

    segment_bytes: int = 128 << 20
    max_bytes: int = 8 << 30
    retention_s: float = 86_400.0
    kept_bytes: int = 2 << 30
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
        self._gone: str | None = None

    @property
    def is_full(self) -> bool:
        """The log has its largest size; only segments that every reader has passed can make room."""
        return self._index.size_bytes >= self._options.max_bytes

    def lacks_room(self) -> bool:
        """Whether the log has its largest size, the disk is low, or the directory is gone. While it is False nothing is
        refused."""
        now = self._clock.monotonic()
        if now - self._checked_at >= _CHECK_EVERY_S or self._unchecked_bytes >= _CHECK_EVERY_BYTES:
            self._checked_at, self._unchecked_bytes = now, 0
            self._check_disk()
        return self._gone is not None or self._disk_is_low or self._index.size_bytes >= self._options.max_bytes

    def must_roll(self) -> bool:
        """Whether room is needed and every reader has passed the active segment: it can be deleted once sealed."""
        if not self.lacks_room() or self._gone is not None:
            return False
        newest = self._index.newest
        return newest is not None and newest.size > SEGMENT_HEADER_BYTES and self._index.committed >= self._index.end

    def refusal(self) -> str | None:
        """Why nothing can be made durable now."""
        if not self.lacks_room():
            return None
        if self._gone is not None:
            return GONE
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
        unneeded = self._index.take_unneeded(kept_since, self._options.kept_bytes, max_bytes, _DELETE_AT_ONCE)
        if unneeded and self._context.held.why_gone() is not None:
            return  # their paths lead elsewhere now (I9); a start finds them again
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
        self._gone = self._context.held.why_gone()
        try:
            self._free = self._context.files.free_bytes(self._context.directory)
        except OSError:
            return
        self._disk_is_low = self._free < max(self._options.disk_reserve, FULL_BYTES)


class EmbeddedLog:
    """A LogWriter that also opens LogReaders. Made by `open`."""

    def __init__(
        self, context: LogContext, writer: SegmentWriter, retention: Retention, lock: DirectoryLock, clock: Clock
    ) -> None:
        self._context = context
        self._index = context.index
        self._writer = writer
        self._retention = retention
        self._lock = lock
        self._turn = threading.Lock()
        self._closed = False
        self._epoch = 0
        self._readers: dict[str, EmbeddedReader] = {}
        self._write_check = WriteCheck(self._probe, clock)

    @classmethod
    def open(
        cls, directory: Path, options: LogOptions, clock: Clock, telemetry: Telemetry, *,
        files: Files | None = None, random: Random | None = None,
    ) -> "EmbeddedLog":  # fmt: skip
        """Opens or creates the log in `directory` and takes its lock. Raises Fatal."""
        with ExitStack() as undo:
            lock = DirectoryLock.acquire(directory)
            undo.callback(lock.release)
            try:
                state = State.open(directory / "state.db", telemetry)
                undo.callback(state.close)
                context, newest = _recover(
                    directory, options, telemetry, files or Files(), random or SystemRandom(), state
                )
                writer = _open_writer(context, newest, options, clock)
            except (OSError, Retryable) as error:
                raise Fatal(f"the log in {directory} cannot be opened: {error}") from error
            undo.pop_all()
        retention = Retention(context, options, clock, telemetry)
        retention.count_written(0)
        return cls(context, writer, retention, lock, clock)

    @property
    def log_id(self) -> str:
        """32 hex digits, random, the same for the life of the log."""
        return self._context.log_id

    @property
    def start(self) -> int:
        """The first offset that the log still has."""
        return self._index.start

    @property
    def end(self) -> int:
        """The next offset: all offsets below it are durable or lost."""
        return self._index.end

    @property
    def size_bytes(self) -> int:
        return self._index.size_bytes

    @property
    def held(self) -> HeldDirectory:
        """Whether its directory is still at its path."""
        return self._context.held

    def reader(self, name: str) -> EmbeddedReader:
        """Continues after the last commit of that name, and ends the epoch of its last reader. A new name begins at the
        start."""
        with self._turn:
            if self._closed:
                raise Fatal("the log is closed")
            progress = self._context.state.readers(self.log_id).get(name)
            if progress is None:
                self._context.state.add_reader(name, self._index.start)
                progress = Progress(self.log_id, 0, self._index.start, self._index.start)
            self._index.committed_by(name, progress.committed)
            self._epoch += 1
            if name in self._readers:  # one owner at a time, as on Kafka
                self._readers[name].end_epoch()
            reader = EmbeddedReader(self._context, self._make_room_for_writer, name, progress, self._epoch)
            self._readers[name] = reader
            return reader

    def publish(self, groups: Sequence[Group]) -> None:
        groups = [group for group in groups if group.events]
        with self._turn:
            if self._closed:
                raise Fatal("the log is closed")
            if not groups:
                return
            try:
                if self._retention.lacks_room():
                    self._make_room()
                self._write_check.began()
                size = self._writer.append(groups)
            except Retryable as error:
                _warn_not_written(error)
                if self._retention.refusal() is None:
                    self._write_check.failed(str(error))
                else:
                    self._write_check.ended()
                raise
            self._retention.count_written(size)
            self._write_check.succeeded()

    def refuses(self) -> str | None:
        return "the log is closed" if self._closed else self._retention.refusal() or self._write_check.refusal()

    def watch(self, stop: threading.Event) -> None:
        """Runs in its own thread until `stop`: finds out whether the log can be written, also without events."""
        self._write_check.run(stop)

    def close(self) -> None:
        with self._turn:
            if self._closed:
                return
            self._closed = True
            with ExitStack() as last_first:
                last_first.callback(self._lock.release)
                last_first.callback(self._context.held.close)
                last_first.callback(self._context.state.close)
                last_first.callback(self._writer.close)
                self._index.close()

    def _probe(self) -> None:
        """Raises Retryable when events could not be written now."""
        with self._turn:
            if not self._closed and self._retention.refusal() is None:
                self._write_check.began()  # anew: a publish may have ended since
                make_deleted_directory(self._context)
                self._writer.probe()

    def _make_room(self) -> None:
        """Before a publish. Raises Retryable when there is none."""
        if self._retention.must_roll():
            self._writer.roll()
        if self._retention.is_full:
            self._retention.delete_unneeded()
        refusal = self._retention.refusal()
        if refusal:
            raise Retryable(refusal)

    def _make_room_for_writer(self) -> None:
        """Called by readers. While nothing may be published, only they can make room."""
        self._retention.delete_unneeded()
        if not self._retention.must_roll() or not self._turn.acquire(blocking=False):
            return  # a publish that holds the turn makes room itself
        try:
            if not self._closed and self._retention.must_roll():
                self._writer.roll()
        except Retryable as error:
            _warn_not_written(error)
        finally:
            self._turn.release()
        self._retention.delete_unneeded()


def _warn_not_written(error: Retryable) -> None:
    _log.warning("The log cannot be written. The events were not acknowledged.", why=str(error))


def _recover(
    directory: Path, options: LogOptions, telemetry: Telemetry, files: Files, random: Random, state: State
) -> tuple[LogContext, Segment | None]:
    """Checks the directory and repairs the end of the log; also returns the segment to continue, if there is one."""
    segments = directory / "segments"
    files.make_directory(segments)
    found, invalid = writer.load(files, directory)
    if invalid:
        telemetry.log_damaged.labels(what="checkpoint").inc()
        _log.warning("A copy of the log's checkpoint is damaged. It will be written again.", files=invalid)
    saved = state.load()
    progress = state.readers(saved.log_id if saved else "")
    positions = max((max(p.committed, p.reserved.last + 1 if p.reserved else 0) for p in progress.values()), default=0)
    quarantine = Quarantine(files, segments, options.max_bytes // 8, telemetry)
    hints = Hints(found, saved, positions, state.cuts())
    recovered = Recovery(files, segments, quarantine, random, telemetry, hints).run()
    state.delete_cuts(recovered.segments[0].first if recovered.segments else recovered.end)
    committed = {name: p.committed for name, p in progress.items()}
    index = SegmentIndex(recovered.segments, recovered.end, committed)
    held = HeldDirectory(directory, renewable=segments)
    context = LogContext(recovered.log_id, files, segments, index, state, quarantine, held)
    return context, recovered.segments[-1] if recovered.intact else None


def _open_writer(context: LogContext, newest: Segment | None, options: LogOptions, clock: Clock) -> SegmentWriter:
    saved = context.state.load()
    segment_bytes = max(min(options.segment_bytes, options.max_bytes // 4), _SMALLEST_SEGMENT)
    writer = SegmentWriter(context, segment_bytes, saved.high_water if saved else 0, clock)
    try:
        if newest:
            writer.resume(newest)
        else:
            writer.roll()
    except Retryable as error:
        _log.warning("The log has no segment to write to and is read-only. This will be retried.", why=str(error))
    writer.open_checkpoint()
    writer.save_start()
    return writer
