"""Recovery: what a directory still has when the log opens: its id, its segments, and the next offset.

In: segment files, checkpoint and state, each of which may be damaged or gone. Out: `Recovered`, once the newest segment
was checked from the checkpoint on, its torn tail cut, and bytes that may not have reached the disk written again. Older
segments are not read, so that a start does not depend on the backlog. Errors: OSError when the newest segment cannot be
made durable. Next: parsec.adapters.log.embedded.
"""

from collections.abc import Mapping
from pathlib import Path

import msgspec
import structlog

from parsec.adapters.log import frame, segment
from parsec.adapters.log.files import READ_ERRORS, Entry, Files
from parsec.adapters.log.frame import READ_ATTEMPTS, Frame, FrameCursor
from parsec.adapters.log.quarantine import Quarantine
from parsec.adapters.log.segment import Segment
from parsec.adapters.log.state import SavedLog
from parsec.adapters.log.writer import BLOCK, Checkpoint
from parsec.core.clock import Random
from parsec.core.errors import Retryable
from parsec.telemetry import Telemetry

_NO_END = 1 << 63
_COPY_BYTES = 1 << 20

_log = structlog.get_logger(__name__)


class Hints(msgspec.Struct, frozen=True):
    """What checkpoint and state say. `positions`: the highest offset that any reader has committed or reserved.

    `cuts`: segments with bytes in doubt behind this size, by first offset.
    """

    checkpoint: Checkpoint | None
    saved: SavedLog | None
    positions: int
    cuts: Mapping[int, int]

    def durable(self, log_id: str) -> int:
        """All offsets below this one were durable once."""
        checkpoint = self.checkpoint.end if self.checkpoint and self.checkpoint.log_id == log_id else 0
        return max(checkpoint, self.saved.durable if self.saved else 0, self.positions)


class Recovered(msgspec.Struct, frozen=True):
    """`end`: the next offset. `intact`: the newest segment reaches up to it, and may be continued."""

    log_id: str
    segments: list[Segment]
    end: int
    intact: bool


class Tail(msgspec.Struct, frozen=True):
    """Where the valid part of a segment ends, as byte and offset. All offsets below `proven` were durable once."""

    position: int
    end: int
    proven: int


