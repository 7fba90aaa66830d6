"""What the edge costs: metrics, keys and limits, each against a Parsec without, in turn; and what a flood costs others.

python bench/edge.py [--runs 8] [--seconds 4] [--json bench/results/edge.json] [--only cost|flood]

cost: all variants run at once and get the same load of 100 events per request one after the other, in another order
in each run; CPU of the process until all of it is stored. flood: a tenant that keeps to its share, alone and beside one
that sends 50 times its share from another process.
"""

import argparse
import asyncio
import json
import multiprocessing
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path
from statistics import median

import msgspec

from _running import Parsec, cpu_s, medians, publish
from parsec.loadgen.load import Load
from parsec.loadgen.plan import Plan, Result

EVENTS = 100_000
"""Of one run of one variant; about a second."""
SHARE_PER_S, TIMES, BATCH = 2_000, 50, 100
CALM_PER_S = 200
"""Single events of the tenant that keeps to its share."""
LIMITS = {
    "PARSEC_LIMIT_EVENTS_PER_S": "100000000",
    "PARSEC_LIMIT_BYTES_PER_S": "1TiB",
}
UNCOUNTED = (sys.executable, __file__, "--uncounted")


class Variant(msgspec.Struct, frozen=True):
    """One way to run Parsec."""

    settings: Mapping[str, str] = {}
    counted: bool = True
    keys: bool = False
    scraped: bool = False


VARIANTS = {
    "nothing": Variant(counted=False),
    "metrics": Variant(scraped=True),
    "keys": Variant(counted=False, keys=True),
    "limits": Variant(LIMITS, counted=False),
    "all": Variant(LIMITS, keys=True, scraped=True),
}


class Subject:
    """A running variant; `key` is what its requests show."""

    def __init__(self, variant: Variant, directory: Path) -> None:
        self.variant = variant
        self.running = Parsec(directory, () if variant.counted else UNCOUNTED, **variant.settings)
        self.key: str | None = None
        if variant.keys:
            command = [sys.executable, "-m", "parsec", "keys", "create", "--data-dir", str(directory)]
            directory.mkdir()
            made = subprocess.run(
                [*command, "--scope", "ingest,query,admin"], capture_output=True, text=True, check=True
            )
            self.key = made.stdout.strip()

    def run(self) -> dict[str, float]:
        """The load once, until all is stored; microseconds per event."""
        before, started = cpu_s(self.running), time.perf_counter()
        with self._scraped():
            plan = Plan(f"http://127.0.0.1:{self.running.port}", batch=BATCH, events=EVENTS, api_key=self.key)
            result = asyncio.run(Load(plan).run())
            seconds = time.perf_counter() - started
            assert result.accepted == EVENTS, result.statuses
            while self._ask("/stats")["ledger"]["in_flight"]:
                time.sleep(0.05)
        used = cpu_s(self.running) - before
        return {"cpu_us_per_event": used / EVENTS * 1e6, "wall_us_per_event": seconds / EVENTS * 1e6}

    def _ask(self, path: str) -> dict[str, dict[str, int]]:
        headers = {"Authorization": f"Bearer {self.key}"} if self.key else {}
        body = self.running.request("GET", path, headers=headers)[2]
        return json.loads(body) if path == "/stats" else {}

    @contextmanager
    def _scraped(self) -> Iterator[None]:
        """/metrics read once a second, which is often."""
        stop = threading.Event()

        def scrape() -> None:
            while self.variant.scraped and not stop.wait(1.0):
                self._ask("/metrics")

        thread = threading.Thread(target=scrape)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()


def cost(runs: int) -> dict[str, dict[str, float]]:
    """Per variant the medians, and the medians of its ratios to `nothing` of the same run."""
    found: dict[str, list[dict[str, float]]] = {name: [] for name in VARIANTS}
    with tempfile.TemporaryDirectory(prefix="parsec-bench-") as directory, ExitStack() as stack:
        subjects = {name: Subject(variant, Path(directory) / name) for name, variant in VARIANTS.items()}
        for subject in subjects.values():
            stack.enter_context(subject.running)
            subject.run()
        names = list(VARIANTS)
        for run in range(runs):
            turn = run % len(names)
            for name in names[turn:] + names[:turn]:
                found[name].append(subjects[name].run())
    rows = {}
    for name, of_runs in found.items():
        ratios = {
            f"{figure.split('_')[0]}_ratio": median(
                one[figure] / base[figure] for one, base in zip(of_runs, found["nothing"], strict=True)
            )
            for figure in of_runs[0]
        }
        rows[f"cost: {name}"] = medians(of_runs) | ratios
    return rows


