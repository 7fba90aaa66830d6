"""Open the log that the settings ask for: the embedded one, or Kafka with its spool.

In: settings. Out: a `LogHandle` with writers, a reader and the parts behind them. Errors: Fatal with what to do.
Next: parsec.adapters.log.embedded or parsec.adapters.kafka.cluster.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import msgspec

from parsec.adapters.kafka.cluster import KafkaCluster
from parsec.adapters.kafka.config import KafkaOptions
from parsec.adapters.log.embedded import EmbeddedLog, LogOptions
from parsec.adapters.log.lock import DirectoryLock
from parsec.adapters.spool.ledger import DIRECTORY, SpoolLedgers
from parsec.adapters.spool.spool import DiskSpool, NoSpool, Spool
from parsec.api.status import SpoolLedger
from parsec.core.held_directory import HeldDirectory
from parsec.loading import parse_pairs
from parsec.ports.broker import READER, KafkaHealth, LogReader, LogWriter, Progress
from parsec.service import Part, Resource
from parsec.settings import Settings
from parsec.wiring.runtime import Runtime

SEGMENT_BYTES, SPOOL_SEGMENT_BYTES, LEAST_SEGMENT_BYTES = 128 << 20, 32 << 20, 1 << 16
"""A log is trimmed by whole segments: small ones mean many files, large ones a log that shrinks late."""
KEPT_SHARE = 4
"""A quarter of the largest log is for events that are stored: 2 GiB by default."""
SEGMENTS = 8
"""At least so many make a full log."""


class LogHandle(msgspec.Struct, frozen=True, kw_only=True):
    """The log of a process. Every callable but `close` is quick and may be called from any thread.

    `refuses`: why no event can be accepted now, or None.
    `ends`: when it was asked for, and the next offset of each partition; None: unknown. `committed` and `progress`: of
    the whole consumer group; None where only the processor of this process knows. `waiting`: spooled events.
    `spool_refuses`: why an event that Kafka does not acknowledge would be refused now; None without a spool. `health`:
    Kafka's; None without Kafka. `begin_shutdown`: the reader no longer waits for a broker that does not answer.
    `held`: its directories. `lost_in_spools`: what the spools of this machine have lost.
    """

    writers: Sequence[LogWriter]
    reader: LogReader | None
    refuses: Callable[[], str | None]
    ends: Callable[[], tuple[int, Mapping[int, int]] | None]
    committed: Callable[[], Mapping[int, int]] | None = None
    progress: Callable[[], Mapping[int, Progress]] | None = None
    max_event_bytes: Callable[[int], int] = lambda wanted: wanted
    size_bytes: Callable[[], int] = lambda: 0
    lost_in_spools: Callable[[], Sequence[SpoolLedger]]
    waiting: Callable[[], int] = lambda: 0
    spool_refuses: Callable[[], str | None] | None = None
    health: Callable[[], KafkaHealth] | None = None
    begin_shutdown: Callable[[], None] = lambda: None
    held: Sequence[HeldDirectory] = ()
    parts: Sequence[Part]
    close: Callable[[], None]


def open_log(settings: Settings, runtime: Runtime) -> LogHandle:
    """Kafka with KAFKA_BROKERS, else the embedded log. Raises Fatal."""
    return open_kafka(settings, runtime) if settings.kafka_brokers else open_embedded(settings, runtime)


def open_embedded(settings: Settings, runtime: Runtime) -> LogHandle:
    """The log of this process alone. Raises Fatal."""
    options = LogOptions(
        segment_bytes=_segment_bytes(settings.log_max_bytes, SEGMENT_BYTES),
        max_bytes=settings.log_max_bytes,
        retention_s=settings.log_retention,
        kept_bytes=settings.log_max_bytes // KEPT_SHARE,
        disk_reserve=settings.disk_reserve,
    )
    log = EmbeddedLog.open(Path(settings.data_dir), options, runtime.clock, runtime.telemetry)

    def ends() -> tuple[int, Mapping[int, int]]:
        now_ns = runtime.clock.time_ns()  # before the end is read, so that none of that time is missing in it
        return now_ns, {0: log.end}

    return LogHandle(
        writers=[log], reader=log.reader(READER), refuses=log.refuses, ends=ends,
        size_bytes=lambda: log.size_bytes, lost_in_spools=_lost_in_spools(settings, runtime), held=[log.held],
        close=log.close, parts=[Resource("log", log.close), runtime.thread("log-check", log.watch)],
    )  # fmt: skip


def open_kafka(settings: Settings, runtime: Runtime) -> LogHandle:
    """Producers where this process ingests, a consumer where it processes. Raises Fatal."""
    kafka = KafkaCluster(_kafka_options(settings), runtime.clock, runtime.random)
    kafka.ensure_topic()
    # Only with the driver installed; `KafkaCluster` has said so if it is not.
    from parsec.adapters.kafka.monitor import KafkaMonitor
    from parsec.adapters.spool.drain import Drain
    from parsec.adapters.spool.writer import SpoolingWriter

    clock, telemetry = runtime.clock, runtime.telemetry
    ingest, process = "ingest" in settings.roles, "process" in settings.roles
    held: list[HeldDirectory] = []
    with ExitStack() as opened:
        opened.callback(kafka.close)
        if process and settings.storage_backend == "embedded":
            lock = DirectoryLock.acquire(Path(settings.data_dir))
            opened.callback(lock.release)
            held.append(lock.held)
        monitor = KafkaMonitor(kafka, clock)
        threads = [runtime.thread("kafka-monitor", monitor.run)]
        writers: list[SpoolingWriter] = []
        spool: Spool = NoSpool()
        if ingest and settings.spool:
            spool = DiskSpool(Path(settings.data_dir) / "spool", _spool_options(settings), clock, telemetry)
            opened.callback(spool.close)
            held.append(spool.held)
            threads.append(runtime.thread("spool-check", spool.watch))
            drain = Drain(spool, kafka.writer(), kafka.breaker, telemetry, clock)
            threads.append(runtime.thread("spool-drain", drain.run))
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
        refuses=writers[0].refuses if writers else lambda: "this process accepts no events (PARSEC_ROLE)",
        ends=lambda: (monitor.group_offsets.at_ns, monitor.group_offsets.ends) if monitor.group_offsets else None,
        committed=lambda: monitor.group_offsets.committed if monitor.group_offsets else {},
        progress=lambda: monitor.group_offsets.progress if monitor.group_offsets else {},
        max_event_bytes=kafka.max_event_bytes,
        size_bytes=lambda: spool.size_bytes,
        lost_in_spools=_lost_in_spools(settings, runtime),
        waiting=lambda: spool.waiting,
        spool_refuses=spool.refuses if ingest and settings.spool else None,
        health=kafka.breaker.health,
        held=held,
        begin_shutdown=reader.begin_shutdown if reader is not None else lambda: None,
        parts=[Resource("log", close), *threads],
        close=close,
    )


def _lost_in_spools(settings: Settings, runtime: Runtime) -> Callable[[], Sequence[SpoolLedger]]:
    """Also where this process has no spool now: it may have had one."""
    ledgers = SpoolLedgers(Path(settings.data_dir) / DIRECTORY, runtime.clock)
    if "ingest" in settings.roles and not (settings.kafka_brokers and settings.spool):
        ledgers.warn_of_unsent()
    return ledgers.losses


def _kafka_options(settings: Settings) -> KafkaOptions:
    extra = parse_pairs(settings.kafka_options)
    if settings.kafka_password:
        extra["sasl.password"] = settings.kafka_password
    return KafkaOptions(
        brokers=settings.kafka_brokers, topic=settings.kafka_topic, group=settings.kafka_group,
        compression=settings.kafka_compression, partitions=settings.topic_partitions,
        replication=settings.topic_replication, attempts=settings.publish_retries, extra=extra,
    )  # fmt: skip


def _spool_options(settings: Settings) -> LogOptions:
    return LogOptions(
        segment_bytes=_segment_bytes(settings.log_max_bytes, SPOOL_SEGMENT_BYTES),
        max_bytes=settings.log_max_bytes,
        retention_s=0.0,
        disk_reserve=settings.disk_reserve,
    )


def _segment_bytes(max_bytes: int, wanted: int) -> int:
    return max(LEAST_SEGMENT_BYTES, min(wanted, max_bytes // SEGMENTS))
