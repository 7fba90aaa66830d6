"""Write events to the topic, acknowledged by all replicas in sync: one writer per worker.

In: groups of events. Out: one message per event, keyed by its tenant. Errors: NotAcknowledged, a Retryable, with
exactly the records that may not be in the topic, so that a spool keeps those and no others; Fatal once closed.
Next: parsec.adapters.kafka.reader.

Invariants, cited by tests
 1. `publish` returns only when Kafka acknowledged every record, and not later than the deadline and a purge after it.
 2. When `publish` raises, no queue of ours holds what was not acknowledged: nothing is sent later.
 3. A record that is sent again while an earlier attempt may have arrived carries the header `maybe-duplicate`. One that
    was certainly written is not sent again; one that was certainly not written carries no header.
 4. Records of one publish keep their order as long as no attempt fails.
"""

import threading
from collections.abc import Sequence

from confluent_kafka import KafkaError

from parsec.adapters.kafka.config import KafkaOptions
from parsec.adapters.kafka.errors import describe
from parsec.adapters.kafka.monitor import CircuitBreaker
from parsec.adapters.kafka.producer import TOO_LARGE, Failure, KafkaProducer, Record, for_retry
from parsec.adapters.kafka.topic import KafkaTopic
from parsec.core.clock import Clock, Random
from parsec.core.errors import Fatal, Retryable
from parsec.ports.broker import Group

FIRST_BACKOFF_S, LONGEST_BACKOFF_S = 0.05, 1.0


class NotAcknowledged(Retryable):
    """Kafka acknowledged all of a publish but `records`, in their order. `refused`: those among them that are too large
    for the topic, so that it will never take them."""

    def __init__(self, message: str, records: Sequence[Record], refused: Sequence[Record] = ()) -> None:
        super().__init__(message)
        self.records = records
        self.refused = refused


class KafkaWriter:
    """A LogWriter, used by one worker's thread and closed after it; `refuses` from any thread."""

    def __init__(
        self, options: KafkaOptions, topic: KafkaTopic, breaker: CircuitBreaker, clock: Clock, random: Random
    ) -> None:
        self._options = options
        self._topic = topic
        self._breaker = breaker
        self._clock = clock
        self._random = random
        self._closed = threading.Event()
        self._topic_ensured = False
        self._producer: KafkaProducer | None = KafkaProducer(options, clock)

    def publish(self, groups: Sequence[Group]) -> None:
        self.send([record for group in groups for record in records_of(group)])

    def send(self, records: Sequence[Record]) -> None:
        """As `publish`, for records that may have been sent before (a spool's). Raises NotAcknowledged, Fatal."""
        deadline = self._clock.monotonic() + self._options.deadline_s
        if self._closed.is_set():
            raise Fatal("the Kafka writer is closed")
        if not records:
            return
        self._ensure_topic(records)
        left, failures = list(records), list[Failure]()
        for attempt in range(self._options.attempts):
            if attempt and not self._back_off(attempt, deadline):
                break
            failures = self._send_each(left, deadline) if attempt else self._send(left, deadline)
            if not failures:
                self._breaker.publish_succeeded()
                return
            left = [for_retry(failure) for failure in failures]
        refused = [failure.record for failure in failures if failure.error.code() in TOO_LARGE]
        why = f"Kafka did not acknowledge {len(left)} events: {describe(failures[-1].error)}"
        if len(refused) < len(left):
            self._topic_ensured = False
            self._discard_producer()
            self._breaker.publish_failed(why)
        else:
            self._breaker.publish_succeeded()
        raise NotAcknowledged(why, left, refused)

    def refuses(self) -> str | None:
        return "the Kafka writer is closed" if self._closed.is_set() else self._breaker.open_reason()

    def close(self) -> None:
        """Does not flush: between two publishes no message is in flight."""
        self._closed.set()
        self._discard_producer()

    def _ensure_topic(self, records: Sequence[Record]) -> None:
        """Before the first publish, and after each that failed: the topic may be missing."""
        if self._topic_ensured:
            return
        try:
            self._topic.ensure(self._options.deadline_s)
        except (Retryable, Fatal) as error:
            # A topic that cannot be created ends a start, but not a process that has events to keep.
            self._breaker.publish_failed(str(error))
            raise NotAcknowledged(str(error), records) from error
        self._topic_ensured = True

    def _send_each(self, records: Sequence[Record], deadline: float) -> list[Failure]:
        """One by one, so that a batch that is too large, or one bad record, does not fail its neighbours."""
        failures: list[Failure] = []
        for at, record in enumerate(records):
            failures += self._send([record], deadline)
            if self._clock.monotonic() >= deadline:
                unsent = KafkaError(KafkaError._TIMED_OUT_QUEUE)
                return failures + [Failure(rest, unsent) for rest in records[at + 1 :]]
        return failures

    def _send(self, records: Sequence[Record], deadline: float) -> list[Failure]:
        if self._producer is None:
            self._producer = KafkaProducer(self._options, self._clock)
        try:
            failures = self._producer.send(records, deadline)
        except (Fatal, Retryable):
            # The producer is lost, and with it the fate of what it had in hand.
            failures = [Failure(record, KafkaError(KafkaError._FATAL)) for record in records]
        if any(failure.error.fatal() or failure.error.code() == KafkaError._FATAL for failure in failures):
            self._discard_producer()
        return failures

    def _back_off(self, attempt: int, deadline: float) -> bool:
        """Waits twice as long each time, minus a random share of up to half. False: no time is left to try again."""
        longest = min(FIRST_BACKOFF_S * (1 << (attempt - 1)), LONGEST_BACKOFF_S)
        share = int.from_bytes(self._random.bytes(2), "big") / 0xFFFF
        left = deadline - self._clock.monotonic()
        if left <= 0:
            return False
        return not self._closed.wait(min(longest * (1 - share / 2), left))

    def _discard_producer(self) -> None:
        """The next publish makes another: a producer that lost its last broker may never find it again."""
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.discard()


def records_of(group: Group) -> list[Record]:
    """One message per event: its line without the newline, keyed by its tenant."""
    lines = group.lines.split(b"\n")
    lines.pop()
    return [Record(event.tenant_id, line) for event, line in zip(group.events, lines, strict=True)]
