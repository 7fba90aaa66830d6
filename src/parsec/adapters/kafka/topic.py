"""The topic: created when missing, its id, size limit, partition bounds and the group's progress on them.

In: requests from writers, reader and monitor, on any thread. Out: what the cluster answered. Errors: Retryable while
the cluster does not answer, Fatal from `ensure` when the topic cannot be created.
Next: parsec.adapters.kafka.writer and parsec.adapters.kafka.reader.

Limit: an answer is one broker's view of the metadata, which may be some milliseconds older than another's.

Offsets, the group's included, are read with a consumer that never joins the group. The admin client may abort the
process when a request to a group's coordinator times out (librdkafka 2.16, its issue 4605), so it asks no coordinator.
"""

import time
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import suppress
from typing import Any

import msgspec
import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic  # type: ignore[attr-defined]

from parsec.adapters.kafka import config
from parsec.adapters.kafka.commit_metadata import OffsetBounds, decode_progress
from parsec.adapters.kafka.config import KafkaOptions
from parsec.adapters.kafka.errors import describe, error_of, rejected_options, to_parsec_error
from parsec.adapters.kafka.hang_detector import SharedClient
from parsec.adapters.kafka.monitor import CircuitBreaker
from parsec.core.clock import Clock
from parsec.core.errors import Fatal, Retryable
from parsec.ports.broker import Progress

_log = structlog.get_logger(__name__)

MESSAGE_OVERHEAD_BYTES = 512
"""More than a record batch with one record, its key and header take in addition to the event."""
DEFAULT_MAX_MESSAGE_BYTES = 1_048_588
RECONNECT_AFTER_S = 10.0
_NO_ID = "A" * 22
_ENSURE_ATTEMPTS, _ENSURE_PAUSE_S = 40, 0.05
_EARLIEST, _LATEST = -2, -1
"""Kafka's special timestamps: the first offset that is held, and the next to be written."""
_TRY_AGAIN = (KafkaError._TIMED_OUT, KafkaError._TRANSPORT, KafkaError.REQUEST_TIMED_OUT, KafkaError.NOT_CONTROLLER)


class TopicInfo(msgspec.Struct, frozen=True):
    """The topic as the cluster described it."""

    log_id: str
    partitions: int
    max_message_bytes: int

    @property
    def max_event_bytes(self) -> int:
        """The largest encoded event that the topic takes, however badly it compresses."""
        return max(self.max_message_bytes - MESSAGE_OVERHEAD_BYTES, 0)


class _Clients(msgspec.Struct, frozen=True):
    admin: AdminClient
    offsets: Consumer


