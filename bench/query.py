"""Ten million events in the embedded store, asked over HTTP: alone, and while 20,000 events a second come in.

python bench/query.py [--events 10000000] [--runs 9] [--data DIR] [--json bench/results/query.json]

`--data` keeps the events for another run. Times are from the request to the last byte of the answer, in milliseconds.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from urllib.parse import urlencode

from _events import TENANT, blocks
from _running import Parsec, load_beside, memory_mib, publish
from parsec.adapters.store.chdb.engine import ChdbEngine
from parsec.adapters.store.clickhouse import ClickHouseStore
from parsec.core.timestamp import DAY, SECOND
from parsec.ports.store import QueryLimits

RATE = 20_000
LOG = "bench-log"
P95 = "p95(metadata.latency_ms)"
SPAN = (
    "SELECT count(), toUnixTimestamp64Nano(min(timestamp)), toUnixTimestamp64Nano(max(timestamp)) FROM events"
    " WHERE log_id = {log:String}"
)
TARGETS_MS = {
    "last 100 lines with a frequent word": 100,
    "last 100 lines with a rare word": 100,
    "last 100 lines with a word that is nowhere": 100,
    "count by severity over all": 200,
    "histogram of an hour by source": 200,
    "one event by id": 50,
    "values of source over all": 200,
    "values of metadata.status, an hour": 200,
}


def filled(directory: Path, events: int) -> tuple[int, int]:
    """Fills an empty store as the processor does; from when to when its events are, and not a nanosecond more."""
    store = ClickHouseStore(ChdbEngine(directory / "store"), 30 * 86_400.0)
    try:
        reader = store.reader()
        whose, limits = {"log": LOG}, QueryLimits(1 << 30, 60.0)
        ((found, first, last),) = reader.select(SPAN, whose, limits, tuple[int, int, int])
        if not found:
            end = time.time_ns()
            for number, block in enumerate(blocks(events, end - DAY, DAY, LOG)):
                store.insert(block, f"bench-{number}")
            ((found, first, last),) = reader.select(SPAN, whose, limits, tuple[int, int, int])
        assert found == events, f"{directory} holds {found} events"
        return first, last + 1
    finally:
        store.close()


def questions(first: int, end: int, on: int = 0) -> dict[str, str]:
    """Addresses by what they ask. `on`: nanoseconds after `end` that are asked for, too."""
    end += on

    def asked(path: str, between: tuple[int, int] = (first, end), **parameters: str) -> str:
        return f"{path}?{urlencode({'tenant': TENANT, 'from': between[0], 'to': between[1], **parameters})}"

    hour = end - on - 3600 * SECOND, end
    return {
        "last 100 lines with a frequent word": asked("/query/events", q="timed"),
        "last 100 lines with a rare word": asked("/query/events", q="quota"),
        "last 100 lines with a word that is nowhere": asked("/query/events", q="zebra"),
        "last 100 lines with a phrase": asked("/query/events", q='"timed out"'),
        "last 100 lines with a word and severity": asked("/query/events", q="severity:fatal timed"),
        "last 100 lines with a value of metadata": asked("/query/events", q="metadata.status:503"),
        "last 100 lines": asked("/query/events"),
        "count by severity over all": asked("/query/aggregate", by="severity"),
        "histogram of an hour by source": asked("/query/histogram", hour, by="source"),
        "histogram of a day": asked("/query/histogram"),
        "one event by id": f"/query/events/evt-07654321?tenant={TENANT}",
        "one event and its context": f"/query/events/evt-07654321/context?tenant={TENANT}",
        "values of source over all": asked("/query/fields/source/values"),
        "values of metadata.status, an hour": asked("/query/fields/metadata.status/values", hour),
        "values of metadata.status over all": asked("/query/fields/metadata.status/values"),
        "p95 of a number by source, an hour": asked("/query/aggregate", hour, metric=P95, by="source"),
        "fields of an hour": asked("/query/fields", hour),
    }  # fmt: skip


def measured(running: Parsec, asked: Mapping[str, str], runs: int) -> dict[str, float]:
    """Medians; one after the other in each run, so that none finds what itself has just read."""
    times: dict[str, list[float]] = {name: [] for name in asked}
    for number in range(runs + 1):
        for name, path in asked.items():
            began = time.perf_counter()
            status, answer = running.get(path)
            assert status == 200, (name, answer)
            if number:  # the first run opens files and connections
                times[name].append((time.perf_counter() - began) * 1000)
    return {name: median(each) for name, each in times.items()}


def processed(running: Parsec) -> int:
    """Events made durable so far."""
    return int(running.stats()["worker"]["processed"])


@contextmanager
def directory_of(kept: Path | None) -> Iterator[Path]:
    if kept is not None:
        yield kept
        return
    with tempfile.TemporaryDirectory(prefix="parsec-bench-", dir=os.environ.get("BENCH_DIR")) as made:
        yield Path(made)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=10_000_000)
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    with directory_of(given.data) as directory:
        # In a process of its own, so that the engine's memory is that of a start.
        filling = [sys.executable, __file__, "--events", str(given.events), "--data", str(directory), "--json", "-"]
        if given.json == Path("-"):
            print(*filled(directory, given.events))
            return
        told = subprocess.run(filling, capture_output=True, text=True, check=True).stdout
        first, end = map(int, told.split())
        with Parsec(directory) as running:
            asked = questions(first, end)
            alone = measured(running, asked, given.runs)
            idle_mib = memory_mib(running)
            with load_beside(running, "--rate", str(RATE)):
                time.sleep(3)  # until its rate is steady
                before, began = processed(running), time.perf_counter()
                busy = measured(running, questions(first, end, DAY), given.runs)
                came = (processed(running) - before) / (time.perf_counter() - began)
            running.terminate()
    rows = {
        name: {"alone_ms": alone[name], "at_20000_a_second_ms": busy[name], "target_ms": TARGETS_MS.get(name, 0)}
        for name in asked
    }
    publish({**rows, "beside": {"memory_alone_mib": idle_mib, "events_per_s": came}}, given.json)


if __name__ == "__main__":
    main()
