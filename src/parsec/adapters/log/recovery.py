"""What a directory still holds when the log opens: its id, its segments, and the next offset.

In: segment files, the mark, the state, each of which may be damaged or gone. Out: `Found`, after the newest segment was
checked from the mark on, its torn tail cut, and what may not have reached the disk written again. Older segments are
not read here, so that a start does not depend on the backlog. Errors: OSError when the newest segment cannot be made
durable. Next: parsec.adapters.log.embedded.
"""

from collections.abc import Mapping
from pathlib import Path

import msgspec
import structlog

from parsec.adapters.log import frame, segment
from parsec.adapters.log.checkpoint import Checkpoint
from parsec.adapters.log.files import Entry, Files
from parsec.adapters.log.quarantine import Quarantine
from parsec.adapters.log.segment import PATIENCE, UNREADABLE, Frame, FrameCursor, Segment
from parsec.adapters.log.state import Known
from parsec.core.clock import Random
from parsec.core.errors import Retryable
from parsec.telemetry import Telemetry

BLOCK = 1 << 19
"""Offsets reserved ahead with one commit of the state."""
_NO_END = 1 << 63
_COPY_BYTES = 1 << 20

_log = structlog.get_logger(__name__)


class Hints(msgspec.Struct, frozen=True):
    """What is known from elsewhere. `positions`: the highest offset that any reader has committed or reserved.

    `cuts`: segments with something in doubt behind this many bytes.
    """

    mark: Checkpoint | None
    known: Known | None
    positions: int
    cuts: Mapping[int, int]

    def floor(self, log_id: str) -> int:
        """Everything below was durable once."""
        mark = self.mark.end if self.mark and self.mark.log_id == log_id else 0
        return max(mark, self.known.durable if self.known else 0, self.positions)


class Found(msgspec.Struct, frozen=True):
    """`end` is the next offset; `intact` whether the newest segment reaches up to it, so that it may grow on."""

    log_id: str
    segments: list[Segment]
    end: int
    intact: bool


class Tail(msgspec.Struct, frozen=True):
    """Where the sound part of a segment ends, in bytes and as offset. `proven`: below it all was durable once."""

    position: int
    end: int
    proven: int