class KafkaTopic:
    """One per process."""

    def __init__(self, options: KafkaOptions, breaker: CircuitBreaker, clock: Clock) -> None:
        """Connects in the background. Raises Fatal for options that librdkafka does not know."""
        self._options = options
        self._clock = clock
        self._breaker = breaker
        self._failing = f"asking Kafka about the topic {options.topic} failed"
        self._silent_since: dict[str, float] = {}
        self._clients = self._connect()
        self.info: TopicInfo | None = None
        """From the last `ensure`; None before it succeeded."""

    def _connect(self) -> SharedClient[_Clients]:
        try:
            clients = _Clients(AdminClient(config.admin(self._options)), Consumer(config.consumer(self._options)))
        except KafkaException as error:
            raise rejected_options(error) from error
        return SharedClient(clients, lambda clients: clients.offsets.close())

    @property
    def name(self) -> str:
        return self._options.topic

    def ensure(self, timeout_s: float) -> TopicInfo:
        """Describes the topic and creates it when it is missing. Each request blocks up to timeout_s."""
        created = False
        for _ in range(_ENSURE_ATTEMPTS):
            try:
                description = self._describe(timeout_s)
                self.info = TopicInfo(
                    log_id(description), len(description.partitions), self._max_message_bytes(timeout_s)
                )
            except KafkaException as error:
                if error_of(error).code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                    raise self._unanswered(error) from error
                if not created:
                    self._create(timeout_s)
                created = True
                time.sleep(_ENSURE_PAUSE_S)  # a broker learns of a new topic a moment after the controller
            else:
                self._breaker.probe_succeeded()
                return self.info
        raise Retryable(f"the topic {self.name} was created and is not visible yet")

    def probe(self, timeout_s: float) -> None:
        """Tells the breaker whether Kafka answers, and connects again after a long silence. To be called regularly."""
        try:
            self.ensure(timeout_s)
            self._silent_since.pop("topic", None)
        except Retryable as error:
            self._breaker.probe_failed(str(error))
            self._mark_silent("topic")
        except Fatal as error:
            self._breaker.probe_failed(str(error), needs_help=True)
        self._reconnect_if_silent()

    def _mark_silent(self, client: str) -> None:
        self._silent_since.setdefault(client, self._clock.monotonic())

    def _reconnect_if_silent(self) -> None:
        """A client that lost its last broker at a bad moment may never find it again (librdkafka 2.16)."""
        if self._clock.monotonic() - min(self._silent_since.values(), default=float("inf")) < RECONNECT_AFTER_S:
            return
        _log.info("Kafka does not answer the client that monitors the topic; it reconnects.", topic=self.name)
        old, self._clients = self._clients, self._connect()
        self._silent_since = {}
        old.close(0.0)

    def log_id(self, timeout_s: float) -> str:
        """The id of the topic that has this name now. Raises Retryable, also when there is none."""
        try:
            return log_id(self._describe(timeout_s))
        except KafkaException as error:
            raise self._unanswered(error) from error

    def bounds(self, partitions: Iterable[int], timeout_s: float) -> dict[int, OffsetBounds]:
        """Bounds of the partitions that have a leader. Raises Retryable when none has."""
        wanted = list(partitions)
        lows, highs = self._offsets(wanted, _EARLIEST, timeout_s), self._offsets(wanted, _LATEST, timeout_s)
        return {
            partition: OffsetBounds(low.offset, highs[partition].offset, low.leader_epoch)
            for partition, low in lows.items()
            if partition in highs
        }

    def ends(self, timeout_s: float) -> dict[int, int]:
        """The next offset of each partition that has a leader. Raises Retryable, also before `ensure` succeeded."""
        found = self._offsets(range(self._known().partitions), _LATEST, timeout_s)
        return {partition: place.offset for partition, place in found.items()}

    def progress(self, timeout_s: float) -> dict[int, Progress]:
        """The group's progress on every partition; without a commit, at the first offset that is held, or at 0 while
        the partition has no leader.

        All partitions or none: a partition left out would be taken for a new one. Raises Retryable.
        """
        topic = self._known()
        partitions = range(topic.partitions)
        try:
            with self._clients.borrow() as clients:
                commits = clients.offsets.committed(self._places(partitions), timeout_s)
        except KafkaException as error:
            raise self._unanswered(error) from error
        failed = next((each.error for each in commits if each.error is not None), None)
        if failed is not None:
            raise to_parsec_error(failed, self._failing)
        lows = {partition: low.offset for partition, low in self._offsets(partitions, _EARLIEST, timeout_s).items()}
        return {
            each.partition: decode_progress(
                topic.log_id, each.partition, each.offset, each.metadata, lows.get(each.partition, 0)
            )
            for each in commits
        }

    def close(self) -> None:
        self._clients.close()

    def _known(self) -> TopicInfo:
        if self.info is None:
            raise Retryable(f"the topic {self.name} has not been described yet")
        return self.info

    def _offsets(self, partitions: Collection[int], which: int, timeout_s: float) -> dict[int, TopicPartition]:
        try:
            with self._clients.borrow() as clients:
                clients.offsets.poll(0)  # serves the driver's log lines; nothing is assigned to this consumer
                places = clients.offsets.offsets_for_times(self._places(partitions, which), timeout=timeout_s)
        except KafkaException as error:
            self._refresh_leaders(error_of(error), timeout_s)
            raise self._unanswered(error) from error
        found = {place.partition: place for place in places if place.error is None and place.offset >= 0}
        failed = next((place.error for place in places if place.error is not None), None)
        if failed is not None and not found:
            self._refresh_leaders(failed, timeout_s)
            raise to_parsec_error(failed, self._failing)
        self._silent_since.pop("offsets", None)
        return found

    def _refresh_leaders(self, error: KafkaError, timeout_s: float) -> None:
        """The driver remembers for many minutes that a topic had no leader; asking for its metadata ends that."""
        self._mark_silent("offsets")
        if error.code() == KafkaError._UNKNOWN_PARTITION:
            with suppress(KafkaException, Retryable), self._clients.borrow() as clients:
                clients.offsets.list_topics(self.name, timeout_s)

    def _places(self, partitions: Collection[int], offset: int = -1001) -> list[TopicPartition]:
        return [TopicPartition(self.name, partition, offset) for partition in partitions]

    def _describe(self, timeout_s: float) -> Any:
        topics = TopicCollection([self.name])
        return self._result(
            lambda admin: admin.describe_topics(topics, request_timeout=timeout_s)[self.name], timeout_s
        )

    def _create(self, timeout_s: float) -> None:
        options = self._options
        wanted = NewTopic(self.name, options.partitions, options.replication)
        try:
            self._result(lambda admin: admin.create_topics([wanted], request_timeout=timeout_s)[self.name], timeout_s)
        except KafkaException as error:
            code = error_of(error).code()
            if code == KafkaError.TOPIC_ALREADY_EXISTS:
                return  # another process was faster
            if code in _TRY_AGAIN:
                raise self._unanswered(error) from error
            raise Fatal(
                f"the topic {self.name} does not exist and cannot be created ({options.partitions} partitions, "
                f"replication factor {options.replication}): {describe(error_of(error))}. Create it by hand, or set "
                "PARSEC_TOPIC_PARTITIONS and PARSEC_TOPIC_REPLICATION to what the cluster allows"
            ) from error
        _log.info("Created the topic.", topic=self.name, partitions=options.partitions)

    def _max_message_bytes(self, timeout_s: float) -> int:
        """Kafka's default for a user who may not read the topic's configuration."""
        resource = ConfigResource(ConfigResource.Type.TOPIC, self.name)
        try:
            configs = self._result(
                lambda admin: admin.describe_configs([resource], request_timeout=timeout_s)[resource], timeout_s
            )
            return int(configs["max.message.bytes"].value)
        except KafkaException as error:
            if error_of(error).code() != KafkaError.TOPIC_AUTHORIZATION_FAILED:
                raise
            return DEFAULT_MAX_MESSAGE_BYTES

    def _result(self, request: Callable[[Any], Any], timeout_s: float) -> Any:
        with self._clients.borrow() as clients:
            try:
                return request(clients.admin).result(timeout_s + 1)
            except FutureTimeout as error:
                raise Retryable(f"{self._failing}: Kafka did not answer in time") from error
            finally:
                clients.admin.poll(0)

    def _unanswered(self, exception: KafkaException) -> Retryable | Fatal:
        return to_parsec_error(error_of(exception), self._failing)


def log_id(description: Any) -> str:
    """The topic's id as Kafka's own tools write it; the driver writes two of the 64 characters differently."""
    text = str(description.topic_id).replace("+", "-").replace("/", "_")
    if text == _NO_ID:
        raise Fatal("this Kafka gives topics no ids; Parsec needs Kafka 2.8 or newer")
    return text
