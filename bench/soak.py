"""Parsec for half an hour at half of its maximum: memory flat, latency flat, disk bounded, counts equal.

python bench/soak.py [--minutes 30] [--share 0.5] [--json FILE]

The maximum is what is accepted and stored per second, first under full load and then until the last event is stored.
The log is bounded by what the processor has passed (here kept for 10 s); the store grows with what is in it, as far as
PARSEC_RETENTION allows, so that its bytes per event are what must not grow. Exit code: 1 when something does not hold.
"""

import argparse
import asyncio
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import msgspec

from _running import Parsec, cpu_s, memory_mib, parsec
from parsec.loadgen.load import Load
from parsec.loadgen.plan import Latencies, Plan

RESULTS = Path(__file__).parent / "results"
SAMPLE_S = 10.0
FULL_LOAD_S = 20.0
SETTLE_S = 300.0
SETTINGS = {"PARSEC_LOG_RETENTION": "10s", "PARSEC_LOG_MAX_BYTES": "2GiB"}
CONNECTIONS, BATCH = 8, 100


class Sample(msgspec.Struct, frozen=True):
    """One look at everything; latencies are of the requests since the look before."""

    second: float
    rss_mib: float
    cpu_s: float
    log_bytes: int
    store_bytes: int
    lag: int
    accepted: int
    refused: int
    stored: int
    p50_ms: float
    p99_ms: float
    p99_9_ms: float


class Verdict(msgspec.Struct, frozen=True):
    what: str
    holds: bool
    figures: str


def disk_bytes(directory: Path) -> int:
    """What the files below a directory take up on the disk; files come and go meanwhile."""
    total = 0
    for folder, _, names in os.walk(directory):
        for name in names:
            try:
                total += (Path(folder) / name).lstat().st_blocks * 512
            except FileNotFoundError:
                continue
    return total


def maximum(running: Parsec) -> tuple[float, int]:
    """Events per second from the first request to the last insert, and how many were accepted."""
    started = time.perf_counter()
    result = asyncio.run(Load(plan(running, 0.0, FULL_LOAD_S)).run())
    running.wait_processed(SETTLE_S)
    if result.unanswered or result.rejected:
        raise RuntimeError(f"{result.unanswered} events unanswered and {result.rejected} rejected under full load")
    return result.accepted / (time.perf_counter() - started), result.accepted


def plan(running: Parsec, rate: float, seconds: float) -> Plan:
    url = f"http://127.0.0.1:{running.port}"
    return Plan(url, connections=CONNECTIONS, batch=BATCH, rate=rate, duration_s=seconds, tenants=("soak",))


async def soak(running: Parsec, rate: float, seconds: float, seen: Callable[[Sample], None]) -> Load:
    """Load at this rate for so long, with a sample each 10 s."""
    load = Load(plan(running, rate, seconds))
    task = asyncio.create_task(load.run())
    started = time.perf_counter()
    looks = 0
    while True:
        looks += 1
        wait_s = started + looks * SAMPLE_S - time.perf_counter()
        done, _ = await asyncio.wait([task], timeout=max(wait_s, 0.0))
        if done:
            await task
            return load
        window, load.result.latencies = load.result.latencies, Latencies()
        accepted, refused = load.result.accepted, load.result.refused
        # In a thread of its own, so that the load goes on meanwhile.
        seen(await asyncio.to_thread(look, running, time.perf_counter() - started, window, (accepted, refused)))


def look(running: Parsec, second: float, window: Latencies, counts: tuple[int, int]) -> Sample:
    ledger = running.stats()["ledger"]
    p50, p99, p99_9 = (round(window.quantile(q) * 1000, 2) for q in (0.5, 0.99, 0.999))
    accepted, refused = counts
    return Sample(
        round(second, 1),
        round(memory_mib(running), 1),
        round(cpu_s(running), 1),
        disk_bytes(running.data_dir / "segments"),
        disk_bytes(running.data_dir / "store"),
        ledger["end"] - ledger["committed"],
        accepted,
        refused,
        ledger["stored"],
        p50,
        p99,
        p99_9,
    )


