"""A reader of Kafka as the processor uses it, for tests: polled until something happens, by several readers in turn."""

import time
from collections.abc import Callable, Mapping

from parsec.adapters.kafka.cluster import KafkaCluster
from parsec.adapters.kafka.config import KafkaOptions
from parsec.adapters.kafka.reader import KafkaReader
from parsec.adapters.kafka.writer import KafkaWriter
from parsec.core.clock import SystemClock, SystemRandom
from parsec.core.errors import Retryable
from parsec.ports.broker import Assigned, Group, Revoked, Slice
from tests.support.logs import group

SOON_S = 60.0
MANY, LARGE = 100_000, 1 << 24


def kafka(address: str, topic: str, *, deadline_s: float = 30.0, attempts: int = 3, **extra: str) -> KafkaCluster:
    """`extra`: options of librdkafka with `_` for `.`."""
    options = KafkaOptions(
        brokers=address,
        topic=topic,
        group=f"group-of-{topic}",
        partitions=1,
        attempts=attempts,
        deadline_s=deadline_s,
        extra={name.replace("_", "."): value for name, value in extra.items()},
    )
    return KafkaCluster(options, SystemClock(), SystemRandom())


def secured(address: str, topic: str, extra: Mapping[str, str], deadline_s: float = 30.0) -> KafkaCluster:
    options = KafkaOptions(brokers=address, topic=topic, partitions=1, deadline_s=deadline_s, extra=extra)
    return KafkaCluster(options, SystemClock(), SystemRandom())


class Reading:
    """One reader, and what it was told: the epoch of each partition it owns, and the records given under it."""

    def __init__(self, opened: KafkaCluster) -> None:
        self.reader: KafkaReader = opened.reader()
        self.owned: dict[int, Assigned] = {}
        self.begins: list[Assigned] = []
        self.ended: list[int] = []
        self.slices: list[Slice] = []
        self.troubles: list[Retryable] = []

    def turn(self, max_wait_s: float = 0.05) -> None:
        try:
            event = self.reader.poll(max_wait_s, MANY, LARGE)
        except Retryable as error:
            self.troubles.append(error)
            time.sleep(0.05)
            return
        match event:
            case Assigned():
                self.owned[event.progress.partition] = event
                self.begins.append(event)
            case Revoked():
                del self.owned[event.partition]
                self.ended.append(event.partition)
            case Slice():
                assert event.epoch == self.owned[event.partition].epoch
                self.slices.append(event)

    def values(self, log_id: str | None = None) -> list[bytes]:
        return [value for piece in self.slices if log_id in (None, piece.log_id) for value in piece.values]

    def lost(self) -> int:
        return sum(piece.lost for piece in self.slices)

    def at(self, partition: int = 0) -> int:
        """Where reading of a partition stands in its present epoch."""
        begin = self.owned[partition]
        mine = [p.next_offset for p in self.slices if (p.partition, p.epoch) == (partition, begin.epoch)]
        return mine[-1] if mine else begin.progress.committed


def until(done: Callable[[], bool], *readings: Reading) -> None:
    """Every reader takes its turn until `done`."""
    end = time.monotonic() + SOON_S
    while not done():
        assert time.monotonic() < end, [(r.owned, r.troubles[-1:], len(r.values())) for r in readings]
        for reading in readings:
            reading.turn()


def publish(writer: KafkaWriter, first: int, count: int) -> list[bytes]:
    """Events `first` and following, acknowledged; their bytes."""
    made: Group = group(first, count)
    writer.publish([made])
    return made.lines.splitlines()
