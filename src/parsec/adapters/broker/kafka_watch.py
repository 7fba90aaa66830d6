"""Whether Kafka answers, and how far the group has come: asked once a second, for health, statistics and answers.

In: the topic and the group. Out: the latest answer, for any thread. Errors: none; while Kafka does not answer the last
answer stays, with its time. Next: parsec.process.completeness.

What the group has committed is asked for by a consumer that never joins it: the admin client's question of the same
meaning ended the process (librdkafka 2.16, an assertion in rdkafka_queue.h) while its coordinator was restarted.
"""

import threading
from collections.abc import Collection, Mapping

import msgspec
from confluent_kafka import Consumer, KafkaException, TopicPartition

from parsec.adapters.broker import kafka_settings
from parsec.adapters.broker.kafka import Kafka
from parsec.adapters.broker.kafka_positions import progress_from
from parsec.adapters.broker.kafka_settings import KafkaOptions
from parsec.core.clock import Clock
from parsec.core.errors import Fatal, Retryable
from parsec.ports.broker import Progress

EVERY_S = 1.0
PROBE_EVERY_S = 5.0
TIMEOUT_S = 2.0


class Seen(msgspec.Struct, frozen=True):
    """As of `at_ns`: ends of the topic's partitions, and what the whole group has committed of them."""

    at_ns: int
    ends: Mapping[int, int]
    progress: Mapping[int, Progress]

    @property
    def committed(self) -> dict[int, int]:
        return {number: each.committed for number, each in self.progress.items()}


class Watch:
    """One per process, in a thread of its own."""

    def __init__(self, kafka: Kafka, options: KafkaOptions, clock: Clock) -> None:
        self._kafka = kafka
        self._topic = options.topic
        self._clock = clock
        self._consumer = Consumer(kafka_settings.consumer(options))
        self._probe_at = float("-inf")
        self.seen: Seen | None = None

    def run(self, stop: threading.Event) -> None:
        while not stop.wait(EVERY_S):
            self.look()
        self._consumer.close()

    def look(self) -> None:
        """Blocks for some seconds at most."""
        now = self._clock.monotonic()
        if now >= self._probe_at or self._kafka.pulse.state().why is not None:
            self._probe_at = now + PROBE_EVERY_S
            self._kafka.probe()
        at_ns = self._clock.time_ns()  # before the ends are asked for, so that none of that time is missing in them
        try:
            ends = self._kafka.topic.ends(TIMEOUT_S)
            self.seen = Seen(at_ns, ends, self._progress(ends))
        except (Retryable, Fatal, KafkaException):
            return  # the probe says what is wrong

    def _progress(self, partitions: Collection[int]) -> dict[int, Progress]:
        """Raises KafkaException."""
        asked = [TopicPartition(self._topic, number) for number in partitions]
        places = self._consumer.committed(asked, TIMEOUT_S)
        self._consumer.poll(0)  # only what the driver has to say; nothing is assigned
        facts = self._kafka.topic.facts
        return {
            place.partition: progress_from(facts.log_id, place.partition, place.offset, place.metadata, 0)
            for place in places
            if facts is not None and place.error is None and place.offset >= 0
        }
