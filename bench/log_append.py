"""The embedded log alone: group commits per second, CPU per publish, and reading.

    python bench/log_append.py [--dir DIRECTORY] [--seconds 3] [--json FILE]

Events are 390 bytes. A publish is one write and one fdatasync; `cpu` is the publishing thread's, of which `python` is
what remains without the sync. Reading includes checksums and splitting into values.
"""

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from msgspec import Raw, structs

from _running import percentiles_ms, publish
from parsec.adapters.log.embedded import EmbeddedLog, LogOptions
from parsec.adapters.log.files import Files
from parsec.core.clock import SystemClock
from parsec.core.envelope import Envelope, encode_lines, encode_one
from parsec.ports.broker import Group, Slice
from parsec.telemetry import Telemetry

EVENT_BYTES = 390
SHAPES = ((1, 1), (1, 64), (100, 1), (100, 8), (100, 64))
"""(events per group, groups per publish)."""


class Unsynced(Files):
    """Leaves out the sync, to see what the code around it costs."""

    def sync(self, fd: int) -> None:
        del fd


def event(n: int) -> Envelope:
    empty = Envelope(
        1, "acme", f"evt-{n:06}", "2026-01-02T03:04:05.678Z", "info", "api", "", Raw(b'{"n":1}'),
        "2026-01-02T03:04:06.000000Z", "local", "node-1",
    )  # fmt: skip
    return structs.replace(empty, message="m" * (EVENT_BYTES - len(encode_one(empty)) - 1))


def opened(directory: Path, files: Files) -> EmbeddedLog:
    return EmbeddedLog.open(directory, LogOptions(disk_reserve=0), SystemClock(), Telemetry(), files=files)


def published(log: EmbeddedLog, groups: Sequence[Group], seconds: float) -> dict[str, float]:
    waits: list[float] = []
    cpu, begin = time.thread_time(), time.perf_counter()
    while (before := time.perf_counter()) - begin < seconds and log.refuses() is None:
        log.publish(groups)
        waits.append(time.perf_counter() - before)
    elapsed, cpu = time.perf_counter() - begin, time.thread_time() - cpu
    rates = {"publishes_per_s": len(waits) / elapsed, "cpu_us_per_publish": cpu / len(waits) * 1e6}
    return rates | percentiles_ms(waits)


def read(log: EmbeddedLog) -> dict[str, float]:
    reader = log.reader("bench")
    reader.poll(0, 1, 1)
    events = size = 0
    begin = time.perf_counter()
    while isinstance(piece := reader.poll(0, 20_000, 16 << 20), Slice):
        events += len(piece.values)
        size = piece.next_offset * EVENT_BYTES
    elapsed = time.perf_counter() - begin
    reader.close()
    return {"read_events_per_s": events / elapsed, "read_mb_per_s": size / elapsed / 1e6}


def measure(root: Path, events: int, groups: int, seconds: float) -> dict[str, float]:
    batch = [event(n) for n in range(events)]
    made = [Group(batch, encode_lines(batch))] * groups
    with tempfile.TemporaryDirectory(dir=root) as name:
        log = opened(Path(name), Unsynced())
        python = published(log, made, min(seconds, 0.5))
        log.close()
    with tempfile.TemporaryDirectory(dir=root) as name:
        log = opened(Path(name), Files())
        result = published(log, made, seconds)
        rate = result["publishes_per_s"] * events * groups
        result |= {"events_per_s": rate, "mb_per_s": rate * EVENT_BYTES / 1e6}
        result["python_us_per_publish"] = python["cpu_us_per_publish"]
        result |= read(log)
        log.close()
        begin = time.perf_counter()
        opened(Path(name), Files()).close()
        result["reopen_ms"] = (time.perf_counter() - begin) * 1e3
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description="Group commits and reading of the embedded log.")
    parser.add_argument("--dir", type=Path, default=Path(), help="a directory on the disk to measure")
    parser.add_argument("--seconds", type=float, default=3.0, help="per shape")
    parser.add_argument("--json", type=Path, help="also write the figures there")
    options = parser.parse_args()
    rows = {
        f"{events} events a group, {groups} groups a publish": measure(options.dir, events, groups, options.seconds)
        for events, groups in SHAPES
    }
    publish(rows, options.json)


if __name__ == "__main__":
    main()
