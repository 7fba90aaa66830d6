"""The log of a stopped Parsec, opened only to read: its files checked, its events by offset.

In: a data directory that no process holds. Out: a verdict per file; events. No byte is changed: what a start would
repair stays as it is. Errors: Fatal when a process holds the directory or it has no log; Retryable when a file cannot
be read now. Next: parsec.cli.log.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Literal

import msgspec

from parsec.adapters.log import frame, segment, writer
from parsec.adapters.log.files import Files
from parsec.adapters.log.frame import Frame, FrameCursor
from parsec.adapters.log.lock import DirectoryLock
from parsec.adapters.log.quarantine import QUARANTINE_SUFFIX as CORRUPT
from parsec.adapters.log.recovery import Tail, next_frame, valid_tail
from parsec.adapters.log.segment import SEGMENT_HEADER_BYTES, Segment
from parsec.adapters.log.state import State
from parsec.core.errors import Fatal, Retryable
from parsec.ports.broker import READER, Progress


class FileCheck(msgspec.Struct, frozen=True):
    """The result for one file of a log. A segment has the offsets first..end-1; nothing is left of `missing` ones.

    A torn tail is what a kill or a power cut leaves of a write that was not acknowledged: the next start cuts it.
    """

    log: str
    file: str
    verdict: Literal["sound", "torn tail", "damaged"]
    why: str = ""
    first: int = 0
    end: int = 0
    events: int = 0
    missing: int = 0
    frames: int = 0
    bytes: int = 0
    damaged_bytes: int = 0


class Lines(msgspec.Struct, frozen=True):
    """Events from offset `first` on, each as its envelope's bytes; nothing is left of `lost` offsets before them.

    `size`: bytes of the log that were read for them.
    """

    first: int
    values: list[bytes]
    lost: int
    size: int


NO_LOG = "check the path (--data-dir); a start of Parsec creates a missing log"


def open_offline(data_dir: Path, files: Files | None = None) -> "list[OfflineLog]":
    """The log in a data directory and its spools. Raises Fatal."""
    opened = _open_all({"log": data_dir} | _spools_in(data_dir), files or Files())
    if not opened:
        raise Fatal(f"{data_dir} has no log: {NO_LOG}")
    return opened


def open_spools(data_dir: Path) -> "list[OfflineLog]":
    """The spools in a data directory; there may be none. Raises Fatal."""
    return _open_all(_spools_in(data_dir), Files())


def _spools_in(data_dir: Path) -> dict[str, Path]:
    spools = data_dir / "spool"
    return {f"spool/{each.name}": each for each in sorted(spools.iterdir())} if spools.is_dir() else {}


def _open_all(directories: Mapping[str, Path], files: Files) -> "list[OfflineLog]":
    found = {name: directory for name, directory in directories.items() if (directory / "segments").is_dir()}
    logs: list[OfflineLog] = []
    try:
        for name, directory in found.items():
            logs.append(OfflineLog(name, directory, DirectoryLock.share(directory), files))
    except BaseException:
        for log in logs:
            log.close()
        raise
    return logs


def open_exclusively(data_dir: Path, reader: str = READER) -> "tuple[OfflineLog, Progress]":
    """The log in a data directory, locked against all others, and the progress of the processor. Raises Fatal."""
    if not (data_dir / "segments").is_dir():
        raise Fatal(f"{data_dir} has no log: {NO_LOG}")
    log = OfflineLog("log", data_dir, DirectoryLock.acquire(data_dir), Files())
    try:
        progress = State.peek(data_dir / "state.db").get(reader)
        if progress is None:
            raise Fatal(f"the log in {data_dir} was never processed")
    except BaseException:
        log.close()
        raise
    return log, progress


class OfflineLog:
    """One log under its lock. Raises Retryable when a file cannot be read."""

    def __init__(self, name: str, directory: Path, lock: DirectoryLock, files: Files) -> None:
        self.name = name
        self._lock = lock
        self._files = files
        self._checkpoint, self._invalid_checkpoints = writer.load(files, directory)
        entries = {entry.name: entry for entry in files.entries(directory / "segments")}
        firsts = sorted((first, name) for name in entries if (first := segment.first_offset(name)) is not None)
        self._segments = [
            Segment(first, directory / "segments" / name, entries[name].size, entries[name].mtime_ns)
            for first, name in firsts
        ]
        self.quarantined = sorted(name for name in entries if name.endswith(CORRUPT))
        self._log_id = self._checkpoint.log_id if self._checkpoint else self._id_of_newest()

    @property
    def size_bytes(self) -> int:
        return sum(each.size for each in self._segments)

    def check(self) -> Iterator[FileCheck]:
        """Every file in order; reads every frame."""
        for name in self._invalid_checkpoints:
            yield FileCheck(self.name, name, "damaged", "its checksum is wrong")
        if self._checkpoint is None and not self._invalid_checkpoints and self._segments:
            yield FileCheck(self.name, writer.NAMES[0], "damaged", "it is missing, and so is its copy")
        for at, each in enumerate(self._segments):
            tail = self._tail(at)
            checked = self._check_segment(each, tail)
            yield self._with_tail(checked, tail, each.size - tail.position) if tail.position < each.size else checked
        if not self._segments and self._checkpoint and self._checkpoint.end > self._checkpoint.segment:
            first, end = self._checkpoint.segment, self._checkpoint.end
            name = segment.file_name(first)
            yield FileCheck(self.name, name, "damaged", "it is missing", first, end, missing=end - first)

    def lines(self, begin: int, end: int | None) -> Iterator[Lines]:
        """The events with offsets begin..end-1, a frame at a time; None: all there are from `begin` on."""
        expected = max(begin, self._segments[0].first) if self._segments else begin
        for at, each in enumerate(self._segments):
            tail = self._tail(at)
            upper = max(tail.end, tail.proven)
            upper = upper if end is None else min(upper, end)
            if upper <= expected:
                continue
            for found in self._frames(each, tail):
                if found.first >= upper:
                    break
                skip = max(expected - found.first, 0)
                values = frame.split_values(found.payload, found.count)[skip : upper - found.first]
                if values:
                    yield Lines(found.first + skip, values, found.first + skip - expected, len(found.payload))
                    expected = found.first + skip + len(values)
            if expected < upper:
                yield Lines(upper, [], upper - expected, 0)
                expected = upper

    def records(self, begin: int, end: int) -> Iterator[tuple[int, list[bytes]]]:
        """Runs of consecutive records with offsets begin..end-1, each with the offset of its first."""
        return ((lines.first, lines.values) for lines in self.lines(begin, end) if lines.values)

    def close(self) -> None:
        """Releases the lock."""
        self._lock.release()

    def _tail(self, at: int) -> Tail:
        """The end of a segment: where the next one begins; for the newest, where a start would cut it."""
        each = self._segments[at]
        if at + 1 < len(self._segments):
            following = self._segments[at + 1].first
            return Tail(each.size, following, following)
        begin = Tail(SEGMENT_HEADER_BYTES, each.first, max(each.first, self._checkpoint.end if self._checkpoint else 0))
        if not self._belongs(each):
            return msgspec.structs.replace(begin, position=each.size)
        fd = self._open(each)
        try:
            cursor = FrameCursor(self._files, fd, frame.checksum_seed(self._log_id), begin.position, begin.end)
            return valid_tail(cursor, each.size, begin)
        finally:
            self._files.close(fd)

    def _with_tail(self, checked: FileCheck, tail: Tail, left: int) -> FileCheck:
        """The newest segment ends with `left` bytes that are no valid frame."""
        if self._checkpoint and tail.end >= tail.proven:
            if checked.verdict == "damaged":
                return checked
            return msgspec.structs.replace(checked, verdict="torn tail", why=f"the next start cuts {left} bytes")
        why = checked.why or "its end is damaged, and no checkpoint says that it had no events"
        return msgspec.structs.replace(checked, verdict="damaged", why=why, damaged_bytes=checked.damaged_bytes + left)

    def _check_segment(self, each: Segment, tail: Tail) -> FileCheck:
        bad: list[tuple[int, int]] = []
        events = frames = 0
        end = max(tail.end, tail.proven)
        if self._belongs(each):
            for found in self._frames(each, tail, lambda begin, until: bad.append((begin, until))):
                frames += 1
                events += found.count
            why = f"damaged bytes in {len(bad)} places, first at byte {bad[0][0]}" if bad else ""
        else:
            why, bad = "its header is damaged or of another log", [(0, each.size)]
        missing = end - each.first - events
        if missing and not why:
            why = "offsets are missing"
        damaged_bytes = sum(until - begin for begin, until in bad)
        return FileCheck(
            self.name, each.path.name, "damaged" if why else "sound", why,
            each.first, end, events, missing, frames, each.size, damaged_bytes,
        )  # fmt: skip

    def _frames(
        self, each: Segment, tail: Tail, on_damage: Callable[[int, int], None] | None = None
    ) -> Iterator[Frame]:
        if not self._belongs(each):
            return
        fd = self._open(each)
        try:
            seed = frame.checksum_seed(self._log_id)
            cursor = FrameCursor(self._files, fd, seed, SEGMENT_HEADER_BYTES, each.first, on_damage)
            while found := next_frame(cursor, tail.position, max(tail.end, tail.proven)):
                yield found
        finally:
            self._files.close(fd)

    def _belongs(self, each: Segment) -> bool:
        try:
            return segment.log_id_of(self._files, each.path, each.first) == self._log_id
        except OSError as error:
            raise Retryable(f"{each.path} cannot be read: {error.strerror}") from error

    def _open(self, each: Segment) -> int:
        try:
            return self._files.open(each.path)
        except OSError as error:
            raise Retryable(f"{each.path} cannot be opened: {error.strerror}") from error

    def _id_of_newest(self) -> str:
        """Of the newest segment with a valid header; zeros when none has one."""
        ids = (segment.log_id_of(self._files, each.path, each.first) for each in reversed(self._segments))
        return next(filter(None, ids), bytes(16).hex())
