"""Kafka's driver in memory: a cluster that takes, refuses or ignores what it is told to, and never sleeps.

It stands where the driver's classes are imported; everything above it is the real code.
"""

import enum
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from parsec.adapters.kafka import producer, topic, writer
from parsec.adapters.kafka.cluster import KafkaCluster
from parsec.adapters.kafka.config import KafkaOptions
from parsec.core.clock import Random, SystemRandom
from tests.support.manual_clock import ManualClock

TOPIC_ID = "WsNwmiV/TN2GRiWPsUUC+A"


class Silence(enum.Enum):
    """Fates of a message of which nothing is heard: it did not arrive, or it is written."""

    NOT_THERE = enum.auto()
    WRITTEN = enum.auto()


Fate = KafkaError | Silence


class Written(msgspec.Struct, frozen=True):
    """A message in the topic."""

    key: str
    value: bytes
    marked: bool


class FakeCluster:
    """`fates`: of the next attempts with this value, in order; then it is taken. `attempts`: messages handed over."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.clock = ManualClock()
        self.written: list[Written] = []
        self.fates: dict[bytes, list[Fate]] = {}
        self.attempts: list[bytes] = []
        self.calls: list[str] = []
        self.producers = 0
        self.away = False
        self.has_topic = True
        self.no_topics: KafkaError | None = None
        self.begins: dict[int, int] = {}
        self.ends: dict[int, int] = {0: 0}
        self.committed: dict[int, int] = {}
        self.unstable: set[int] = set()
        self.max_message_bytes = 1_048_588
        self.largest_batch = 1000
        self.forgotten = False
        monkeypatch.setattr(producer, "Producer", lambda config: _Producer(self, config))
        monkeypatch.setattr(topic, "AdminClient", lambda _: _Admin(self))
        monkeypatch.setattr(topic, "Consumer", lambda _: _OffsetsConsumer(self))
        monkeypatch.setattr(topic, "time", SimpleNamespace(sleep=self.clock.advance))
        monkeypatch.setattr(writer, "threading", SimpleNamespace(Event=lambda: _Event(self.clock)))

    def opened(self, random: Random | None = None, **options: Any) -> KafkaCluster:
        wanted = KafkaOptions(brokers="nowhere:1", topic="t", **options)
        return KafkaCluster(wanted, self.clock, random or SystemRandom())

    def values(self) -> list[bytes]:
        return [message.value for message in self.written]

    def take(self, key: str, value: bytes, headers: Mapping[str, object] | None) -> Fate | None:
        self.attempts.append(value)
        fates = self.fates.get(value)
        fate: Fate | None = fates.pop(0) if fates else None
        if self.away:
            return Silence.NOT_THERE
        if fate is None or fate is Silence.WRITTEN:
            self.written.append(Written(key, value, bool(headers)))
        return fate


def kafka_error(code: int, *, fatal: bool = False) -> KafkaError:
    return KafkaError(code, "", fatal)


class _Event(threading.Event):
    """Waiting for it takes the clock's time."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__()
        self._clock = clock

    def wait(self, timeout: float | None = None) -> bool:
        if not self.is_set() and timeout is not None:
            self._clock.advance(timeout)
        return self.is_set()


class _Producer:
    def __init__(self, cluster: FakeCluster, config: Mapping[str, Any]) -> None:
        self._cluster = cluster
        self._report: Callable[[KafkaError, Any], None] = config["on_delivery"]
        self._open: list[bytes] = []
        self._purged = False
        self._reports: list[tuple[KafkaError, bytes]] = []
        cluster.producers += 1

    def produce_batch(self, _: str, messages: Sequence[Mapping[str, Any]]) -> int:
        for message in messages:
            if len(messages) > self._cluster.largest_batch:
                self._reports.append((kafka_error(KafkaError.RECORD_LIST_TOO_LARGE), message["value"]))
            else:
                self.produce("", message["value"], message["key"])
        return len(messages)

    def produce(self, _: str, value: bytes, key: str, headers: Mapping[str, object] | None = None) -> None:
        fate = self._cluster.take(key, value, headers)
        if isinstance(fate, KafkaError):
            self._reports.append((fate, value))
        elif fate is not None:
            self._open.append(value)

    def flush(self, timeout: float) -> int:
        if self._purged:
            self._reports += [(kafka_error(KafkaError._PURGE_INFLIGHT), value) for value in self._open]
            self._open.clear()
            self._purged = False
        reports, self._reports = self._reports, []
        for error, value in reports:
            self._report(error, SimpleNamespace(value=lambda value=value: value))
        if self._open:
            self._cluster.clock.advance(timeout)
        return len(self._open)

    def purge(self, *, blocking: bool) -> None:
        assert not blocking
        self._purged = True

    def close(self) -> None:
        self._cluster.calls.append("closed a producer")

    def __len__(self) -> int:
        return len(self._open)


