"""Kafka alone: publishing with acks=all and idempotence, reading with the topic checked, and what a commit costs.

    python bench/kafka.py [--runs 3] [--seconds 4] [--json FILE]

One broker on this machine, made for the run and removed after it (Java and Maven are needed). Events are 390 bytes, 12
partitions. A worker publishes batches one after the other, as the ingest side does.
"""

import tempfile
import threading
import time
from pathlib import Path

from msgspec.structs import replace

from _running import arguments, medians, percentiles_ms, publish
from log_append import event

# isort: split
from tests.support.kafka_server import KafkaServer, kafka_server

from parsec.adapters.kafka.cluster import KafkaCluster
from parsec.adapters.kafka.config import KafkaOptions
from parsec.core.clock import SystemClock, SystemRandom
from parsec.core.envelope import encode_lines
from parsec.ports.broker import Assigned, Counts, Group, Slice

SHAPES = ((1, 4, 1, "snappy"), (100, 1, 1, "snappy"), (100, 4, 1, "snappy"), (100, 4, 100, "snappy"),
          (1000, 4, 100, "snappy"), (1000, 4, 100, "none"), (1000, 4, 100, "lz4"), (1000, 4, 100, "zstd"),
          (1000, 4, 100, "gzip"))  # fmt: skip
"""(events per publish, workers, tenants in a publish, compression). Each partition of a publish is a request."""


def opened(server: KafkaServer, topic: str, compression: str = "snappy") -> KafkaCluster:
    options = KafkaOptions(brokers=server.address, topic=topic, compression=compression, deadline_s=30)
    return KafkaCluster(options, SystemClock(), SystemRandom())


def batch(events: int, tenants: int, first: int = 0) -> Group:
    made = [replace(event(n), tenant_id=f"tenant-{first + n % tenants}") for n in range(events)]
    return Group(made, encode_lines(made))


def published(server: KafkaServer, shape: tuple[int, int, int, str], seconds: float) -> dict[str, float]:
    """Until every worker's last publish is acknowledged."""
    events, workers, tenants, compression = shape
    kafka = opened(server, server.make_topic(partitions=12), compression)
    groups = [batch(events, tenants, first) for first in range(workers)]
    waits: list[float] = []
    writers = [kafka.writer() for _ in range(workers)]
    for writer, group in zip(writers, groups, strict=True):
        writer.publish([group])
    end = time.perf_counter() + seconds

    def work(number: int) -> None:
        while (begin := time.perf_counter()) < end:
            writers[number].publish([groups[number]])
            waits.append(time.perf_counter() - begin)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(workers)]
    started, cpu = time.perf_counter(), time.process_time()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    elapsed, cpu = time.perf_counter() - started, time.process_time() - cpu
    for writer in writers:
        writer.close()
    rates = {"events_per_s": len(waits) * events / elapsed, "cpu_us_per_event": cpu / len(waits) / events * 1e6}
    return rates | percentiles_ms(waits)


def read(server: KafkaServer, events: int) -> dict[str, float]:
    """A backlog from its first slice to its last; then commits, one after the other."""
    kafka = opened(server, server.make_topic(partitions=12))
    writer, group = kafka.writer(), batch(1000, 100)
    for _ in range(events // 1000):
        writer.publish([group])
    writer.close()
    reader = kafka.reader()
    owned: list[Assigned] = []
    read = slices = 0
    started, cpu = time.perf_counter(), time.process_time()
    while read < events:
        happened = reader.poll(0.2, 20_000, 16 << 20)
        if isinstance(happened, Assigned):
            owned.append(happened)
            started, cpu = time.perf_counter(), time.process_time()
        elif isinstance(happened, Slice):
            read += len(happened.values)
            slices += 1
    elapsed, cpu = time.perf_counter() - started, time.process_time() - cpu
    begin = time.perf_counter()
    for _ in range(100):
        reader.commit(owned[0].progress.partition, owned[0].epoch, 1, Counts(stored=1))
    commit_s = (time.perf_counter() - begin) / 100
    reader.close()
    return {
        "events_per_s": read / elapsed,
        "cpu_us_per_event": cpu / read * 1e6,
        "events_per_slice": read / slices,
        "commit_ms": commit_s * 1e3,
    }


def main() -> None:
    asked = arguments(__doc__ or "")
    with (
        tempfile.TemporaryDirectory(prefix="parsec-bench-") as directory,
        kafka_server(Path(directory), quick_start=False) as server,
    ):
        rows = {
            "publish {} events, {} workers, {} tenants, {}".format(*shape): medians(
                [published(server, shape, asked.seconds) for _ in range(asked.runs)]
            )
            for shape in SHAPES
        }
        rows["read, 12 partitions"] = medians([read(server, 500_000) for _ in range(asked.runs)])
    publish(rows, asked.json)


if __name__ == "__main__":
    main()
