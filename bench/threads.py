"""CPU per event of each thread of a Parsec under full load, until all is stored: where the time goes.

python bench/threads.py [--runs 3] [--seconds 6] [--json bench/results/threads.json]

Python gives its threads no names that the system can see, so the Parsec measured here gives them as it starts them.
"""

import os
import tempfile
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from _running import Parsec, arguments, load, medians, parsec, publish

NAMES_THREADS = """
import ctypes, threading
_libc, _run = ctypes.CDLL(None), threading.Thread.run
def run(thread):
    _libc.prctl(15, thread.name.removeprefix("parsec-")[:15].encode(), 0, 0, 0)
    _run(thread)
threading.Thread.run = run
"""
LOADS = {"100 per request, 8 connections": (), "1 per request, 64 connections": ("--batch", "1", "--connections", "64")}


def seconds_by_thread(running: Parsec) -> Mapping[str, float]:
    """User and system seconds so far, by the thread's name; those of the engine are summed up by theirs."""
    used: defaultdict[str, float] = defaultdict(float)
    for task in Path(f"/proc/{running.process.pid}/task").iterdir():
        name, _, rest = (task / "stat").read_text().partition("(")[2].rpartition(")")
        fields = rest.split()
        used[name] += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return used


def measured(seconds: float, *options: str) -> dict[str, float]:
    """Microseconds per accepted event. The event loop runs on the first thread, which keeps the program's name."""
    with parsec() as running:
        load(running, "--duration", "1", *options)
        running.wait_processed()
        before = seconds_by_thread(running)
        accepted = load(running, "--duration", str(seconds), *options)["accepted"]
        running.wait_processed()
        used = seconds_by_thread(running)
        named = {"event_loop": "python", "worker": "worker", "processor": "processor"}
        figures = {f"{name}_us": (used[own] - before[own]) / accepted * 1e6 for name, own in named.items()}
        whole = (sum(used.values()) - sum(before.values())) / accepted * 1e6
        return {**figures, "engine_and_rest_us": whole - sum(figures.values()), "whole_us": whole}


def main() -> None:
    asked = arguments(__doc__ or "")
    with tempfile.TemporaryDirectory() as directory:
        (Path(directory) / "sitecustomize.py").write_text(NAMES_THREADS)
        os.environ["PYTHONPATH"] = directory
        rows = {
            name: medians([measured(asked.seconds, *options) for _ in range(asked.runs)])
            for name, options in LOADS.items()
        }
    publish(rows, asked.json)


if __name__ == "__main__":
    main()
