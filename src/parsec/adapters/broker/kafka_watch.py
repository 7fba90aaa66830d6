"""Whether Kafka answers, and how far the group has come: asked once a second, for health, statistics and answers.

In: the topic and the group. Out: the latest answer, for any thread. Errors: none; while Kafka does not answer the last
answer stays, with its time. Next: parsec.process.completeness.
"""

import threading
from collections.abc import Mapping

import msgspec

from parsec.adapters.broker.kafka import Kafka
from parsec.core.clock import Clock
from parsec.core.errors import Fatal, Retryable
from parsec.ports.broker import Progress

EVERY_S = 1.0
PROBE_EVERY_S = 5.0
TIMEOUT_S = 2.0


class Seen(msgspec.Struct, frozen=True):
    """As of `at_ns`: ends of the partitions that have a leader, and what the whole group has committed of each."""

    at_ns: int
    ends: Mapping[int, int]
    progress: Mapping[int, Progress]

    @property
    def committed(self) -> dict[int, int]:
        return {number: each.committed for number, each in self.progress.items()}


class Watch:
    """One per process, in a thread of its own."""

    def __init__(self, kafka: Kafka, clock: Clock) -> None:
        self._kafka = kafka
        self._clock = clock
        self._probe_at = float("-inf")
        self.seen: Seen | None = None

    def run(self, stop: threading.Event) -> None:
        self.look()
        while not stop.wait(EVERY_S):
            self.look()

    def look(self) -> None:
        """Blocks for some seconds at most."""
        now = self._clock.monotonic()
        if now >= self._probe_at or self._kafka.pulse.state().why is not None:
            self._probe_at = now + PROBE_EVERY_S
            self._kafka.probe()
        at_ns = self._clock.time_ns()  # before the ends are asked for, so that none of that time is missing in them
        try:
            ends = self._kafka.topic.ends(TIMEOUT_S)
            self.seen = Seen(at_ns, ends, self._kafka.topic.progress(TIMEOUT_S))
        except (Retryable, Fatal):
            return  # the probe says what is wrong
