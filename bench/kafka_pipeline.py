"""A whole Parsec on one Kafka broker: what the ingest role takes to Kafka, what one process takes and stores over it,
and the memory of each, idle and after the load.

    python bench/kafka_pipeline.py [--runs 3] [--seconds 8] [--json FILE]

100 events per request over 8 connections from `parsec bench`, which shares the machine with Parsec and the broker.
"""

import tempfile
import time
from pathlib import Path

from _running import arguments, cpu_s, load, medians, memory_mib, parsec, publish

# isort: split
from tests.support.kafka_server import KafkaServer, kafka_server

ROLES = {"to Kafka, ingest role": "ingest", "over Kafka, all in one": "all"}


def run(server: KafkaServer, role: str, seconds: float) -> dict[str, float]:
    """One process on a topic of its own, loaded for `seconds`; where it also stores, until the last commit."""
    topic = server.make_topic(partitions=12)
    with parsec(KAFKA_BROKERS=server.address, KAFKA_TOPIC=topic, PARSEC_ROLE=role) as running:
        time.sleep(2)  # until all of its clients are connected
        idle, before, started = memory_mib(running), cpu_s(running), time.perf_counter()
        told = load(running, "--duration", str(seconds), "--batch", "100", "--connections", "8")
        figures = {
            "events_per_s": told["events_per_s"],
            "p50_ms": told["latency_ms"]["p50"],
            "p99_ms": told["latency_ms"]["p99"],
            "idle_mib": idle,
            "loaded_mib": memory_mib(running),
        }
        if role == "all":
            running.wait_processed()
            figures["stored_per_s"] = told["accepted"] / (time.perf_counter() - started)
        return {**figures, "cpu_us_per_event": (cpu_s(running) - before) / told["accepted"] * 1e6}


def main() -> None:
    asked = arguments(__doc__ or "")
    with tempfile.TemporaryDirectory() as state, kafka_server(Path(state), quick_start=False) as server:
        rows = {
            name: medians([run(server, role, asked.seconds) for _ in range(asked.runs)]) for name, role in ROLES.items()
        }
    publish(rows, asked.json)


if __name__ == "__main__":
    main()
