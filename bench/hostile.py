"""What an honest client feels beside hostile ones, and what they make the process hold.

python bench/hostile.py [--runs 2] [--seconds 6] [--json bench/results/hostile.json]

500 connections each that send heads and bodies at one byte a second; ten bombs of each of eight kinds at once, again
and again. The honest client sends single events at a fixed rate; its latency counts from when each was due.
"""

import asyncio
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from _running import Parsec, arguments, medians, memory_mib, parsec, publish
from parsec.loadgen.load import Load
from parsec.loadgen.plan import Plan, Result

# isort: split
from tests.support.attackers import attackers

CONNECTIONS, RATE = 4, 200
WARM_S = 2.0
SLOW = {"slow_heads": 500, "slow_bodies": 500}
NEIGHBOURS: dict[str, dict[str, int]] = {
    "single events alone": {},
    "beside 1,000 slow connections": SLOW,
    "beside 80 bombs at once": {"bombs": 10},
    "beside both": {**SLOW, "bombs": 10},
}


def honest(running: Parsec, seconds: float) -> Result:
    url = f"http://127.0.0.1:{running.port}"
    return asyncio.run(Load(Plan(url, connections=CONNECTIONS, batch=1, rate=RATE, duration_s=seconds)).run())


@contextmanager
def highest_memory_mib(running: Parsec) -> Iterator[list[float]]:
    """The one element is the highest so far."""
    ended, highest = threading.Event(), [memory_mib(running)]

    def look() -> None:
        while not ended.wait(0.1):
            highest[0] = max(highest[0], memory_mib(running))

    looking = threading.Thread(target=look)
    looking.start()
    try:
        yield highest
    finally:
        ended.set()
        looking.join()


def beside(neighbours: dict[str, int], seconds: float) -> dict[str, float]:
    """Latency of single events, what was not taken, and how much more memory was in use at most."""
    with parsec(PARSEC_DISK_RESERVE="0") as running:
        honest(running, WARM_S)
        before = memory_mib(running)
        answers: Counter[str] = Counter()
        with highest_memory_mib(running) as highest:
            if neighbours:
                with attackers(running.port, **neighbours) as answers:
                    result = honest(running, seconds)
            else:
                result = honest(running, seconds)
    waits = {f"p{q:g}_ms": result.latencies.quantile(q / 100) * 1000 for q in (50, 99, 100)}
    bombs = sum(count for kind, count in answers.items() if not kind.startswith("slow"))
    return {**waits, "refused": float(result.refused), "more_mib": highest[0] - before, "bombs": float(bombs)}


def main() -> None:
    asked = arguments(__doc__ or "")
    runs = {name: [beside(those, asked.seconds) for _ in range(asked.runs)] for name, those in NEIGHBOURS.items()}
    publish({name: medians(each) for name, each in runs.items()}, asked.json)


if __name__ == "__main__":
    main()
