"""Kafka as the settings want it: a topic that is there, writers with a spool behind them, a member of the group.

In: settings. Out: Opened. Errors: Fatal when the driver is missing, the topic cannot be made, or no spool opens; Kafka
being away is no error. Next: parsec.adapters.broker.spool_writer.
"""

from contextlib import ExitStack
from pathlib import Path

from parsec.adapters.broker.embedded import LogOptions
from parsec.adapters.broker.kafka import Kafka
from parsec.adapters.broker.kafka_settings import options_of
from parsec.adapters.broker.lock import DirectoryLock
from parsec.adapters.broker.opened import Loop, Opened
from parsec.adapters.broker.spool import DiskSpool, NoSpool, Spool
from parsec.core.clock import Clock, Random
from parsec.settings import Settings
from parsec.telemetry import Telemetry

SMALLEST_SEGMENT, LARGEST_SEGMENT = 1 << 16, 32 << 20


def open_kafka(
    settings: Settings, clock: Clock, random: Random, telemetry: Telemetry, *, ingest: bool = True, process: bool = True
) -> Opened:
    """`ingest`, `process`: whether this process writes, and whether it reads. Raises Fatal."""
    kafka = Kafka(options_of(settings), clock, random)
    kafka.check()
    # Only with the driver installed; `Kafka` has said so if it is not.
    from parsec.adapters.broker.kafka_watch import Watch
    from parsec.adapters.broker.spool_drain import Drain
    from parsec.adapters.broker.spool_writer import SpoolingWriter

    with ExitStack() as opened:
        opened.callback(kafka.close)
        if process and settings.storage_backend == "embedded":
            opened.callback(DirectoryLock.acquire(Path(settings.data_dir)).release)
        watch = Watch(kafka, clock)
        loops = [Loop("kafka", watch.run)]
        writers: list[SpoolingWriter] = []
        spool: Spool = NoSpool()
        if ingest and settings.spool:
            spool = DiskSpool(Path(settings.data_dir) / "spool", _spool_options(settings), clock, telemetry)
            opened.callback(spool.close)
            drain = Drain(spool, kafka.writer(), kafka.pulse, settings.spool_drain_rate, telemetry, clock)
            loops.append(Loop("drain", drain.run))
        for _ in range(settings.kafka_pool if ingest else 0):
            writers.append(SpoolingWriter(kafka.writer(), spool, kafka.pulse))
            opened.callback(writers[-1].close)
        reader = kafka.reader() if process else None
        if reader is not None:
            opened.callback(reader.close)
        close = opened.pop_all().close

    return Opened(
        writers=writers,
        reader=reader,
        ends=lambda: (watch.seen.at_ns, watch.seen.ends) if watch.seen else None,
        committed=lambda: watch.seen.committed if watch.seen else {},
        progress=lambda: watch.seen.progress if watch.seen else {},
        max_event_bytes=kafka.max_event_bytes,
        size_bytes=lambda: spool.size_bytes,
        waiting=lambda: spool.waiting,
        contact=kafka.pulse.state,
        hurry=reader.hurry if reader is not None else lambda: None,
        loops=loops,
        close=close,
    )


def _spool_options(settings: Settings) -> LogOptions:
    return LogOptions(
        segment_bytes=max(SMALLEST_SEGMENT, min(LARGEST_SEGMENT, settings.spool_max_bytes // 8)),
        max_bytes=settings.spool_max_bytes,
        retention_s=0.0,
        disk_reserve=settings.disk_reserve,
        bounded_by="PARSEC_SPOOL_MAX_BYTES",
    )
