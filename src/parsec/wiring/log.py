"""The log as the settings want it, opened: what the rest of a process needs of it, whichever it is.

In: settings. Out: writers, a reader, threads to run. Errors: Fatal with what to do about it.
Next: parsec.adapters.log.embedded or parsec.wiring.log.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import msgspec

from parsec.adapters.kafka.cluster import KafkaCluster
from parsec.adapters.kafka.config import KafkaOptions, Security
from parsec.adapters.kafka.monitor import KafkaHealth
from parsec.adapters.log.embedded import EmbeddedLog, LogOptions
from parsec.adapters.log.lock import DirectoryLock
from parsec.adapters.spool.spool import DiskSpool, NoSpool, Spool
from parsec.core.clock import Clock, Random
from parsec.loading import parse_pairs
from parsec.ports.broker import READER, LogReader, LogWriter, Progress
from parsec.settings import Settings
from parsec.telemetry import Telemetry


class Loop(msgspec.Struct, frozen=True):
    """A thread that the log needs. `run` returns soon after the event is set."""

    name: str
    run: Callable[[threading.Event], None]


class LogHandle(msgspec.Struct, frozen=True, kw_only=True):
    """One per process. Every callable but `close` is quick and may be called from any thread.

    `ends`: the time at which they were asked for, and the next offset of each partition; None: not known. `committed`:
    what the group as a whole has done, None where only the processor of this process knows; `progress`: the same with
    its counts. `waiting`: events on this machine that the log does not have yet. `contact`: None where there is nobody
    to lose contact with. `hurry`: the process ends, so the reader waits no more for a broker that is away.
    """

    writers: Sequence[LogWriter]
    reader: LogReader | None
    ends: Callable[[], tuple[int, Mapping[int, int]] | None]
    committed: Callable[[], Mapping[int, int]] | None = None
    progress: Callable[[], Mapping[int, Progress]] | None = None
    max_event_bytes: Callable[[int], int] = lambda wanted: wanted
    size_bytes: Callable[[], int] = lambda: 0
    waiting: Callable[[], int] = lambda: 0
    contact: Callable[[], KafkaHealth] | None = None
    hurry: Callable[[], None] = lambda: None
    loops: Sequence[Loop] = ()
    close: Callable[[], None]

    def refuses(self) -> str | None:
        """Why no event can be taken in now."""
        return self.writers[0].refuses() if self.writers else "this process takes no events (PARSEC_ROLE)"


def open_embedded(settings: Settings, clock: Clock, telemetry: Telemetry) -> LogHandle:
    """The log of this process alone. Raises Fatal."""
    options = LogOptions(
        segment_bytes=settings.segment_bytes,
        max_bytes=settings.log_max_bytes,
        retention_s=settings.log_retention,
        disk_reserve=settings.disk_reserve,
    )
    log = EmbeddedLog.open(Path(settings.data_dir), options, clock, telemetry)

    def ends() -> tuple[int, Mapping[int, int]]:
        now_ns = clock.time_ns()  # before the end is read, so that none of that time is missing in it
        return now_ns, {0: log.end}

    return LogHandle(
        writers=[log], reader=log.reader(READER), ends=ends, size_bytes=lambda: log.size_bytes, close=log.close
    )


SMALLEST_SEGMENT, LARGEST_SEGMENT = 1 << 16, 32 << 20


def open_kafka(
    settings: Settings, clock: Clock, random: Random, telemetry: Telemetry, *, ingest: bool = True, process: bool = True
) -> LogHandle:
    """`ingest`, `process`: whether this process writes, and whether it reads. Raises Fatal."""
    kafka = KafkaCluster(_kafka_options(settings), clock, random)
    kafka.ensure_topic()
    # Only with the driver installed; `Kafka` has said so if it is not.
    from parsec.adapters.kafka.monitor import KafkaMonitor
    from parsec.adapters.spool.drain import Drain
    from parsec.adapters.spool.writer import SpoolingWriter

    with ExitStack() as opened:
        opened.callback(kafka.close)
        if process and settings.storage_backend == "embedded":
            opened.callback(DirectoryLock.acquire(Path(settings.data_dir)).release)
        watch = KafkaMonitor(kafka, clock)
        loops = [Loop("kafka", watch.run)]
        writers: list[SpoolingWriter] = []
        spool: Spool = NoSpool()
        if ingest and settings.spool:
            spool = DiskSpool(Path(settings.data_dir) / "spool", _spool_options(settings), clock, telemetry)
            opened.callback(spool.close)
            drain = Drain(spool, kafka.writer(), kafka.breaker, settings.spool_drain_rate, telemetry, clock)
            loops.append(Loop("drain", drain.run))
        for _ in range(settings.kafka_pool if ingest else 0):
            writers.append(SpoolingWriter(kafka.writer(), spool, kafka.breaker))
            opened.callback(writers[-1].close)
        reader = kafka.reader() if process else None
        if reader is not None:
            opened.callback(reader.close)
        close = opened.pop_all().close

    return LogHandle(
        writers=writers,
        reader=reader,
        ends=lambda: (watch.group_offsets.at_ns, watch.group_offsets.ends) if watch.group_offsets else None,
        committed=lambda: watch.group_offsets.committed if watch.group_offsets else {},
        progress=lambda: watch.group_offsets.progress if watch.group_offsets else {},
        max_event_bytes=kafka.max_event_bytes,
        size_bytes=lambda: spool.size_bytes,
        waiting=lambda: spool.waiting,
        contact=kafka.breaker.health,
        hurry=reader.begin_shutdown if reader is not None else lambda: None,
        loops=loops,
        close=close,
    )


def _kafka_options(settings: Settings) -> KafkaOptions:
    return KafkaOptions(
        brokers=settings.kafka_brokers,
        topic=settings.kafka_topic,
        group=settings.kafka_group,
        compression=settings.kafka_compression,
        partitions=settings.topic_partitions,
        replication=settings.topic_replication,
        attempts=settings.publish_retries,
        deadline_s=settings.publish_deadline,
        security=Security(
            tls=settings.kafka_tls,
            ca_file=settings.kafka_ca,
            certificate_file=settings.kafka_certificate,
            key_file=settings.kafka_key,
            mechanism=settings.kafka_sasl,
            user=settings.kafka_user,
            password=settings.kafka_password,
        ),
        extra=parse_pairs(settings.kafka_options),
    )


def _spool_options(settings: Settings) -> LogOptions:
    return LogOptions(
        segment_bytes=max(SMALLEST_SEGMENT, min(LARGEST_SEGMENT, settings.spool_max_bytes // 8)),
        max_bytes=settings.spool_max_bytes,
        retention_s=0.0,
        disk_reserve=settings.disk_reserve,
        bounded_by="PARSEC_SPOOL_MAX_BYTES",
    )