class _Admin:
    def __init__(self, cluster: FakeCluster) -> None:
        self._cluster = cluster

    def describe_topics(self, topics: Any, *, request_timeout: float) -> dict[str, Future[Any]]:
        cluster = self._cluster
        cluster.calls.append("described the topic")
        error = None if cluster.has_topic else kafka_error(KafkaError.UNKNOWN_TOPIC_OR_PART)
        told = SimpleNamespace(topic_id=TOPIC_ID, partitions=list(cluster.ends))
        return {name: self._answer(told, error, request_timeout) for name in topics.topic_names}

    def describe_configs(self, resources: Sequence[Any], *, request_timeout: float) -> dict[Any, Future[Any]]:
        told = {"max.message.bytes": SimpleNamespace(value=str(self._cluster.max_message_bytes))}
        return {resource: self._answer(told, None, request_timeout) for resource in resources}

    def create_topics(self, topics: Sequence[Any], *, request_timeout: float) -> dict[str, Future[Any]]:
        refusal = self._cluster.no_topics
        self._cluster.has_topic = refusal is None
        return {topic.topic: self._answer(None, refusal, request_timeout) for topic in topics}

    def poll(self, _: float) -> None:
        """Nothing to say."""

    def _answer(self, result: object, error: KafkaError | None, timeout_s: float) -> Future[Any]:
        future: Future[Any] = Future()
        if self._cluster.away:
            self._cluster.clock.advance(timeout_s)
            error = kafka_error(KafkaError._TIMED_OUT)
        if error is not None:
            future.set_exception(KafkaException(error))
        else:
            future.set_result(result)
        return future


class _OffsetsConsumer:
    def __init__(self, cluster: FakeCluster) -> None:
        self._cluster = cluster

    def offsets_for_times(self, places: Sequence[TopicPartition], *, timeout: float) -> list[TopicPartition]:
        self._answer(timeout)
        if self._cluster.forgotten:
            raise KafkaException(kafka_error(KafkaError._UNKNOWN_PARTITION))
        wanted = {-1: self._cluster.ends, -2: dict.fromkeys(self._cluster.ends, 0) | self._cluster.begins}
        return [TopicPartition(p.topic, p.partition, wanted[p.offset][p.partition]) for p in places]

    def committed(self, places: Sequence[TopicPartition], timeout: float) -> list[SimpleNamespace]:
        self._answer(timeout)
        known, unstable = self._cluster.committed, self._cluster.unstable
        error = kafka_error(KafkaError.UNSTABLE_OFFSET_COMMIT)
        return [
            SimpleNamespace(
                partition=n, offset=known.get(n, -1001), metadata=None, error=error if n in unstable else None
            )
            for n in (place.partition for place in places)
        ]

    def poll(self, _: float) -> None:
        """Nothing to say."""

    def list_topics(self, _: str, timeout: float) -> None:
        self._answer(timeout)
        self._cluster.forgotten = False

    def close(self) -> None:
        self._cluster.calls.append("closed the offsets consumer")

    def _answer(self, timeout_s: float) -> None:
        if self._cluster.away:
            self._cluster.clock.advance(timeout_s)
            raise KafkaException(kafka_error(KafkaError._TIMED_OUT))
