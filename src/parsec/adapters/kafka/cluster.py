"""The Kafka cluster as one process uses it: topic, circuit breaker, writers and reader made from one set of options.

In: KafkaOptions. Out: LogWriters and LogReaders. Errors: Fatal when the driver is not installed, for wrong options, and
from `ensure_topic` when the topic cannot be created. This module loads without the driver, as config and monitor do.
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


class KafkaCluster:
    """One per process. The constructor does not wait for a connection."""

    def __init__(self, options: KafkaOptions, clock: Clock, random: Random) -> None:
        self._options = options
        self._clock = clock
        self._random = random
        self.breaker = CircuitBreaker(clock)
        try:
            from parsec.adapters.kafka.topic import KafkaTopic
        except ImportError as error:
            raise Fatal(f"KAFKA_BROKERS needs the extra `kafka` (pip install parsec-logs[kafka]): {error}") from error
        self.topic = KafkaTopic(options, self.breaker, clock)

    def ensure_topic(self) -> None:
        """At start: creates the topic when it is missing. An unreachable Kafka is no error. Raises Fatal."""
        try:
            topic = self.topic.ensure(self._options.deadline_s)
        except Retryable as error:
            self.breaker.probe_failed(str(error))
            _log.warning("Kafka does not answer yet. Parsec keeps trying to connect in the background.", why=str(error))
            return
        _log.info("The topic is ready.", topic=self.topic.name, partitions=topic.partitions, log_id=topic.log_id)

    def probe(self) -> None:
        """Asks the cluster for the topic and tells the breaker. Called every few seconds, from any thread."""
        self.topic.probe(self._options.deadline_s)

    def writer(self) -> "KafkaWriter":
        """A writer for one worker, which closes it."""
        from parsec.adapters.kafka.writer import KafkaWriter

        return KafkaWriter(self._options, self.topic, self.breaker, self._clock, self._random)

    def reader(self) -> "KafkaReader":
        """One member of the consumer group; the caller closes it."""
        from parsec.adapters.kafka.reader import KafkaReader

        return KafkaReader(self._options, self.topic, self._clock)

    def close(self) -> None:
        self.topic.close()

    def max_event_bytes(self, wanted: int) -> int:
        """The largest event to accept: `wanted`, or less when the topic takes less. From any thread; never blocks."""
        topic = self.topic.info
        return wanted if topic is None else min(wanted, topic.max_event_bytes)
