"""Configure librdkafka: our values where a promise depends on them, the operator's everywhere else.

In: KafkaOptions. Out: one configuration each for a producer, a consumer and the admin client. Errors: Fatal for an
option of PARSEC_KAFKA_OPTIONS that would break a promise. Next: parsec.adapters.kafka.topic.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import structlog

from parsec.core.errors import Fatal

_log = structlog.get_logger(__name__)

Config = dict[str, Any]

MAX_POLL_INTERVAL_S = 300.0
SESSION_TIMEOUT_MS = 10_000
"""How long the partitions of a killed member wait for another owner; librdkafka's default is 45 s."""
METADATA_REFRESH_MS = 5_000
"""How soon a client learns of partitions that were added; the group then assigns them within some more seconds."""
_REPEAT_S = 10.0

OURS = {
    "bootstrap.servers": "KAFKA_BROKERS sets it",
    "group.id": "KAFKA_CONSUMER_GROUP sets it",
    "compression.type": "KAFKA_COMPRESSION sets it",
    "compression.codec": "KAFKA_COMPRESSION sets it",
    "acks": "an event is acknowledged when all replicas in sync have it",
    "request.required.acks": "an event is acknowledged when all replicas in sync have it",
    "enable.idempotence": "retries of the driver must not write an event twice",
    "partitioner": "a tenant's events stay in one partition, the same as with other clients",
    "transactional.id": "Parsec does not use transactions",
    "delivery.report.only.error": "the writer depends on it",
    "enable.auto.commit": "offsets are committed when their events are stored",
    "enable.auto.offset.store": "offsets are committed when their events are stored",
    "auto.offset.reset": "offsets that are gone are counted as lost, never skipped silently",
    "enable.partition.eof": "offsets without a record at the end of a partition are counted",
    "partition.assignment.strategy": "the reader needs the cooperative protocol",
    "log.queue": "the driver's log lines go to Parsec's log",
}
"""Options that PARSEC_KAFKA_OPTIONS may not change, and why."""


class KafkaOptions(msgspec.Struct, frozen=True, kw_only=True):
    """All options for Kafka. `attempts` and `deadline_s` bound one publish, whichever comes first: with a spool behind
    it a request need not wait long. `extra`: options of librdkafka, TLS and SASL among them."""

    brokers: str
    topic: str = "log-events"
    group: str = "parsec-processor"
    compression: str = "snappy"
    partitions: int = 12
    replication: int = -1
    attempts: int = 3
    deadline_s: float = 2.0
    extra: Mapping[str, str] = {}


def producer(options: KafkaOptions) -> Config:
    """For one worker. It is polled only while it publishes, so log lines would pile up in between."""
    return _client(options) | {
        "enable.idempotence": True,
        "acks": "all",
        "compression.type": options.compression,
        "partitioner": "murmur2",
        "delivery.report.only.error": True,
        "message.max.bytes": 1_000_000_000,  # the topic's limit applies, not the driver's default
        "log_level": 0,
    }


def consumer(options: KafkaOptions) -> Config:
    """For the processor. Prefetches few records: the answer to a commit queues behind them."""
    config = _client(options) | {
        "group.id": options.group,
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "auto.offset.reset": "error",
        "enable.partition.eof": True,
        "logger": DriverLog(),
    }
    config.setdefault("queued.max.messages.kbytes", 1 << 10)
    config.setdefault("fetch.queue.backoff.ms", 5)  # by default a full queue stops fetching for a second
    config.setdefault("fetch.message.max.bytes", 1 << 20)
    if config.get("group.protocol") != "consumer":  # with that protocol the broker decides both
        config["partition.assignment.strategy"] = "cooperative-sticky"
        config.setdefault("session.timeout.ms", SESSION_TIMEOUT_MS)
    return config


def admin(options: KafkaOptions) -> Config:
    """For requests about the topic; one per process."""
    return _client(options) | {"logger": DriverLog()}


def max_poll_interval_s(options: KafkaOptions) -> float:
    """How long the group waits for a reader that does not poll before it takes its partitions."""
    return float(options.extra.get("max.poll.interval.ms", MAX_POLL_INTERVAL_S * 1000)) / 1000


def _client(options: KafkaOptions) -> Config:
    for name in options.extra:
        if name in OURS:
            raise Fatal(f"PARSEC_KAFKA_OPTIONS must not set {name}: {OURS[name]}. Remove it")
    return {
        "client.id": "parsec", "reconnect.backoff.ms": 100, "reconnect.backoff.max.ms": 1000,
        "topic.metadata.refresh.interval.ms": METADATA_REFRESH_MS, **options.extra,
        "bootstrap.servers": options.brokers,
    }  # fmt: skip


class DriverLog:
    """librdkafka's logger: each kind of line at most once in 10 s, because it repeats some twenty times a second."""

    def __init__(self, now: Callable[[], float] = time.monotonic, log: Any = _log) -> None:
        self._now = now
        self._log = log
        self._logged_at: dict[str, float] = {}

    def log(self, level: int, text: str, *parts: object) -> None:
        """As logging.Logger.log; `parts` are the kind of line, the client's name and the line itself."""
        kind = str(parts[0]) if parts else text
        now = self._now()
        if kind == "CONFWARN" or now - self._logged_at.get(kind, float("-inf")) < _REPEAT_S:
            return  # CONFWARN: an option for consumers was given to a producer, or the other way round
        self._logged_at[kind] = now
        write = self._log.warning if level >= 30 else self._log.info
        write("Message of the Kafka client.", kind=kind, line=str(parts[-1]) if parts else text)
