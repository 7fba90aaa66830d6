"""The embedded log: segment files, small state and a mark under one directory, written and read by one process.

In: groups of events from the worker, positions from the processor. Out: durable records in order of offset.
Errors: Retryable while the disk refuses, Fatal once closed or when another process holds the directory.
Next: parsec.process.loop.

Invariants, cited by tests
 I1. Only what was synced is visible to readers or acknowledged; what is visible stays so, under the same offset.
 I2. An offset is never given to two events that could both be seen, even when segments, mark or state are lost: every
     offset is below the high water that the state held before it was used, and a start that misses anything goes on
     beyond all that can have been given out.
 I3. After a write or sync of unknown outcome the segment is cut back to its durable end and never written or synced
     again; the next segment begins at that end. Nothing in doubt is acknowledged.
 I4. A segment's offsets end where the next segment begins, so that what may be left behind the cut is nobody's.
 I5. Every offset from a reader's start on is given once per reading, as a record or in `lost`, in order.
 I6. A damaged file never keeps the log from opening; the damage is set aside as `*.corrupt` and counted.
 I7. A segment is deleted only when every reader has durably committed beyond it.
 I8. The files stay below `max_bytes` plus one publish (and `*.corrupt` files below an eighth more, one at least).
"""

import threading
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import structlog

from parsec.adapters.log import checkpoint as marks
from parsec.adapters.log.context import LogContext
from parsec.adapters.log.files import Files, OsFiles
from parsec.adapters.log.index import SegmentIndex
from parsec.adapters.log.lock import DirectoryLock
from parsec.adapters.log.quarantine import Quarantine
from parsec.adapters.log.reader import EmbeddedReader
from parsec.adapters.log.recovery import Hints, Recovery
from parsec.adapters.log.retention import LogOptions, Retention
from parsec.adapters.log.state import State
from parsec.adapters.log.writer import SegmentWriter
from parsec.core.clock import Clock, Random, SystemRandom
from parsec.core.errors import Fatal, Retryable
from parsec.ports.broker import Group, Progress
from parsec.telemetry import Telemetry

__all__ = ("EmbeddedLog", "LogOptions")

_SMALLEST_SEGMENT = 1 << 12

_log = structlog.get_logger(__name__)