class Recovery:
    """Runs once, before anything else touches the directory."""

    def __init__(
        self, files: Files, directory: Path, aside: Quarantine, random: Random, telemetry: Telemetry, hints: Hints
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
        # An earlier process may have died between giving a segment its name and making the name durable.
        self._files.sync_directory(self._directory)
        log_id = self._log_id(entries)
        mark = self._hints.mark if self._hints.mark and self._hints.mark.log_id == log_id else None
        while entries and segment.log_id_of(self._files, *_where(self._directory, entries[-1])) != log_id:
            self._aside.segment(self._directory / entries.pop()[1].name, "its header is damaged or of another log")
        segments = [self._segment(first, entry) for first, entry in entries]
        newest = segments[-1] if segments else None
        trusted = self._trusted(newest, mark) if newest else None
        tail = self._check(newest, log_id, trusted) if newest and trusted else None
        end = self._next_offset(newest, tail, mark)
        intact = tail is not None and tail.end == end
        if newest and trusted and tail:
            self._settle(newest, trusted, tail, mark, lost=not intact)
        return Found(log_id, segments, end, intact and newest is not None and newest.first not in self._hints.cuts)

    def _segment(self, first: int, entry: Entry) -> Segment:
        size = min(entry.size, self._hints.cuts.get(first, entry.size))
        return Segment(first, self._directory / entry.name, size, entry.mtime_ns)

    @staticmethod
    def _trusted(newest: Segment, mark: Checkpoint | None) -> Tail:
        """From where on the newest segment must be checked: from the mark on, if there is one for it."""
        if mark and mark.segment == newest.first and mark.position <= newest.size:
            return Tail(mark.position, mark.end, mark.end)
        return Tail(segment.HEADER_BYTES, newest.first, newest.first)

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

    def _check(self, newest: Segment, log_id: str, trusted: Tail) -> Tail:
        """Walks the newest segment. A hole in what was durable once is left to the reader, which counts it as lost; a
        hole in the last publish was never acknowledged, and what follows it goes with it."""
        fd = self._files.open(newest.path)
        try:
            cursor = FrameCursor(self._files, fd, frame.seed(log_id), trusted.position, trusted.end)
            proven = max(trusted.proven, self._hints.floor(log_id))
            return sound_end(cursor, newest.size, Tail(trusted.position, trusted.end, proven))
        finally:
            self._files.close(fd)

    def _next_offset(self, newest: Segment | None, tail: Tail | None, mark: Checkpoint | None) -> int:
        """Where to go on: at the end of the newest segment unless something says that more was there (I2)."""
        hints, known = self._hints, self._hints.known
        floor = max(tail.proven if tail else 0, mark.end if mark else 0, known.durable if known else 0, hints.positions)
        last_segment = max(mark.segment if mark else 0, known.segment if known else 0)
        reached = tail.end if tail else 0
        deleted = last_segment > newest.first if newest else (known or mark) is not None
        # A log that was ever written to has a mark; without it a cut segment looks like one that ends there.
        unmarked = mark is None and (known is not None or reached > 0)
        if reached >= floor and not deleted and not unmarked:
            return reached
        end = max(floor, reached)
        if not (mark and mark.exact(self._files.boot_id())):
            # What came after an old mark is unknown: give no offset twice, and count all that may be gone.
            marked = mark.high_water if mark else end
            end = max(end, marked, known.high_water if known else marked + BLOCK)
        if end == reached:
            return reached
        self._telemetry.log_damaged.labels(what="tail").inc()
        _log.error(
            "The end of the log is missing; its events are lost and will be counted."
            if mark
            else "The log's mark is missing, so its end may be, too; what may have been there is counted as lost.",
            from_offset=reached,
            to_offset=end,
        )
        return end

    def _settle(self, newest: Segment, trusted: Tail, tail: Tail, mark: Checkpoint | None, *, lost: bool) -> None:
        """Cuts what is no frame, and makes the rest durable."""
        if newest.size > tail.position:
            if lost:
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
            if self._files.size(fd) > tail.position:
                self._files.truncate(fd, tail.position)
                newest.size = tail.position
            if mark is None or mark.boot_id == self._files.boot_id():
                self._write_again(fd, trusted.position, tail.position)
            self._files.sync(fd)
        finally:
            self._files.close(fd)

    def _write_again(self, fd: int, begin: int, end: int) -> None:
        """A sync that failed in an earlier process may have left bytes in memory that the kernel takes for written,
        and that a later sync would not write."""
        for at in range(begin, end, _COPY_BYTES):
            try:
                data = self._files.read(fd, min(_COPY_BYTES, end - at), at)
            except OSError as error:
                if error.errno in UNREADABLE:
                    return
                raise
            if self._files.write(fd, [data], at) != len(data):
                raise OSError("the tail of the log could not be written again")


def sound_end(cursor: FrameCursor, size: int, begin: Tail) -> Tail:
    """How far the frames from `begin` on are sound or proven to be a loss, in a segment of `size` bytes."""
    position, end, proven = begin.position, begin.end, begin.proven
    torn: tuple[Tail, int] | None = None
    while found := patiently(cursor, size):
        proven = max(proven, found.began)
        if torn and proven >= torn[1]:
            torn = None
        if torn is None and found.first > max(end, proven):
            torn = Tail(position, end, proven), found.first
        position, end = found.ends_at, found.first + found.count
    return torn[0] if torn else Tail(position, end, proven)


def patiently(cursor: FrameCursor, limit: int, end: int = _NO_END) -> Frame | None:
    """The next frame below `limit` and `end`; a place the disk cannot read is asked for again until it is given up."""
    for _ in range(PATIENCE):
        try:
            return cursor.next(limit, end)
        except Retryable as error:
            refused = error
    raise refused


def _where(directory: Path, item: tuple[int, Entry]) -> tuple[Path, int]:
    first, entry = item
    return directory / entry.name, first
