"""The log of a stopped Parsec, only to be read: is it whole, and what is in it.

In: a data directory that nobody else holds. Out: a verdict per file, events by offset. Not a byte is changed; what a
start would repair stays as it is. Errors: Fatal when a process holds the directory or it has no log; Retryable when a
file cannot be read now. Next: parsec.cli.log.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import msgspec

from parsec.adapters.log import checkpoint as marks
from parsec.adapters.log import frame, segment
from parsec.adapters.log.files import Files, OsFiles
from parsec.adapters.log.lock import DirectoryLock
from parsec.adapters.log.quarantine import SUFFIX as ASIDE
from parsec.adapters.log.recovery import Tail, patiently, sound_end
from parsec.adapters.log.segment import HEADER_BYTES, Frame, FrameCursor, Segment
from parsec.adapters.log.state import State
from parsec.core.errors import Fatal, Retryable
from parsec.ports.broker import READER, Progress

_NOBODYS = "its header is damaged or of another log"


class Checked(msgspec.Struct, frozen=True):
    """What one file of a log holds. Its segment's offsets are first..end-1, of which `missing` hold nothing.

    A torn tail is what a kill or a power cut leaves of a write that nobody was told of: the next start cuts it.
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
    """Events from offset `first` on, each as its envelope's bytes; before them `lost` offsets hold nothing.

    `size`: bytes of the log that were read for them.
    """

    first: int
    values: list[bytes]
    lost: int
    size: int


def open_offline(data_dir: Path, files: Files | None = None) -> "list[OfflineLog]":
    """The log in a data directory and its spools. Raises Fatal."""
    found = {"log": data_dir}
    spools = data_dir / "spool"
    if spools.is_dir():
        found |= {f"spool/{each.name}": each for each in sorted(spools.iterdir())}
    found = {name: directory for name, directory in found.items() if (directory / "segments").is_dir()}
    if not found:
        raise Fatal(f"{data_dir} holds no log")
    logs: list[OfflineLog] = []
    try:
        for name, directory in found.items():
            logs.append(OfflineLog(name, directory, DirectoryLock.share(directory), files or OsFiles()))
    except BaseException:
        for log in logs:
            log.close()
        raise
    return logs


