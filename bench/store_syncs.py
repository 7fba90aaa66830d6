"""What it costs to make an insert and a start survive a power cut, beyond what the engine syncs by itself.

    python bench/store_syncs.py

`insert_ms` is one insert of 5,000 events as the processor does it, `name_ms` the sync of the table's directory in it,
`merged_ms` the sync of the parts merged since the last one (in Parsec a thread of its own does it), `start_ms` both
syncs of the file system at a start. Medians of one run; the disk decides.
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import ParamSpec

from _running import publish
from parsec.adapters.store.chdb import sync
from parsec.adapters.store.chdb.engine import ChdbEngine
from parsec.adapters.store.clickhouse import ClickHouseStore
from parsec.ports.store import Row

ROWS, INSERTS, SYNC_EVERY = 5_000, 60, 10
P = ParamSpec("P")


def timed(call: Callable[P, None], times: list[float]) -> Callable[P, None]:
    """The same call, with its milliseconds noted."""

    def run(*arguments: P.args, **named: P.kwargs) -> None:
        started = time.perf_counter()
        call(*arguments, **named)
        times.append((time.perf_counter() - started) * 1e3)

    return run


def rows(number: int) -> list[Row]:
    now_ns = time.time_ns()
    first = number * ROWS
    return [
        Row("acme", now_ns, "info", "api-gateway", f"GET /users/{n} 200 in 12 ms", f'{{"user_id":{n}}}', f"event-{n}",
            now_ns, "local", "bench", "log", 0, n, 65_535)
        for n in range(first, first + ROWS)
    ]  # fmt: skip


def main() -> None:
    inserts: list[float] = []
    names: list[float] = []
    merged: list[float] = []
    start: list[float] = []
    sync.file_system = timed(sync.file_system, start)
    sync.directory = timed(sync.directory, names)
    with tempfile.TemporaryDirectory(prefix="parsec-bench-") as directory:
        engine = ChdbEngine(Path(directory) / "store")
        store = ClickHouseStore(engine, 86_400.0)
        names.clear()
        tables = [path for path in (Path(directory) / "store" / "store").glob("*/*") if (path / "detached").exists()]
        insert, sync_merged = timed(store.insert, inserts), timed(sync.MergedParts(tables).sync, merged)
        for number in range(INSERTS):
            insert(rows(number), f"token {number}")
            if number % SYNC_EVERY == SYNC_EVERY - 1:
                sync_merged()
        store.close()
    figures = {"insert_ms": inserts, "name_ms": names, "merged_ms": merged}
    publish({"syncs of the store": {n: median(t) for n, t in figures.items()} | {"start_ms": sum(start)}}, None)


if __name__ == "__main__":
    main()