def verdicts(samples: Sequence[Sample], counts: dict[str, int], rate: float) -> list[Verdict]:
    """The last third against the middle one, and the counts."""
    third = len(samples) // 3
    middle, last = samples[third : 2 * third], samples[2 * third :]
    if not middle:
        raise RuntimeError("too short: it takes three samples")

    def compared(what: str, of: Callable[[Sample], float], most: Callable[[float], float], shown: str) -> Verdict:
        before, after = median(map(of, middle)), median(map(of, last))
        return Verdict(
            what, after <= most(before), f"{before:{shown}} in the middle third, {after:{shown}} in the last"
        )

    def bytes_per_event(sample: Sample) -> float:
        return sample.store_bytes / max(sample.stored, 1)

    fates = {name: counts[name] for name in ("duplicate", "dead", "lost", "difference", "rejected")}
    doubt = counts["unanswered"]
    equal = counts["accepted"] <= counts["stored"] <= counts["accepted"] + doubt and not any(fates.values())
    log_most = max(sample.log_bytes for sample in last)
    return [
        Verdict("counts equal", equal, f"{counts['accepted']:,} accepted, {counts['stored']:,} stored, {fates}"),
        Verdict(
            "every request answered", not doubt, f"{doubt:,} events unanswered, {counts['reconnected']} reconnects"
        ),
        Verdict(
            "rate kept",
            not counts["refused"] and counts["unsent"] <= rate,
            f"{counts['refused']:,} refused, {counts['unsent']:,} unsent of {rate:,.0f} events/s",
        ),
        compared("memory flat", lambda s: s.rss_mib, lambda before: before * 1.05 + 10, ",.0f"),
        compared("p99 latency flat, ms", lambda s: s.p99_ms, lambda before: before * 1.5 + 5, ".2f"),
        compared("lag flat, events", lambda s: s.lag, lambda before: before * 1.5 + rate * 2, ",.0f"),
        compared("log flat, bytes", lambda s: s.log_bytes, lambda before: before * 1.25 + (32 << 20), ",.0f"),
        Verdict("log bounded", log_most <= 2 << 30, f"{log_most:,} bytes at most"),
        compared("store bytes per event flat", bytes_per_event, lambda before: before * 1.25, ".1f"),
    ]


def shown(sample: Sample) -> str:
    return (
        f"{sample.second:7.0f} s  {sample.rss_mib:7.0f} MiB  log {sample.log_bytes >> 20:5} MiB  "
        f"store {sample.store_bytes >> 20:6} MiB  lag {sample.lag:8,}  accepted {sample.accepted:12,}  "
        f"p50 {sample.p50_ms:6.2f}  p99 {sample.p99_ms:7.2f}  p99.9 {sample.p99_9_ms:7.2f} ms"
    )


def run(minutes: float, share: float) -> tuple[dict[str, Any], list[Verdict]]:
    samples: list[Sample] = []

    def seen(sample: Sample) -> None:
        samples.append(sample)
        print(shown(sample), flush=True)

    with parsec(**SETTINGS) as running:
        most, warm = maximum(running)
        rate = most * share
        print(f"maximum {most:,.0f} events/s accepted and stored; {minutes:g} minutes at {rate:,.0f}", flush=True)
        load = asyncio.run(soak(running, rate, minutes * 60, seen))
        running.wait_processed(SETTLE_S)
        ledger = running.stats()["ledger"]
    result = load.result
    fates = {name: ledger[name] for name in ("stored", "duplicate", "dead", "lost", "difference")}
    answers = {name: getattr(result, name) for name in ("rejected", "refused", "unanswered", "unsent", "reconnected")}
    counts = {"accepted": result.accepted + warm, **fates, **answers}
    found = verdicts(samples, counts, rate)
    report = {
        "machine": {"cores": os.cpu_count(), "python": platform.python_version(), "kernel": platform.release()},
        "settings": SETTINGS | {"connections": CONNECTIONS, "batch": BATCH},
        "maximum_per_s": round(most),
        "rate_per_s": round(rate),
        "minutes": minutes,
        "counts": counts,
        "verdicts": msgspec.to_builtins(found),
        "samples": msgspec.to_builtins(samples),
    }
    return report, found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--share", type=float, default=0.5, help="of the measured maximum")
    parser.add_argument("--json", type=Path, default=RESULTS / f"soak-{datetime.now(UTC):%Y-%m-%d}.json")
    asked = parser.parse_args()
    report, found = run(asked.minutes, asked.share)
    asked.json.parent.mkdir(parents=True, exist_ok=True)
    asked.json.write_text(json.dumps(report, indent=1) + "\n")
    for verdict in found:
        print(f"{'holds' if verdict.holds else 'FAILS':6} {verdict.what:28} {verdict.figures}")
    sys.exit(not all(verdict.holds for verdict in found))


if __name__ == "__main__":
    main()
