"""Events into the topic, acknowledged by all replicas in sync: one writer per worker.

In: groups of events. Out: one message per event, keyed by its tenant. Errors: NotAcknowledged, a Retryable, with
exactly the records whose fate is unknown or bad, so that a spool can keep those and no others; Fatal once closed.
Next: parsec.adapters.kafka.reader.

Invariants, cited by tests
 1. `publish` returns only when Kafka acknowledged every record, and not later than the deadline and a purge after it.
 2. What was not acknowledged when `publish` raises is in no queue of ours: nothing is sent behind the caller's back.
 3. A record that is sent again while an earlier attempt may have arrived carries the header `maybe-duplicate`; one that
    is known to be written is not sent again, one that is known not to be written carries no header.
 4. Records of one publish keep their order as long as no attempt fails.
"""

import threading
from collections.abc import Sequence

from confluent_kafka import KafkaError

from parsec.adapters.kafka.config import KafkaOptions
from parsec.adapters.kafka.errors import told
from parsec.adapters.kafka.monitor import CircuitBreaker
from parsec.adapters.kafka.producer import TOO_LARGE, Failure, KafkaProducer, Record, doubted
from parsec.adapters.kafka.topic import KafkaTopic
from parsec.core.clock import Clock, Random
from parsec.core.errors import Fatal, Retryable
from parsec.ports.broker import Group

FIRST_BACKOFF_S, LONGEST_BACKOFF_S = 0.05, 1.0


class NotAcknowledged(Retryable):
    """Kafka did not acknowledge these records, in their order; all others of the publish it did.

    `refused` are those among them that it will never take, because they are too large for the topic.
    """

    def __init__(self, message: str, records: Sequence[Record], refused: Sequence[Record] = ()) -> None:
        super().__init__(message)
        self.records = records
        self.refused = refused


class KafkaWriter:
    """A LogWriter, used by one worker's thread and closed after it; `refuses` from any."""

    def __init__(
        self, options: KafkaOptions, topic: KafkaTopic, pulse: CircuitBreaker, clock: Clock, random: Random
    ) -> None:
        self._options = options
        self._topic = topic
        self._pulse = pulse
        self._clock = clock
        self._random = random
        self._closed = threading.Event()
        self._checked = False
        self._producer: KafkaProducer | None = KafkaProducer(options, clock)

    def publish(self, groups: Sequence[Group]) -> None:
        self.send([record for group in groups for record in records_of(group)])

    def send(self, records: Sequence[Record]) -> None:
        """As `publish`, for records that have a past (a spool's). Raises NotAcknowledged, Fatal."""
        deadline = self._clock.monotonic() + self._options.deadline_s
        if self._closed.is_set():
            raise Fatal("the Kafka writer is closed")
        if not records:
            return
        self._check_topic(records)
        left, failures = list(records), list[Failure]()
        for attempt in range(self._options.attempts):
            if attempt and not self._wait(attempt, deadline):
                break
            failures = self._attempt(left, deadline, one_by_one=attempt > 0)
            if not failures:
                self._pulse.acknowledged()
                return
            left = [doubted(failure) for failure in failures]
        self._give_up(left, failures)

    def refuses(self) -> str | None:
        return "the Kafka writer is closed" if self._closed.is_set() else self._pulse.refuses()

    def close(self) -> None:
        """Nothing is on its way between two publishes, so there is nothing to wait for."""
        self._closed.set()
        self._renew()

    def _check_topic(self, records: Sequence[Record]) -> None:
        """Before the first publish, and after each that failed: the topic may be missing."""
        if self._checked:
            return
        try:
            self._topic.ensure(self._options.deadline_s)
        except (Retryable, Fatal) as error:
            # A topic that cannot be made ends a start, but not a process that has events to keep.
            self._pulse.failed(str(error))
            raise NotAcknowledged(str(error), records) from error
        self._checked = True

    def _attempt(self, records: Sequence[Record], deadline: float, *, one_by_one: bool) -> list[Failure]:
        """One by one, so that a batch that is too large, or one bad record, does not fail its neighbours."""
        if not one_by_one:
            return self._send(records, deadline)
        failures: list[Failure] = []
        for at, record in enumerate(records):
            failures += self._send([record], deadline)
            if self._clock.monotonic() >= deadline:
                untouched = KafkaError(KafkaError._TIMED_OUT_QUEUE)
                return failures + [Failure(rest, untouched) for rest in records[at + 1 :]]
        return failures

    def _send(self, records: Sequence[Record], deadline: float) -> list[Failure]:
        if self._producer is None:
            self._producer = KafkaProducer(self._options, self._clock)
        try:
            failures = self._producer.send(records, deadline)
        except (Fatal, Retryable):
            # Nothing is known of what it had in hand.
            failures = [Failure(record, KafkaError(KafkaError._FATAL)) for record in records]
        if any(failure.error.fatal() or failure.error.code() == KafkaError._FATAL for failure in failures):
            self._renew()
        return failures

    def _wait(self, attempt: int, deadline: float) -> bool:
        """Twice as long each time, at random up to half less. False: there is no time left for another attempt."""
        longest = min(FIRST_BACKOFF_S * (1 << (attempt - 1)), LONGEST_BACKOFF_S)
        share = int.from_bytes(self._random.bytes(2), "big") / 0xFFFF
        left = deadline - self._clock.monotonic()
        if left <= 0:
            return False
        return not self._closed.wait(min(longest * (1 - share / 2), left))

    def _renew(self) -> None:
        """The next publish is another producer's: one that lost its last broker may never find it again."""
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.discard()

    def _give_up(self, left: Sequence[Record], failures: Sequence[Failure]) -> None:
        refused = [failure.record for failure in failures if failure.error.code() in TOO_LARGE]
        why = f"Kafka did not acknowledge {len(left)} events: {told(failures[-1].error)}"
        if len(refused) < len(left):
            self._checked = False
            self._renew()
            self._pulse.failed(why)
        else:
            self._pulse.acknowledged()
        raise NotAcknowledged(why, left, refused)


def records_of(group: Group) -> list[Record]:
    """One message per event: its line without the newline, keyed by its tenant, as murmur2 spreads them."""
    lines = group.lines.split(b"\n")
    lines.pop()
    return [Record(event.tenant_id, line) for event, line in zip(group.events, lines, strict=True)]
