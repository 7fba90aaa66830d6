"""The topic as the cluster knows it: made when missing, its id, its bounds and the largest message it takes.

In: questions from writers, reader and health, from any thread. Out: facts that were true when the cluster answered.
Errors: Retryable while the cluster does not answer, Fatal from `ensure` when the topic cannot be made.
Next: parsec.adapters.kafka.writer and parsec.adapters.kafka.reader.

Limit: facts come from one broker's view of the metadata, which may be some milliseconds older than another's.

Offsets, the group's too, are asked for by a consumer that never joins a group. The admin client's questions to a
group's coordinator can end the process by an assertion when they time out (librdkafka 2.16, its issue 4605); what is
left to it goes to no coordinator.
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
from parsec.adapters.kafka.bounded_close import Shared
from parsec.adapters.kafka.commit_metadata import OffsetBounds, progress_from
from parsec.adapters.kafka.config import KafkaOptions
from parsec.adapters.kafka.errors import error_of, told, translated
from parsec.adapters.kafka.monitor import CircuitBreaker
from parsec.core.clock import Clock
from parsec.core.errors import Fatal, Retryable
from parsec.ports.broker import Progress

_log = structlog.get_logger(__name__)

MESSAGE_OVERHEAD_BYTES = 512
"""More than a record batch, its one record, key and header take beside the event itself."""
DEFAULT_MAX_MESSAGE_BYTES = 1_048_588
_NO_ID = "A" * 22
RENEW_AFTER_S = 10.0
_LOOKS, _LOOK_AGAIN_S = 40, 0.05
_EARLIEST, _LATEST = -2, -1
"""Instead of a time: the first offset that is held, and the next to be written."""


class TopicFacts(msgspec.Struct, frozen=True):
    """What the cluster said of the topic."""

    log_id: str
    partitions: int
    max_message_bytes: int

    @property
    def max_event_bytes(self) -> int:
        """The largest encoded event that the topic takes, however badly it compresses."""
        return max(self.max_message_bytes - MESSAGE_OVERHEAD_BYTES, 0)


class _Clients(msgspec.Struct, frozen=True):
    """Of the driver: one for questions about the topic, and a consumer that never joins for those about offsets."""

    admin: AdminClient
    asker: Consumer


class KafkaTopic:
    """One per process."""

    def __init__(self, options: KafkaOptions, pulse: CircuitBreaker, clock: Clock) -> None:
        """Connects in the background. Raises Fatal for options that librdkafka does not know."""
        self._options = options
        self._clock = clock
        self._pulse = pulse
        self._connect()
        self.facts: TopicFacts | None = None
        """As of the last `ensure`; None before it succeeded."""

    def _connect(self) -> None:
        try:
            made = _Clients(AdminClient(config.admin(self._options)), Consumer(config.consumer(self._options)))
        except KafkaException as error:
            raise Fatal(f"the settings for Kafka are wrong: {error_of(error).str()}") from error
        self._clients = Shared(made, lambda clients: clients.asker.close())
        self._silent_since: dict[str, float] = {}

    @property
    def name(self) -> str:
        return self._options.topic

    def ensure(self, timeout_s: float) -> TopicFacts:
        """Asks for the topic and makes it when it is missing. Each question blocks up to timeout_s."""
        made = False
        for _ in range(_LOOKS):
            try:
                facts = self._facts(timeout_s)
                break
            except KafkaException as error:
                if error_of(error).code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                    raise self._unanswered(error) from error
                if not made:
                    self._create(timeout_s)
                made = True
                time.sleep(_LOOK_AGAIN_S)  # a broker hears of a new topic a moment after the controller
        else:
            raise Retryable(f"the topic {self.name} was made and is not there yet")
        self.facts = facts
        self._pulse.reached()
        return facts

    def probe(self, timeout_s: float) -> None:
        """Tells the pulse whether Kafka answers, and writes down what its driver has to say. To be called regularly."""
        try:
            self.ensure(timeout_s)
            self._heard("topic")
        except Retryable as error:
            self._pulse.missed(str(error))
            self._unheard("topic")
        except Fatal as error:
            self._pulse.missed(str(error), needs_help=True)
        self._renew_if_silent()

    def _heard(self, of: str) -> None:
        self._silent_since.pop(of, None)

    def _unheard(self, of: str) -> None:
        self._silent_since.setdefault(of, self._clock.monotonic())

    def _renew_if_silent(self) -> None:
        """A client that lost its last broker at a bad moment never finds it again (librdkafka 2.16); a new one does."""
        if self._clock.monotonic() - min(self._silent_since.values(), default=float("inf")) < RENEW_AFTER_S:
            return
        _log.info("Kafka does not answer; what asks about the topic is connected anew.", topic=self.name)
        old = self._clients
        self._connect()
        old.give_up(0.0)

    def log_id(self, timeout_s: float) -> str:
        """The id of the topic that has this name now. Raises Retryable, also when there is none."""
        try:
            return log_id(self._describe(timeout_s))
        except KafkaException as error:
            raise self._unanswered(error) from error

    def bounds(self, partitions: Iterable[int], timeout_s: float) -> dict[int, OffsetBounds]:
        """Of those partitions that have a leader. Raises Retryable when none has."""
        wanted = list(partitions)
        lows, highs = self._offsets(wanted, _EARLIEST, timeout_s), self._offsets(wanted, _LATEST, timeout_s)
        return {
            partition: OffsetBounds(low.offset, highs[partition].offset, low.leader_epoch)
            for partition, low in lows.items()
            if partition in highs
        }

    def ends(self, timeout_s: float) -> dict[int, int]:
        """The next offset of each partition that has a leader. Raises Retryable, also before `ensure` succeeded."""
        return {n: at.offset for n, at in self._offsets(range(self._known().partitions), _LATEST, timeout_s).items()}

    def progress(self, timeout_s: float) -> dict[int, Progress]:
        """Where the group stands on every partition: on one without a commit at the first offset that is held,
        at 0 while it has no leader to ask.

        Of all or of none, so that nobody takes a partition that is not known for one that is new. Raises Retryable.
        """
        facts = self._known()
        partitions = range(facts.partitions)
        try:
            with self._clients.used() as clients:
                places = clients.asker.committed(self._places(partitions), timeout_s)
        except KafkaException as error:
            raise self._unanswered(error) from error
        refusal = next((place.error for place in places if place.error is not None), None)
        if refusal is not None:
            raise translated(refusal, f"the topic {self.name} could not be asked for")
        lows = {n: first.offset for n, first in self._offsets(partitions, _EARLIEST, timeout_s).items()}
        return {
            at.partition: progress_from(facts.log_id, at.partition, at.offset, at.metadata, lows.get(at.partition, 0))
            for at in places
        }

    def close(self) -> None:
        """Disconnects the one that asks."""
        self._clients.give_up()

    def _known(self) -> TopicFacts:
        if self.facts is None:
            raise Retryable(f"nothing is known of the topic {self.name} yet")
        return self.facts

    def _offsets(self, partitions: Collection[int], which: int, timeout_s: float) -> dict[int, TopicPartition]:
        try:
            with self._clients.used() as clients:
                clients.asker.poll(0)  # only what the driver has to say: nothing is assigned to this consumer
                places = clients.asker.offsets_for_times(self._places(partitions, which), timeout=timeout_s)
        except KafkaException as error:
            self._look_again(error_of(error), timeout_s)
            raise self._unanswered(error) from error
        found = {place.partition: place for place in places if place.error is None and place.offset >= 0}
        refusal = next((place.error for place in places if place.error is not None), None)
        if refusal is not None and not found:
            self._look_again(refusal, timeout_s)
            raise translated(refusal, f"the topic {self.name} could not be asked for")
        self._heard("offsets")
        return found

    def _look_again(self, error: KafkaError, timeout_s: float) -> None:
        """The driver remembers for many minutes that a topic had no leader; to look at it anew lets it forget."""
        self._unheard("offsets")
        if error.code() == KafkaError._UNKNOWN_PARTITION:
            with suppress(KafkaException, Retryable), self._clients.used() as clients:
                clients.asker.list_topics(self.name, timeout_s)

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
            if code in (KafkaError._TIMED_OUT, KafkaError._TRANSPORT, KafkaError.REQUEST_TIMED_OUT,
                        KafkaError.NOT_CONTROLLER):  # fmt: skip
                raise self._unanswered(error) from error
            shape = f"{options.partitions} partitions, replication factor {options.replication}"
            raise Fatal(
                f"the topic {self.name} does not exist and cannot be made ({shape}): {told(error_of(error))}. Make it "
                "by hand, or set PARSEC_TOPIC_PARTITIONS and PARSEC_TOPIC_REPLICATION to what the cluster allows"
            ) from error
        _log.info("The topic was made.", topic=self.name, partitions=options.partitions)

    def _facts(self, timeout_s: float) -> TopicFacts:
        description = self._describe(timeout_s)
        return TopicFacts(log_id(description), len(description.partitions), self._max_message_bytes(timeout_s))

    def _max_message_bytes(self, timeout_s: float) -> int:
        """A user who may not ask gets Kafka's default."""
        resource = ConfigResource(ConfigResource.Type.TOPIC, self.name)
        try:
            told = self._result(
                lambda admin: admin.describe_configs([resource], request_timeout=timeout_s)[resource], timeout_s
            )
            return int(told["max.message.bytes"].value)
        except KafkaException as error:
            if error_of(error).code() != KafkaError.TOPIC_AUTHORIZATION_FAILED:
                raise
            return DEFAULT_MAX_MESSAGE_BYTES

    def _result(self, ask: Callable[[Any], Any], timeout_s: float) -> Any:
        with self._clients.used() as clients:
            try:
                return ask(clients.admin).result(timeout_s + 1)
            except FutureTimeout as error:
                raise Retryable(
                    f"the topic {self.name} could not be asked for: Kafka did not answer in time"
                ) from error
            finally:
                clients.admin.poll(0)

    def _unanswered(self, exception: KafkaException) -> Retryable | Fatal:
        return translated(error_of(exception), f"the topic {self.name} could not be asked for")


def log_id(description: Any) -> str:
    """The topic's id as Kafka's own tools write it; the driver's text has other characters for two of the 64."""
    text = str(description.topic_id).replace("+", "-").replace("/", "_")
    if text == _NO_ID:
        raise Fatal("this Kafka gives its topics no ids; Parsec needs version 2.8 or newer")
    return text
