"""What a directory still holds when the log opens: its id, its segments, and the next offset.

In: segment files, the mark, the state, each of which may be damaged or gone. Out: `Found`, after the newest segment was
checked from the mark on, its torn tail cut, and what may not have reached the disk written again. Older segments are
not read here, so that a start does not depend on the backlog. Errors: OSError when the newest segment cannot be made
durable. Next: parsec.adapters.broker.embedded.
"""

from pathlib import Path

import msgspec
import structlog

from parsec.adapters.broker import frame, segment
from parsec.adapters.broker.aside import Aside
from parsec.adapters.broker.files import Entry, Files
from parsec.adapters.broker.mark import Mark
from parsec.adapters.broker.segment import PATIENCE, Frame, FrameCursor, Segment
from parsec.adapters.broker.state import Known
from parsec.core.clock import Random
from parsec.core.errors import Retryable
from parsec.telemetry import Telemetry

BLOCK = 1 << 19
"""Offsets reserved ahead with one commit of the state."""
_NO_END = 1 << 63
_COPY_BYTES = 1 << 20

_log = structlog.get_logger(__name__)


class Hints(msgspec.Struct, frozen=True):
    """What is known from elsewhere. `positions`: the highest offset that any reader has committed or reserved."""

    mark: Mark | None
    known: Known | None
    positions: int
    rebuilt: bool


class Found(msgspec.Struct, frozen=True):
    """`end` is the next offset; `intact` whether the newest segment reaches up to it, so that it may grow on."""

    log_id: str
    segments: list[Segment]
    end: int
    intact: bool


class _Tail(msgspec.Struct, frozen=True):
    """Where the sound part of the newest segment ends, in bytes and as offset, and where the check began."""

    position: int
    end: int
    checked_from: int


class Recovery:
    """Runs once, before anything else touches the directory."""

    def __init__(
        self, files: Files, directory: Path, aside: Aside, random: Random, telemetry: Telemetry, hints: Hints
    ) -> None:
        self._files = files
        self._directory = directory
        self._aside = aside
        self._random = random
        self._telemetry = telemetry
        self._hints = hints

    def run(self) -> Found:
        """Settles the newest segment and finds the offset at which to go on."""
        entries = self._segments()
        log_id = self._log_id(entries)
        mark = self._hints.mark if self._hints.mark and self._hints.mark.log_id == log_id else None
        while entries and segment.log_id_of(self._files, *_where(self._directory, entries[-1])) != log_id:
            self._aside.segment(self._directory / entries.pop()[1].name, "its header is damaged or of another log")
        segments = [
            Segment(first, self._directory / entry.name, entry.size, entry.mtime_ns) for first, entry in entries
        ]
        tail = self._check(segments[-1], log_id, mark) if segments else None
        end = self._next_offset(segments[-1] if segments else None, tail, mark)
        intact = tail is not None and tail.end == end
        if tail:
            self._settle(segments[-1], tail, mark, keep=not intact)
        return Found(log_id, segments, end, intact)

    def _segments(self) -> list[tuple[int, Entry]]:
        found = []
        for entry in self._files.entries(self._directory):
            first = segment.first_of(entry.name)
            if first is not None:
                found.append((first, entry))
            elif entry.name.endswith(segment.FRESH):
                self._files.remove(self._directory / entry.name)
        return sorted(found, key=lambda item: item[0])

    def _log_id(self, entries: list[tuple[int, Entry]]) -> str:
        if self._hints.known:
            return self._hints.known.log_id
        for item in reversed(entries):
            log_id = segment.log_id_of(self._files, *_where(self._directory, item))
            if log_id:
                return log_id
        if self._hints.mark:
            return self._hints.mark.log_id
        return self._random.bytes(16).hex()

    def _check(self, newest: Segment, log_id: str, mark: Mark | None) -> _Tail:
        """Walks the newest segment from the mark on, or from its begin when there is no mark to trust."""
        position, end = segment.HEADER_BYTES, newest.first
        if mark and mark.segment == newest.first and mark.position <= newest.size:
            position, end = mark.position, mark.end
        checked_from = position
        fd = self._files.open(newest.path)
        try:
            cursor = FrameCursor(self._files, fd, frame.seed(log_id), position, end)
            while found := _patiently(cursor, newest.size):
                position, end = found.ends_at, found.first + found.count
        finally:
            self._files.close(fd)
        return _Tail(position, end, checked_from)

    def _next_offset(self, newest: Segment | None, tail: _Tail | None, mark: Mark | None) -> int:
        """Where to go on: at the end of the newest segment unless something says that more was there (I2)."""
        hints, known = self._hints, self._hints.known
        floor = max(mark.end if mark else 0, known.durable if known else 0, hints.positions)
        last_segment = max(mark.segment if mark else 0, known.segment if known else 0)
        reached = tail.end if tail else 0
        deleted = last_segment > newest.first if newest else (known or mark) is not None
        if reached >= floor and not deleted:
            return reached
        end = max(floor, reached)
        if not (mark and mark.exact(self._files.boot_id())):
            # What came after an old mark is unknown: give no offset twice, and count all that may be gone.
            high_water = max(mark.high_water if mark else 0, known.high_water if known else 0)
            end = max(end, high_water + (BLOCK if hints.rebuilt else 0))
        self._telemetry.log_damaged.labels(what="tail").inc()
        _log.error(
            "The end of the log is missing; its events are lost and will be counted.",
            from_offset=reached,
            to_offset=end,
        )
        return end

    def _settle(self, newest: Segment, tail: _Tail, mark: Mark | None, *, keep: bool) -> None:
        """Cuts what is no frame, and makes the rest durable."""
        if newest.size > tail.position:
            if keep:
                self._aside.stretch(newest.path, tail.position, newest.size)
            else:
                self._telemetry.log_damaged.labels(what="torn_tail").inc()
                _log.warning(
                    "A torn tail was cut from the log; nothing in it had been acknowledged.",
                    segment=newest.path.name,
                    position=tail.position,
                    bytes=newest.size - tail.position,
                )
        fd = self._files.open(newest.path, write=True)
        try:
            if newest.size > tail.position:
                self._files.truncate(fd, tail.position)
                newest.size = tail.position
            if mark and mark.boot_id == self._files.boot_id():
                self._write_again(fd, tail.checked_from, tail.position)
            self._files.sync(fd)
        finally:
            self._files.close(fd)

    def _write_again(self, fd: int, begin: int, end: int) -> None:
        """A sync that failed in an earlier process may have left bytes in memory that the kernel takes for written,
        and that a later sync would not write."""
        for at in range(begin, end, _COPY_BYTES):
            data = self._files.read(fd, min(_COPY_BYTES, end - at), at)
            if self._files.write(fd, [data], at) != len(data):
                raise OSError("the tail of the log could not be written again")


def _patiently(cursor: FrameCursor, limit: int) -> Frame | None:
    """The next frame; a place the disk cannot read is asked for again until the cursor gives it up."""
    for _ in range(PATIENCE):
        try:
            return cursor.next(limit, _NO_END)
        except Retryable as error:
            refused = error
    raise refused


def _where(directory: Path, item: tuple[int, Entry]) -> tuple[Path, int]:
    first, entry = item
    return directory / entry.name, first