class EmbeddedLog:
    """A LogWriter that also gives LogReaders. Made by `open`."""

    def __init__(self, parts: LogContext, appender: SegmentWriter, bounds: Retention, lock: DirectoryLock) -> None:
        self._parts = parts
        self._appender = appender
        self._bounds = bounds
        self._lock = lock
        self._turn = threading.Lock()
        self._closed = False
        self._epoch = 0
        self._readers: dict[str, EmbeddedReader] = {}

    @classmethod
    def open(
        cls,
        directory: Path,
        options: LogOptions,
        clock: Clock,
        telemetry: Telemetry,
        *,
        files: Files | None = None,
        random: Random | None = None,
    ) -> "EmbeddedLog":
        """Opens or creates the log in `directory` and takes its lock. Raises Fatal."""
        with ExitStack() as undo:
            lock = DirectoryLock.acquire(directory)
            undo.callback(lock.release)
            try:
                state = State.open(directory / "state.db", telemetry)
                undo.callback(state.close)
                log = _open(
                    directory, options, clock, telemetry, files or OsFiles(), random or SystemRandom(), state, lock
                )
            except (OSError, Retryable) as error:
                raise Fatal(f"the log in {directory} cannot be opened: {error}") from error
            undo.pop_all()
        return log

    @property
    def log_id(self) -> str:
        """32 hex digits, random, the same for the life of the log."""
        return self._parts.log_id

    @property
    def start(self) -> int:
        """The first offset still held."""
        return self._parts.index.start

    @property
    def end(self) -> int:
        """The next offset: everything below it is durable or lost."""
        return self._parts.index.end

    @property
    def size_bytes(self) -> int:
        """Bytes of the segments."""
        return self._parts.index.size_bytes

    def reader(self, name: str) -> EmbeddedReader:
        """Goes on where the last reader of that name committed, and ends its epoch; a new name begins at the start."""
        with self._turn:
            if self._closed:
                raise Fatal("the log is closed")
            progress = self._progress(name)
            if progress is None:
                self._parts.state.add_reader(name, self._parts.index.start)
                progress = Progress(self.log_id, 0, self._parts.index.start, self._parts.index.start)
            self._parts.index.committed_by(name, progress.committed)
            self._epoch += 1
            if name in self._readers:
                self._readers[name].end_epoch()
            reader = EmbeddedReader(self._parts, self._tidy, name, progress, self._epoch)
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
                self._make_room()
                size = self._appender.append(groups)
            except Retryable as error:
                _complain(error)
                raise
            self._bounds.wrote(size)

    def refuses(self) -> str | None:
        return "the log is closed" if self._closed else self._bounds.refusal()

    def close(self) -> None:
        with self._turn:
            if self._closed:
                return
            self._closed = True
            with ExitStack() as last_first:
                last_first.callback(self._lock.release)
                last_first.callback(self._parts.state.close)
                last_first.callback(self._appender.close)
                self._parts.index.close()

    def _progress(self, name: str) -> Progress | None:
        return self._parts.state.readers(self.log_id).get(name)

    def _tidy(self) -> None:
        """For readers, after a commit and while they wait. Where nothing may be published, only this makes room."""
        self._bounds.tidy()
        if not self._bounds.growing_is_in_the_way or not self._turn.acquire(blocking=False):
            return  # whoever publishes makes room, too
        try:
            if not self._closed and self._bounds.growing_is_in_the_way:
                self._appender.begin()
        except Retryable as error:
            _complain(error)
        finally:
            self._turn.release()
        self._bounds.tidy()

    def _make_room(self) -> None:
        if self._bounds.growing_is_in_the_way:
            self._appender.begin()
        if self._bounds.full:
            self._bounds.tidy()
        refusal = self._bounds.refusal()
        if refusal:
            raise Retryable(refusal)


def _complain(error: Retryable) -> None:
    _log.warning("Nothing can be written to the log; the events were not acknowledged.", why=str(error))


def _open(
    directory: Path,
    options: LogOptions,
    clock: Clock,
    telemetry: Telemetry,
    files: Files,
    random: Random,
    state: State,
    lock: DirectoryLock,
) -> EmbeddedLog:
    segments = directory / "segments"
    files.make_directory(segments)
    mark, unsound = marks.load(files, directory)
    if unsound:
        telemetry.log_damaged.labels(what="mark").inc()
        _log.warning("A copy of the log's mark does not prove itself; it is made anew.")
    known = state.known()
    progress = state.readers(known.log_id if known else "")
    positions = max((max(p.committed, p.reserved.last + 1 if p.reserved else 0) for p in progress.values()), default=0)
    aside = Quarantine(files, segments, options.max_bytes // 8, telemetry)
    hints = Hints(mark, known, positions, state.cuts())
    found = Recovery(files, segments, aside, random, telemetry, hints).run()
    state.forget_cuts(found.segments[0].first if found.segments else found.end)
    index = SegmentIndex(found.segments, found.end, {name: p.committed for name, p in progress.items()})
    parts = LogContext(found.log_id, files, segments, index, state, aside)
    segment_bytes = max(min(options.segment_bytes, options.max_bytes // 4), _SMALLEST_SEGMENT)
    appender = SegmentWriter(parts, segment_bytes, known.high_water if known else 0, clock)
    try:
        if found.intact:
            appender.resume(found.segments[-1])
        else:
            appender.begin()
    except Retryable as error:
        _log.warning("The log opens for reading; a segment to write to will be tried for again.", why=str(error))
    appender.start_mark()
    appender.announce()
    bounds = Retention(parts, options, clock, telemetry)
    bounds.wrote(0)
    return EmbeddedLog(parts, appender, bounds, lock)
