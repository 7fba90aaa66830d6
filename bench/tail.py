"""Ingest with and without readers of live events, side by side: what fifty of them cost whoever sends.

python bench/tail.py [--runs 3] [--seconds 6] [--json bench/results/tail.json]
"""

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from urllib.parse import quote

from _running import arguments, cpu_s, load, medians, parsec, publish

READERS = 50
READ = """
import selectors, socket, sys
port, paths = int(sys.argv[1]), sys.argv[2:]
waiting = selectors.DefaultSelector()
for path in paths:
    one = socket.create_connection(("127.0.0.1", port))
    one.sendall(f"GET {path} HTTP/1.1\\r\\nHost: localhost\\r\\n\\r\\n".encode())
    waiting.register(one, selectors.EVENT_READ)
print("reading", flush=True)
while True:
    for ready, _ in waiting.select():
        if not ready.fileobj.recv(1 << 20):
            waiting.unregister(ready.fileobj)
"""
"""Readers in a process of their own, which only count on being served."""


@contextmanager
def reading(port: int, questions: Sequence[str]) -> Iterator[None]:
    paths = [f"/query/tail?tenant=bench&q={quote(question)}" for question in questions]
    readers = subprocess.Popen([sys.executable, "-c", READ, str(port), *paths], stdout=subprocess.PIPE)
    try:
        if readers.stdout is not None:
            readers.stdout.readline()
        yield
    finally:
        readers.kill()
        readers.wait()


def measured(seconds: float, questions: Sequence[str]) -> dict[str, float]:
    """As fast as it goes, 100 events per request over 8 connections."""
    with parsec() as running:
        load(running, "--duration", "1")
        with reading(running.port, questions):
            before = cpu_s(running)
            report = load(running, "--duration", str(seconds))
            used = cpu_s(running) - before
            _, metrics = running.get("/metrics")
        assert report["counts_agree"], report
        fates = {fate: value_of(metrics.decode(), fate) for fate in ("sent", "skipped", "unchecked")}
        return {
            "events_per_s": report["events_per_s"],
            "p99_ms": report["latency_ms"]["p99"],
            "cpu_us_per_event": used / report["accepted"] * 1e6,
            **{f"{fate}_share": value / report["accepted"] for fate, value in fates.items()},
        }


def value_of(metrics: str, fate: str) -> float:
    start = f'parsec_tail_events_total{{fate="{fate}"}} '
    return sum(float(line.removeprefix(start)) for line in metrics.splitlines() if line.startswith(start))


def main() -> None:
    asked = arguments(__doc__ or "")
    forms = {
        "no reader": [],
        "one reader of a rare word": ["nowhere"],
        "fifty readers of one question, a tenth of all": ["id:*7"] * READERS,
        "fifty readers of questions of their own": [f"id:*{n:02d}7" for n in range(READERS)],
        "one reader of everything": [""],
    }
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in forms}
    for _ in range(asked.runs):  # in turn, so that a slow minute of the machine hits all of them
        for name, questions in forms.items():
            runs[name].append(measured(asked.seconds, questions))
    publish({name: medians(each) for name, each in runs.items()}, asked.json)


if __name__ == "__main__":
    main()