def open_alone(data_dir: Path, reader: str = READER) -> "tuple[OfflineLog, Progress]":
    """The log in a data directory, held so that not even another reader opens it, and how far it was processed.

    Raises Fatal.
    """
    if not (data_dir / "segments").is_dir():
        raise Fatal(f"{data_dir} holds no log")
    log = OfflineLog("log", data_dir, DirectoryLock.acquire(data_dir), OsFiles())
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

    def __init__(self, name: str, directory: Path, lock: DirectoryLock | None, files: Files) -> None:
        self.name = name
        self._directory = directory
        self._lock = lock
        self._files = files
        self._mark, self._unsound_marks = marks.load(files, directory)
        entries = {entry.name: entry for entry in files.entries(directory / "segments")}
        firsts = sorted((first, name) for name in entries if (first := segment.first_of(name)) is not None)
        self._segments = [
            Segment(first, directory / "segments" / name, entries[name].size, entries[name].mtime_ns)
            for first, name in firsts
        ]
        self.set_aside = sorted(name for name in entries if name.endswith(ASIDE))
        self._log_id = self._mark.log_id if self._mark else self._id_of_newest()

    @property
    def size_bytes(self) -> int:
        """Bytes of all segments."""
        return sum(each.size for each in self._segments)

    def check(self) -> Iterator[Checked]:
        """Every file in order; reads every frame."""
        for name in self._unsound_marks:
            yield Checked(self.name, name, "damaged", "it does not prove itself")
        if self._mark is None and not self._unsound_marks and self._segments:
            yield Checked(self.name, marks.NAMES[0], "damaged", "it is missing, and so is its copy")
        for at, each in enumerate(self._segments):
            tail = self._tail(at)
            checked = self._checked(each, tail)
            yield self._with_tail(checked, tail, each.size - tail.position) if tail.position < each.size else checked
        if not self._segments and self._mark and self._mark.end > self._mark.segment:
            first, end = self._mark.segment, self._mark.end
            yield Checked(
                self.name, segment.file_name(first), "damaged", "it is missing", first, end, missing=end - first
            )

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
                values = frame.lines(found.payload, found.count)[skip : upper - found.first]
                if values:
                    yield Lines(found.first + skip, values, found.first + skip - expected, len(found.payload))
                    expected = found.first + skip + len(values)
            if expected < upper:
                yield Lines(upper, [], upper - expected, 0)
                expected = upper

    def records(self, begin: int, end: int) -> Iterator[tuple[int, list[bytes]]]:
        """Runs of consecutive records with offsets begin..end-1, each with the offset of its first."""
        return ((run.first, run.values) for run in self.lines(begin, end) if run.values)

    def close(self) -> None:
        """Lets the directory go."""
        if self._lock:
            self._lock.release()

    def _tail(self, at: int) -> Tail:
        """How far a segment's bytes and offsets go: up to the next one, the newest up to where a start would cut it."""
        each = self._segments[at]
        if at + 1 < len(self._segments):
            following = self._segments[at + 1].first
            return Tail(each.size, following, following)
        begin = Tail(HEADER_BYTES, each.first, max(each.first, self._mark.end if self._mark else 0))
        if not self._is_ours(each):
            return msgspec.structs.replace(begin, position=each.size)
        fd = self._open(each)
        try:
            cursor = FrameCursor(self._files, fd, frame.seed(self._log_id), begin.position, begin.end)
            return sound_end(cursor, each.size, begin)
        finally:
            self._files.close(fd)

    def _with_tail(self, checked: Checked, tail: Tail, left: int) -> Checked:
        """The newest segment has `left` unsound bytes at its end."""
        if self._mark and tail.end >= tail.proven:
            if checked.verdict == "damaged":
                return checked
            return msgspec.structs.replace(checked, verdict="torn tail", why=f"the next start cuts {left} bytes")
        why = checked.why or "its end is unsound, and no mark says that nothing was there"
        return msgspec.structs.replace(checked, verdict="damaged", why=why, damaged_bytes=checked.damaged_bytes + left)

    def _checked(self, each: Segment, tail: Tail) -> Checked:
        """What is in a segment up to its tail."""
        bad: list[tuple[int, int]] = []
        events = frames = 0
        end = max(tail.end, tail.proven)
        if self._is_ours(each):
            for found in self._frames(each, tail, lambda begin, until: bad.append((begin, until))):
                frames += 1
                events += found.count
            why = f"unsound bytes in {len(bad)} places, first at byte {bad[0][0]}" if bad else ""
        else:
            why, bad = _NOBODYS, [(0, each.size)]
        missing = end - each.first - events
        if missing and not why:
            why = "offsets are missing"
        return Checked(
            self.name,
            each.path.name,
            "damaged" if why else "sound",
            why,
            each.first,
            end,
            events,
            missing,
            frames,
            each.size,
            sum(until - begin for begin, until in bad),
        )

    def _frames(
        self, each: Segment, tail: Tail, on_damage: Callable[[int, int], None] | None = None
    ) -> Iterator[Frame]:
        if not self._is_ours(each):
            return
        fd = self._open(each)
        try:
            cursor = FrameCursor(self._files, fd, frame.seed(self._log_id), HEADER_BYTES, each.first, on_damage)
            while found := patiently(cursor, tail.position, max(tail.end, tail.proven)):
                yield found
        finally:
            self._files.close(fd)

    def _is_ours(self, each: Segment) -> bool:
        fd = self._open(each)
        try:
            return segment.belongs(self._files, fd, self._log_id, each.first)
        except OSError as error:
            raise Retryable(f"{each.path} cannot be read: {error.strerror}") from error
        finally:
            self._files.close(fd)

    def _open(self, each: Segment) -> int:
        try:
            return self._files.open(each.path)
        except OSError as error:
            raise Retryable(f"{each.path} cannot be opened: {error.strerror}") from error

    def _id_of_newest(self) -> str:
        """Of the newest segment with a sound header; zeros when none has one."""
        for each in reversed(self._segments):
            log_id = segment.log_id_of(self._files, each.path, each.first)
            if log_id:
                return log_id
        return bytes(16).hex()
