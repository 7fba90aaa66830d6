"""The embedded rows of the budgets: accepted, stored, memory, start. One Parsec per row, load on the same machine.

python bench/budgets.py [--runs 3] [--seconds 8] [--json bench/results/budgets.json]
"""

import time

from _running import arguments, cpu_s, load, medians, memory_mib, parsec, publish


def accepted(seconds: float, *options: str) -> dict[str, float]:
    """Events answered 200 with ack durable, while the processor stores them too."""
    with parsec() as running:
        load(running, "--duration", "1", *options)
        before = cpu_s(running)
        report = load(running, "--duration", str(seconds), *options)
        assert report["counts_agree"], report
        used = cpu_s(running) - before
        return {
            "events_per_s": report["events_per_s"],
            "requests_per_s": report["requests_per_s"],
            "p50_ms": report["latency_ms"]["p50"],
            "p99_ms": report["latency_ms"]["p99"],
            "cpu_us_per_event": used / report["accepted"] * 1e6,
            "memory_mib": memory_mib(running),
        }


def stored(seconds: float) -> dict[str, float]:
    """From the first request until the last accepted event is committed by the processor."""
    with parsec() as running:
        load(running, "--duration", "1")
        running.wait_processed()
        started, before = time.perf_counter(), cpu_s(running)
        report = load(running, "--duration", str(seconds))
        running.wait_processed()
        elapsed = time.perf_counter() - started
        return {
            "events_per_s": report["accepted"] / elapsed,
            "cpu_us_per_event": (cpu_s(running) - before) / report["accepted"] * 1e6,
            "memory_mib": memory_mib(running),
        }


def idle() -> dict[str, float]:
    """Seconds from exec to the first accepted event; memory of an idle process."""
    started = time.perf_counter()
    with parsec() as running:
        assert (
            running.ingest(
                {"tenant_id": "a", "timestamp": time.time(), "severity": "info", "source": "b", "message": "c"}
            )[0]
            == 200
        )
        first = time.perf_counter() - started
        return {"first_accepted_s": first, "memory_mib": memory_mib(running)}


def main() -> None:
    asked = arguments(__doc__ or "")
    runs = range(asked.runs)
    rows = {
        "accepted, 100 per request, 8 connections": medians([accepted(asked.seconds) for _ in runs]),
        "accepted, 1 per request, 64 connections": medians(
            [accepted(asked.seconds, "--batch", "1", "--connections", "64") for _ in runs]
        ),
        "stored, end to end": medians([stored(asked.seconds) for _ in runs]),
        "start and idle": medians([idle() for _ in runs]),
    }
    publish(rows, asked.json)


if __name__ == "__main__":
    main()
