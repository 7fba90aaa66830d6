"""Everything of one process that speaks Kafka, put together: topic, pulse, writers and reader share one set of options.

In: KafkaOptions. Out: LogWriters and LogReaders. Errors: Fatal when the driver is not installed, for wrong options, and
from `check` when the topic cannot be made. This module loads without the driver; the others of its name need it.
Next: parsec.adapters.kafka.writer and parsec.adapters.kafka.reader.
"""

from typing import TYPE_CHECKING

import structlog

from parsec.adapters.kafka.config import KafkaOptions
from parsec.adapters.kafka.monitor import CircuitBreaker
from parsec.core.clock import Clock, Random
from parsec.core.errors import Fatal, Retryable

if TYPE_CHECKING:
    from parsec.adapters.kafka.reader import KafkaReader
    from parsec.adapters.kafka.writer import KafkaWriter

_log = structlog.get_logger(__name__)


class Kafka:
    """One per process. Opens no connection that a caller waits for."""

    def __init__(self, options: KafkaOptions, clock: Clock, random: Random) -> None:
        self._options = options
        self._clock = clock
        self._random = random
        self.pulse = CircuitBreaker(clock)
        try:
            from parsec.adapters.kafka.topic import KafkaTopic
        except ImportError as error:
            raise Fatal(f"KAFKA_BROKERS needs the extra `kafka` (pip install parsec-logs[kafka]): {error}") from error
        self.topic = KafkaTopic(options, self.pulse, clock)

    def check(self) -> None:
        """At start: makes the topic if it is missing. Kafka being away is no error; Fatal says what to do."""
        try:
            facts = self.topic.ensure(self._options.deadline_s)
        except Retryable as error:
            self.pulse.missed(str(error))
            _log.warning("Kafka is not there yet; the topic is looked for again later.", why=str(error))
            return
        _log.info("The topic is there.", topic=self.topic.name, partitions=facts.partitions, log_id=facts.log_id)

    def probe(self) -> None:
        """Every few seconds, from any thread: keeps `pulse` true while idle, and writes down what the driver says."""
        self.topic.probe(self._options.deadline_s)

    def writer(self) -> "KafkaWriter":
        """One for each worker."""
        from parsec.adapters.kafka.writer import KafkaWriter

        return KafkaWriter(self._options, self.topic, self.pulse, self._clock, self._random)

    def reader(self) -> "KafkaReader":
        """One member of the consumer group."""
        from parsec.adapters.kafka.reader import KafkaReader

        return KafkaReader(self._options, self.topic, self._clock)

    def close(self) -> None:
        """Ends what asks about the topic; writers and readers are closed by whoever has them."""
        self.topic.close()

    def max_event_bytes(self, wanted: int) -> int:
        """What the door may let in: `wanted`, or less when the topic takes less. From any thread; never blocks."""
        facts = self.topic.facts
        return wanted if facts is None else min(wanted, facts.max_event_bytes)