class Recovery:
    """Runs once, before anything else uses the directory."""

    def __init__(
        self, files: Files, directory: Path, quarantine: Quarantine, random: Random, telemetry: Telemetry, hints: Hints
    ) -> None:
        self._files = files
        self._directory = directory
        self._quarantine = quarantine
        self._random = random
        self._telemetry = telemetry
        self._hints = hints

    def run(self) -> Recovered:
        """Repairs the newest segment and finds the next offset."""
        entries = self._entries()
        # An earlier process may have died between giving a segment its name and making the name durable.
        self._files.sync_directory(self._directory)
        log_id = self._log_id(entries)
        checkpoint = self._hints.checkpoint
        checkpoint = checkpoint if checkpoint and checkpoint.log_id == log_id else None
        while entries and self._id_of(entries[-1]) != log_id:
            self._quarantine.move(self._directory / entries.pop()[1].name, "its header is damaged or of another log")
        segments = [self._segment(first, entry) for first, entry in entries]
        newest = segments[-1] if segments else None
        trusted = _trusted(newest, checkpoint) if newest else None
        tail = self._check(newest, log_id, trusted) if newest and trusted else None
        end = self._next_offset(newest, tail, checkpoint)
        intact = tail is not None and tail.end == end
        if newest and trusted and tail:
            self._repair_tail(newest, trusted, tail, checkpoint, lost=not intact)
        return Recovered(log_id, segments, end, intact and newest is not None and newest.first not in self._hints.cuts)

    def _segment(self, first: int, entry: Entry) -> Segment:
        size = min(entry.size, self._hints.cuts.get(first, entry.size))
        return Segment(first, self._directory / entry.name, size, entry.mtime_ns)

    def _entries(self) -> list[tuple[int, Entry]]:
        """Segment files by first offset. Deletes those that were never finished."""
        found = []
        for entry in self._files.entries(self._directory):
            first = segment.first_offset(entry.name)
            if first is not None:
                found.append((first, entry))
            elif entry.name.endswith(segment.NEW_SUFFIX):
                self._files.remove(self._directory / entry.name)
        return sorted(found, key=lambda item: item[0])

    def _id_of(self, item: tuple[int, Entry]) -> str | None:
        return segment.log_id_of(self._files, self._directory / item[1].name, item[0])

    def _log_id(self, entries: list[tuple[int, Entry]]) -> str:
        if self._hints.saved:
            return self._hints.saved.log_id
        for item in reversed(entries):
            if log_id := self._id_of(item):
                return log_id
        if self._hints.checkpoint:
            return self._hints.checkpoint.log_id
        return self._random.bytes(16).hex()

    def _check(self, newest: Segment, log_id: str, trusted: Tail) -> Tail:
        """Reads the newest segment. A hole in what was durable once is left to the reader, which counts it as lost; a
        hole in the last publish was never acknowledged, and all behind it is cut."""
        fd = self._files.open(newest.path)
        try:
            cursor = FrameCursor(self._files, fd, frame.checksum_seed(log_id), trusted.position, trusted.end)
            proven = max(trusted.proven, self._hints.durable(log_id))
            return valid_tail(cursor, newest.size, Tail(trusted.position, trusted.end, proven))
        finally:
            self._files.close(fd)

    def _next_offset(self, newest: Segment | None, tail: Tail | None, checkpoint: Checkpoint | None) -> int:
        """The end of the newest segment, unless something shows that the log went further (I2)."""
        hints, saved = self._hints, self._hints.saved
        durable = max(
            tail.proven if tail else 0,
            checkpoint.end if checkpoint else 0,
            saved.durable if saved else 0,
            hints.positions,
        )
        last_segment = max(checkpoint.segment if checkpoint else 0, saved.segment if saved else 0)
        reached = tail.end if tail else 0
        deleted = last_segment > newest.first if newest else (saved or checkpoint) is not None
        # A log that was ever written to has a checkpoint; without it a segment that was cut looks whole.
        unproven = checkpoint is None and (saved is not None or reached > 0)
        if reached >= durable and not deleted and not unproven:
            return reached
        end = max(durable, reached)
        if not (checkpoint and checkpoint.is_exact(self._files.boot_id())):
            # What followed an old checkpoint is unknown: assign no offset twice, and count all that may be lost.
            high_water = checkpoint.high_water if checkpoint else end
            end = max(end, high_water, saved.high_water if saved else high_water + BLOCK)
        if end == reached:
            return reached
        self._telemetry.log_damaged.labels(what="tail").inc()
        what = "The end of the log is missing. Its events are lost and will be counted."
        if not checkpoint:
            what = "The log's checkpoint is missing, and its end may be, too. Events that may be lost will be counted."
        _log.error(what, from_offset=reached, to_offset=end)
        return end

    def _repair_tail(
        self, newest: Segment, trusted: Tail, tail: Tail, checkpoint: Checkpoint | None, *, lost: bool
    ) -> None:
        """Cuts all behind the last valid frame, and makes the rest durable."""
        if newest.size > tail.position:
            if lost:
                self._quarantine.copy(newest.path, tail.position, newest.size)
            else:
                self._telemetry.log_damaged.labels(what="torn_tail").inc()
                _log.warning("A torn tail was cut from the log. None of its events had been acknowledged.",
                             segment=newest.path.name, position=tail.position,
                             bytes=newest.size - tail.position)  # fmt: skip
        fd = self._files.open(newest.path, write=True)
        try:
            if self._files.size(fd) > tail.position:
                self._files.truncate(fd, tail.position)
                newest.size = tail.position
            if checkpoint is None or checkpoint.boot_id == self._files.boot_id():
                self._write_again(fd, trusted.position, tail.position)
            self._files.sync(fd)
        finally:
            self._files.close(fd)

    def _write_again(self, fd: int, begin: int, end: int) -> None:
        """After a failed sync of an earlier process the kernel may take bytes for written that are only in memory, and
        a later sync would not write them."""
        for at in range(begin, end, _COPY_BYTES):
            try:
                data = self._files.read(fd, min(_COPY_BYTES, end - at), at)
            except OSError as error:
                if error.errno in READ_ERRORS:
                    return
                raise
            if self._files.write(fd, [data], at) != len(data):
                raise OSError("the tail of the log could not be written again")


def _trusted(newest: Segment, checkpoint: Checkpoint | None) -> Tail:
    """The part of the newest segment that need not be checked: up to the checkpoint, if that is of this segment."""
    if checkpoint and checkpoint.segment == newest.first and checkpoint.position <= newest.size:
        return Tail(checkpoint.position, checkpoint.end, checkpoint.end)
    return Tail(segment.SEGMENT_HEADER_BYTES, newest.first, newest.first)


def valid_tail(cursor: FrameCursor, size: int, begin: Tail) -> Tail:
    """How far the frames from `begin` on are valid, or proven to be a loss, in a segment of `size` bytes."""
    position, end, proven = begin.position, begin.end, begin.proven
    torn: tuple[Tail, int] | None = None
    while found := next_frame(cursor, size):
        proven = max(proven, found.began)
        if torn and proven >= torn[1]:
            torn = None
        if torn is None and found.first > max(end, proven):
            torn = Tail(position, end, proven), found.first
        position, end = found.ends_at, found.first + found.count
    return torn[0] if torn else Tail(position, end, proven)


def next_frame(cursor: FrameCursor, limit: int, end: int = _NO_END) -> Frame | None:
    """The next frame below `limit` and `end`; repeats reads that fail until the cursor gives up the place."""
    for _ in range(READ_ATTEMPTS):
        try:
            return cursor.next(limit, end)
        except Retryable as error:
            failed = error
    raise failed
