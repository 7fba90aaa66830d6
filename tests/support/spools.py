"""A small spool, and how to empty it."""

from pathlib import Path

from parsec.adapters.log.embedded import LogOptions
from parsec.adapters.spool.spool import DiskSpool
from parsec.telemetry import Telemetry
from tests.support.manual_clock import ManualClock

OPTIONS = LogOptions(segment_bytes=1 << 13, max_bytes=1 << 16, retention_s=0.0, disk_reserve=0)


def opened(directory: Path, telemetry: Telemetry | None = None) -> DiskSpool:
    return DiskSpool(directory, OPTIONS, ManualClock(), telemetry or Telemetry())


def drained(spool: DiskSpool) -> list[bytes]:
    """All of it, as a drain does that Kafka takes everything from."""
    found: list[bytes] = []
    while (source := spool.oldest()) is not None:
        piece = source.poll(3, 1 << 20)
        assert piece is not None
        found += piece.values
        source.commit(piece, 0)
    return found
