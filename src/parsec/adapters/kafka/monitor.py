"""How Kafka is doing, for the whole process: a circuit breaker for all writers, and the offsets of the group.

In: the outcome of publishes and probes, from any thread. Out: why publishing would be in vain now, what /health shows,
and how far the consumer group has come. Errors: none. No lock: each field is written whole, and a stale one costs at
most one useless attempt.
"""

import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec

from parsec.core.clock import Clock
from parsec.core.errors import Fatal, Retryable
from parsec.ports.broker import KafkaHealth, Progress

if TYPE_CHECKING:
    from parsec.adapters.kafka.cluster import KafkaCluster

RETRY_S = 1.0
"""After a failed publish the next one waits this long, or until a probe succeeds."""
REFRESH_EVERY_S = 1.0
PROBE_EVERY_S = 5.0
TIMEOUT_S = 2.0


class CircuitBreaker:
    """One per process. A failed publish opens it for RETRY_S, a failed probe until a probe or a publish succeeds."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._acked_at: float | None = None
        self._publish_failure: str | None = None
        self._probe_failure: str | None = None
        self._needs_help = False
        self._retry_at = float("-inf")
        self._failed_at = float("-inf")

    def publish_succeeded(self) -> None:
        self._acked_at = self._clock.monotonic()
        self._publish_failure = self._probe_failure = None
        self._needs_help = False

    def publish_failed(self, why: str) -> None:
        self._publish_failure = why
        self._failed_at = self._clock.monotonic()
        self._retry_at = self._failed_at + RETRY_S

    def probe_succeeded(self) -> None:
        """The next publish may try at once; only its acknowledgement clears an earlier failure."""
        self._probe_failure = None
        self._needs_help = False
        self._retry_at = float("-inf")

    def probe_failed(self, why: str, *, needs_help: bool = False) -> None:
        self._probe_failure = why
        self._needs_help = needs_help

    def open_reason(self) -> str | None:
        """Why a publish would fail now; None: try it."""
        if self._publish_failure is not None and self._clock.monotonic() < self._retry_at:
            return self._publish_failure
        return self._probe_failure

    @property
    def last_failure(self) -> str | None:
        """Why the last publish failed; None: it succeeded."""
        return self._publish_failure

    def health(self) -> KafkaHealth:
        age_s = None if self._acked_at is None else max(0.0, self._clock.monotonic() - self._acked_at)
        why = self._probe_failure or self._publish_failure
        failed_s = None if self._publish_failure is None else max(0.0, self._clock.monotonic() - self._failed_at)
        return KafkaHealth(self._probe_failure is None, why, age_s, self._needs_help, failed_s)


class GroupOffsets(msgspec.Struct, frozen=True):
    """At `at_ns`: the end of each partition that has a leader, and the group's progress on every partition."""

    at_ns: int
    ends: Mapping[int, int]
    progress: Mapping[int, Progress]

    @property
    def committed(self) -> dict[int, int]:
        return {partition: each.committed for partition, each in self.progress.items()}


class KafkaMonitor:
    """One per process, in its own thread."""

    def __init__(self, kafka: "KafkaCluster", clock: Clock) -> None:
        self._kafka = kafka
        self._clock = clock
        self._probe_at = float("-inf")
        self.group_offsets: GroupOffsets | None = None

    def run(self, stop: threading.Event) -> None:
        self.refresh()
        while not stop.wait(REFRESH_EVERY_S):
            self.refresh()

    def refresh(self) -> None:
        """Probes the cluster when due or when something is wrong, then reads the offsets. Blocks for some seconds."""
        now = self._clock.monotonic()
        if now >= self._probe_at or self._kafka.breaker.health().why is not None:
            self._probe_at = now + PROBE_EVERY_S
            self._kafka.probe()
        at_ns = self._clock.time_ns()  # before the ends are read, so that they are at least as new as this
        try:
            ends = self._kafka.topic.ends(TIMEOUT_S)
            self.group_offsets = GroupOffsets(at_ns, ends, self._kafka.topic.progress(TIMEOUT_S))
        except (Retryable, Fatal):
            return  # the probe reports what is wrong
