"""Whether Kafka takes messages: shared by all writers of a process, asked by the door, by health and by a spool.

In: how publishes and probes ended, from any thread. Out: why nothing can be published now, and for how long so.
Errors: none. No lock: each field is written whole, and a stale one costs a wasted attempt at most.
"""

import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec

from parsec.core.clock import Clock
from parsec.core.errors import Fatal, Retryable
from parsec.ports.broker import Progress

if TYPE_CHECKING:
    from parsec.adapters.kafka.cluster import Kafka

RETRY_S = 1.0
"""After a failed publish the next attempt comes this much later, or when a probe has reached Kafka."""


class KafkaHealth(msgspec.Struct, frozen=True):
    """What health shows. `why`: what is wrong; `last_ack_age_s`: None before the first acknowledgement.

    `needs_help`: it will not come right by itself, somebody has to do what `why` says.
    """

    connected: bool
    why: str | None
    last_ack_age_s: float | None
    needs_help: bool = False


class CircuitBreaker:
    """One per process."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._acked_at: float | None = None
        self._failure: str | None = None
        self._unreachable: str | None = None
        self._needs_help = False
        self._retry_at = float("-inf")

    def acknowledged(self) -> None:
        """A publish came through."""
        self._acked_at = self._clock.monotonic()
        self._failure = self._unreachable = None
        self._needs_help = False

    def failed(self, why: str) -> None:
        """A publish did not come through."""
        self._failure = why
        self._retry_at = self._clock.monotonic() + RETRY_S

    def reached(self) -> None:
        """A probe was answered: the next publish may try at once. Only an acknowledgement ends a failure."""
        self._unreachable = None
        self._needs_help = False
        self._retry_at = float("-inf")

    def missed(self, why: str, *, needs_help: bool = False) -> None:
        """A probe was not answered, or in a way that no waiting mends."""
        self._unreachable = why
        self._needs_help = needs_help

    def refuses(self) -> str | None:
        """Why a publish would be in vain now; None when it should be tried."""
        if self._failure is not None and self._clock.monotonic() < self._retry_at:
            return self._failure
        return self._unreachable

    @property
    def failure(self) -> str | None:
        """Why the last publish did not come through; None once one has."""
        return self._failure

    def state(self) -> KafkaHealth:
        age = None if self._acked_at is None else max(0.0, self._clock.monotonic() - self._acked_at)
        return KafkaHealth(self._unreachable is None, self._unreachable or self._failure, age, self._needs_help)


EVERY_S = 1.0
PROBE_EVERY_S = 5.0
TIMEOUT_S = 2.0


class GroupOffsets(msgspec.Struct, frozen=True):
    """As of `at_ns`: ends of the partitions that have a leader, and what the whole group has committed of each."""

    at_ns: int
    ends: Mapping[int, int]
    progress: Mapping[int, Progress]

    @property
    def committed(self) -> dict[int, int]:
        return {number: each.committed for number, each in self.progress.items()}


class KafkaMonitor:
    """One per process, in a thread of its own."""

    def __init__(self, kafka: "Kafka", clock: Clock) -> None:
        self._kafka = kafka
        self._clock = clock
        self._probe_at = float("-inf")
        self.seen: GroupOffsets | None = None

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
            self.seen = GroupOffsets(at_ns, ends, self._kafka.topic.progress(TIMEOUT_S))
        except (Retryable, Fatal):
            return  # the probe says what is wrong
