"""What small requests feel beside large ones: latency of single events alone, beside 10 MiB bodies, beside a backlog.

python bench/stalls.py [--runs 3] [--seconds 8] [--json bench/results/stalls.json]
"""

import asyncio
import http.client
import json
import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import UTC, datetime
from functools import partial
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Event
from pathlib import Path

from msgspec import Raw

from _running import Parsec, arguments, medians, publish
from parsec.adapters.log.embedded import EmbeddedLog, LogOptions
from parsec.core.clock import SystemClock
from parsec.core.envelope import Envelope, encode_lines
from parsec.loadgen.load import Load
from parsec.loadgen.plan import Plan, Result
from parsec.ports.broker import Group
from parsec.telemetry import Telemetry

BODY_BYTES = 10 << 20
STORED_PER_S = 150_000
"""More than the processor stores in a second, so that a backlog of this rate outlasts the measurement."""
CONNECTIONS, RATE = 4, 200
"""Of single events; fewer than the machine can do by far, so that they wait for others and not for each other."""

WARM_S = 0.5
Neighbour = Callable[[Parsec], AbstractContextManager[dict[str, float]]]


def large_body(shape: str) -> bytes:
    """Events of about 1.1 KB each: an array, line by line, or an array in which one event is broken."""
    now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    one = {
        "tenant_id": "large",
        "timestamp": now,
        "severity": "info",
        "source": "batch",
        "message": "x" * 950,
        "metadata": {"path": "/users/42", "latency_ms": 12.5, "trace": "0af7651916cd43dd8448eb211c80319c"},
    }
    text = json.dumps(one).encode()
    events = [text] * (BODY_BYTES // (len(text) + 1))
    if shape == "lines":
        return b"\n".join(events)
    if shape == "damaged":
        events[len(events) // 2] = b'{"message":"\\ud800"}'
    return b'{"events":[%b]}' % b",".join(events)


def post_again_and_again(shape: str, port: int, stop: Event, taken: Connection) -> None:
    """A process of its own: it posts the body again as soon as it is answered, and says at the end how often."""
    body, count = large_body(shape), 0
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    while not stop.is_set():
        connection.request("POST", "/ingest", body, {"Idempotency-Key": f"large-{os.getpid()}-{count}"})
        response = connection.getresponse()
        response.read()
        count += response.status == 200
        if response.status != 200:
            stop.wait(0.05)
    taken.send(count)


@contextmanager
def large_requests(shape: str, running: Parsec) -> Iterator[dict[str, float]]:
    """One client with large bodies."""
    spawn = multiprocessing.get_context("spawn")
    stop, (ours, theirs) = spawn.Event(), spawn.Pipe()
    process = spawn.Process(target=post_again_and_again, args=(shape, running.port, stop, theirs))
    figures: dict[str, float] = {}
    process.start()
    started = time.perf_counter()
    try:
        yield figures
    finally:
        stop.set()
        figures["large_per_s"] = ours.recv() / (time.perf_counter() - started)
        process.join()


def write_backlog(data_dir: Path, events: int) -> None:
    """Events in the log that no processor has seen."""
    log = EmbeddedLog.open(data_dir, LogOptions(disk_reserve=0), SystemClock(), Telemetry())
    now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    metadata = Raw(b'{"path":"/users/42","latency_ms":12.5,"trace":"0af7651916cd43dd8448eb211c80319c"}')
    message = "GET /api/v1/users/42 completed with status 200 in 12 ms"
    for first in range(0, events, 1000):
        group = [
            Envelope(1, "bench", f"{n:032x}", now, "info", "service-1", message, metadata, now, "local", "node-1")
            for n in range(first, first + 1000)
        ]
        log.publish([Group(group, encode_lines(group))])
    log.close()


@contextmanager
def backlog(running: Parsec) -> Iterator[dict[str, float]]:
    """The processor of this Parsec has more to store than it can while it is measured."""
    before, started = running.stats()["ledger"], time.perf_counter()
    figures: dict[str, float] = {}
    yield figures
    after, seconds = running.stats()["ledger"], time.perf_counter() - started
    figures["stored_per_s"] = (after["committed"] - before["committed"]) / seconds
    figures["backlog_left"] = float(max(0, before["end"] - after["committed"]))


def beside(neighbour: Neighbour, seconds: float, waiting: int = 0) -> dict[str, float]:
    """Latency of single events while the neighbour is busy, and `waiting` events are in the log at the start."""
    with tempfile.TemporaryDirectory(prefix="parsec-bench-", dir=os.environ.get("BENCH_DIR")) as directory:
        data_dir = Path(directory) / "data"
        if waiting:
            write_backlog(data_dir, waiting)
        with Parsec(data_dir) as running:
            with neighbour(running) as figures:
                small(running, WARM_S)
                result = small(running, seconds)
            running.kill()
    waits = {f"p{q:g}_ms": result.latencies.quantile(q / 100) * 1000 for q in (50, 99, 100)}
    return waits | {"refused": float(result.refused), **figures}


def small(running: Parsec, seconds: float) -> Result:
    """Not by `parsec bench`, which waits at its end until everybody's events are stored."""
    url = f"http://127.0.0.1:{running.port}"
    plan = Plan(url, connections=CONNECTIONS, batch=1, rate=RATE, duration_s=seconds, tenants=("small",))
    return asyncio.run(Load(plan).run())


def main() -> None:
    asked = arguments(__doc__ or "")
    shapes = {"arrays": "array", "of lines": "lines", "arrays, one event of each broken": "damaged"}
    neighbours: dict[str, Callable[[], dict[str, float]]] = {
        "single events alone": lambda: beside(lambda _: nullcontext({}), asked.seconds),
        **{
            f"beside 10 MiB {name}": lambda shape=shape: beside(partial(large_requests, shape), asked.seconds)  # type: ignore[misc]
            for name, shape in shapes.items()
        },
        "beside a backlog": lambda: beside(backlog, asked.seconds, int(STORED_PER_S * (asked.seconds + 2 * WARM_S))),
    }
    publish({name: medians([run() for _ in range(asked.runs)]) for name, run in neighbours.items()}, asked.json)


if __name__ == "__main__":
    main()