def flood_client(port: int, named: bool, seconds: float, results: "multiprocessing.Queue[dict[str, float]]") -> None:
    """50 times the share over 8 connections, whatever is answered; as little work as possible for this machine."""
    connections, numbers, statuses = 8, count(), [0, 0]
    one = {"tenant_id": "flood", "timestamp": time.time(), "severity": "info", "source": "api", "message": "x" * 180}
    body = json.dumps([one] * BATCH).encode()
    name = b"X-Tenant-ID: flood\r\n" if named else b""
    ends = time.monotonic() + seconds

    def client() -> None:
        with socket.create_connection(("127.0.0.1", port)) as connection:
            due = time.monotonic()
            while due < ends:
                head = (
                    b"POST /ingest HTTP/1.1\r\nHost: localhost\r\n%bIdempotency-Key: %d\r\nContent-Length: %d\r\n\r\n"
                )
                connection.sendall(head % (name, next(numbers), len(body)) + body)
                statuses[b" 429 " in connection.recv(65536)[:16]] += 1
                due += connections * BATCH / (SHARE_PER_S * TIMES)
                time.sleep(max(0.0, due - time.monotonic()))

    threads = [threading.Thread(target=client) for _ in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    results.put(
        {"flood_taken_per_s": statuses[0] * BATCH / seconds, "flood_refused_per_s": statuses[1] * BATCH / seconds}
    )


def calm(running: Parsec, seconds: float) -> Result:
    plan = Plan(
        f"http://127.0.0.1:{running.port}",
        connections=4,
        batch=1,
        rate=CALM_PER_S,
        duration_s=seconds,
        tenants=("calm",),
    )
    return asyncio.run(Load(plan).run())


def beside(running: Parsec, flood: str, seconds: float) -> dict[str, float]:
    """The calm tenant's latencies and refusals; `flood`: alone, or how the other tenant is named."""
    figures: dict[str, float] = {}
    if flood == "alone":
        result = calm(running, seconds)
    else:
        results: multiprocessing.Queue[dict[str, float]] = multiprocessing.Queue()
        arguments = running.port, flood == "named by a header", seconds + 0.5, results
        process = multiprocessing.Process(target=flood_client, args=arguments)
        process.start()
        time.sleep(0.3)
        result = calm(running, seconds)
        figures = results.get(timeout=30)
        process.join()
    waits = {f"p{q:g}_ms": result.latencies.quantile(q / 100) * 1000 for q in (50, 99, 100)}
    return waits | {"refused": float(result.refused + result.unanswered + result.rejected)} | figures


def floods(runs: int, seconds: float) -> dict[str, dict[str, float]]:
    """In turn on one Parsec."""
    kinds = ("alone", "named by a header", "named in events")
    found: dict[str, list[dict[str, float]]] = {kind: [] for kind in kinds}
    with (
        tempfile.TemporaryDirectory(prefix="parsec-bench-") as directory,
        Parsec(Path(directory) / "data", PARSEC_LIMIT_EVENTS_PER_S=str(SHARE_PER_S)) as running,
    ):
        for _ in range(runs):
            for kind in kinds:
                found[kind].append(beside(running, kind, seconds))
    return {f"beside a flood: {kind}": medians(of_runs) for kind, of_runs in found.items()}


def serve_uncounted() -> None:
    """`parsec serve` whose metrics count nothing, so that what counting costs can be seen."""
    import prometheus_client as prometheus

    from parsec.cli import main as parsec
    from parsec.telemetry import Telemetry, UnlockedCounter, UnlockedHistogram

    def nothing(*_: object) -> None:
        return

    for owner, name in (
        (prometheus.Counter, "inc"),
        (prometheus.Gauge, "set"),
        (prometheus.Histogram, "observe"),
        (UnlockedCounter, "add"),
        (UnlockedHistogram, "observe"),
        (Telemetry, "accepted_from"),
        (Telemetry, "rejected_from"),
        (Telemetry, "processed_of"),
    ):
        setattr(owner, name, nothing)
    parsec(["serve"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--only", choices=["cost", "flood"])
    asked = parser.parse_args()
    rows: dict[str, dict[str, float]] = {}
    if asked.only != "flood":
        rows |= cost(asked.runs)
    if asked.only != "cost":
        rows |= floods(max(1, asked.runs // 2), asked.seconds)
    publish(rows, asked.json)


if __name__ == "__main__":
    if "--uncounted" in sys.argv:
        serve_uncounted()
    else:
        main()
