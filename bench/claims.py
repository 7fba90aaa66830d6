"""Claims per second, bytes per id and the longest turn without the interpreter, in memory and in a local Redis.

    python bench/claims.py [--runs 3] [--ids 1000000] [--redis HOST:PORT] [--json FILE]

Each run is a process of its own, on a set that fills up (`fill`), is asked for the same ids again (`repeat`) and then
has to forget as many as it takes in (`full`). Batches have 20,000 ids. Without `--redis` a server is started; one that
is named is emptied. `late_ms` is how late a 2 ms timer in another thread was, at its worst and in the middle. A machine
too busy to answer within the deadline shows as `unchecked`.
"""

import argparse
import json
import logging
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import structlog
from redis import Redis

from _running import medians, publish

# isort: split
from tests.support.redis_server import redis_server

from parsec.adapters.local.dedup import LocalDedup
from parsec.adapters.redis.dedup import RedisDedup
from parsec.adapters.redis.link import RedisAddress
from parsec.core.clock import SystemClock
from parsec.loading import host_and_port
from parsec.ports.dedup import Batch, Dedup, Window
from parsec.telemetry import Telemetry

BATCH = 20_000
TIMER_S = 0.002


def batches(first: int, ids: int, offset: int) -> list[Batch]:
    """Made beforehand: the processor has its rows anyway."""
    moment_ns = time.time_ns()
    made = []
    for at in range(first, first + ids, BATCH):
        offsets = range(offset + at, offset + at + BATCH)
        names = [f"8f14e45f-ceea-467f-{n:012d}" for n in range(at, at + BATCH)]
        made.append(Batch("6fa459ea-ee8a-3ca4-894e-db77e160355e", 0, moment_ns, ["acme"] * BATCH, names, offsets))
    return made


class Set:
    """The claims under test, and how much memory and processor time went into them, here or in the server."""

    def __init__(self, address: str, ids: int) -> None:
        self.telemetry = Telemetry()
        clock, window = SystemClock(), Window(86_400.0, ids)
        self._behind: Redis | None = None
        self.dedup: Dedup
        if address:
            host, port = host_and_port(address)
            self._behind = Redis(host=host, port=port)
            self._behind.flushall(asynchronous=False)
            self.dedup = RedisDedup(RedisAddress(host, port), "bench:", window, self.telemetry, clock)
        else:
            self.dedup = LocalDedup(window, self.telemetry, clock)

    def memory_bytes(self) -> int:
        if self._behind:
            return int(self._behind.info("memory")["used_memory"])
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

    def server_cpu_s(self) -> float:
        if not self._behind:
            return 0.0
        used = self._behind.info("cpu")
        return float(used["used_cpu_user"]) + float(used["used_cpu_sys"])


def timed(dedup: Dedup, asked: list[Batch], held: int) -> float:
    begin = time.perf_counter()
    found = sum(len(dedup.claim(batch)) for batch in asked)
    elapsed = time.perf_counter() - begin
    assert found <= held, f"{found} were held, not {held}"
    return len(asked) * BATCH / elapsed


def lateness(work: Callable[[], object]) -> tuple[float, float]:
    """The longest and the median delay, in milliseconds, of a timer beside `work`."""
    late: list[float] = []
    over = threading.Event()

    def tick() -> None:
        while not over.is_set():
            begin = time.perf_counter()
            time.sleep(TIMER_S)
            late.append((time.perf_counter() - begin - TIMER_S) * 1e3)

    thread = threading.Thread(target=tick)
    thread.start()
    try:
        work()
    finally:
        over.set()
        thread.join()
    return max(late), median(late)


def filled(dedup: Dedup, first: int, ids: int) -> float:
    """Claims per second over all of them; a batch exists only while it is claimed."""
    seconds = sum(BATCH / timed(dedup, batches(at, BATCH, 0), 0) for at in range(first, first + ids, BATCH))
    return ids / seconds


def measure(address: str, ids: int) -> dict[str, float]:
    """One run, in this process."""
    sys.setswitchinterval(0.001)  # as in the server
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    claims = Set(address, ids)
    dedup, empty_bytes = claims.dedup, claims.memory_bytes()
    figures = {"fill_per_s": filled(dedup, 0, ids)}
    figures["bytes_per_id"] = (claims.memory_bytes() - empty_bytes) / claims.telemetry.value("parsec_dedup_ids")
    figures["repeat_per_s"] = timed(dedup, batches(0, ids // 5, 1 << 40), ids // 5)
    figures["full_per_s"] = filled(dedup, ids, ids)
    figures["full_mib"] = (claims.memory_bytes() - empty_bytes) / (1 << 20)
    asked = batches(2 * ids, ids // 5, 0)
    own_s, server_s = time.process_time(), claims.server_cpu_s()
    timed(dedup, asked, 0)
    figures["cpu_us_per_id"] = (time.process_time() - own_s) / (ids // 5) * 1e6
    figures["server_cpu_us_per_id"] = (claims.server_cpu_s() - server_s) / (ids // 5) * 1e6
    asked = batches(3 * ids, ids // 5, 0)
    figures["late_ms_worst"], figures["late_ms_median"] = lateness(lambda: timed(dedup, asked, 0))
    figures["unchecked"] = claims.telemetry.value("parsec_dedup_unavailable_events_total")
    dedup.close()
    return figures


def run(address: str, ids: int) -> dict[str, Any]:
    command = [sys.executable, __file__, "--one", "--ids", str(ids), "--redis", address]
    figures: dict[str, Any] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description="Claims on ids.")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--ids", type=int, default=1_000_000)
    parser.add_argument("--redis", default="", help="host:port of a server that may be emptied")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        print(json.dumps(measure(asked.redis, asked.ids)))
        return
    rows = {"in memory": medians([run("", asked.ids) for _ in range(asked.runs)])}
    if asked.redis:
        rows["redis"] = medians([run(asked.redis, asked.ids) for _ in range(asked.runs)])
    else:
        with tempfile.TemporaryDirectory() as name, redis_server(Path(name), "--appendonly", "no") as server:
            address = f"127.0.0.1:{server.port}"
            rows["redis, a local server"] = medians([run(address, asked.ids) for _ in range(asked.runs)])
    publish(rows, asked.json)


if __name__ == "__main__":
    main()
