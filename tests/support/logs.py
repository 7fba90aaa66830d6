"""Opening embedded logs and reading them to their end, for tests."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from parsec.adapters.log.embedded import EmbeddedLog, LogOptions
from parsec.adapters.log.files import Files
from parsec.adapters.log.reader import EmbeddedReader
from parsec.core.clock import Clock
from parsec.core.envelope import encode_lines
from parsec.ports.broker import Assigned, Counts, Group, Slice
from parsec.telemetry import Telemetry
from tests.support.events import envelope
from tests.support.manual_clock import ManualClock

SMALL = LogOptions(segment_bytes=1 << 13, max_bytes=1 << 20, retention_s=3600.0, disk_reserve=0)


def open_log(
    directory: Path,
    options: LogOptions = SMALL,
    *,
    files: Files | None = None,
    clock: Clock | None = None,
    telemetry: Telemetry | None = None,
) -> EmbeddedLog:
    return EmbeddedLog.open(directory, options, clock or ManualClock(), telemetry or Telemetry(), files=files)


def group(first: int, count: int, message: str = "hello", tenant: str = "acme") -> Group:
    events = [envelope(n, message=message, tenant=tenant) for n in range(first, first + count)]
    return Group(events, encode_lines(events))


def fill(log: EmbeddedLog, publishes: int, count: int = 5, message: str = "hello") -> dict[int, bytes]:
    """Publishes and returns what is now under which offset."""
    written: dict[int, bytes] = {}
    for _ in range(publishes):
        made = group(log.end, count, message)
        written.update(zip(range(log.end, log.end + count), made.lines.splitlines(), strict=True))
        log.publish([made])
    return written


class Reading(msgspec.Struct):
    """What a reader was given: values by offset, and how many offsets were lost."""

    values: dict[int, bytes]
    lost: int
    first: int
    end: int


def slices(reader: EmbeddedReader, max_events: int = 1000) -> Iterator[Slice]:
    while event := reader.poll(0, max_events, 1 << 20):
        if isinstance(event, Slice):
            yield event


def read(log: EmbeddedLog, name: str = "processor") -> Reading:
    """Everything from the reader's position on; asserts that every offset is accounted for."""
    reader = log.reader(name)
    event = reader.poll(0, 1, 1)
    assert isinstance(event, Assigned)
    reading = Reading({}, 0, event.progress.committed, event.progress.committed)
    for piece in slices(reader):
        assert piece.first == reading.end
        assert piece.next_offset - piece.first == len(piece.values) + piece.lost
        reading.values.update(zip(piece.offsets, piece.values, strict=True))
        reading.lost += piece.lost
        reading.end = piece.next_offset
    reader.close()
    return reading


def commit_all(log: EmbeddedLog, name: str = "processor") -> None:
    """Has the reader of this name pass everything."""
    reader = log.reader(name)
    event = reader.poll(0, 1, 1)
    assert isinstance(event, Assigned)
    for piece in slices(reader):
        reader.commit(0, event.epoch, piece.next_offset, Counts(stored=piece.next_offset))
    reader.close()


def segments(directory: Path, suffix: str = ".log") -> list[Path]:
    return sorted(path for path in (directory / "segments").iterdir() if path.name.endswith(suffix))


def damaged(telemetry: Telemetry, *what: str) -> float:
    return sum(telemetry.value("parsec_log_damaged_total", what=each) for each in what)


def values(groups: Sequence[Group]) -> list[bytes]:
    return [line for each in groups for line in each.lines.splitlines()]
