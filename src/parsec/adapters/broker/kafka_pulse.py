"""Whether Kafka takes messages: shared by all writers of a process, asked by the door, by health and by a spool.

In: how publishes and probes ended, from any thread. Out: why nothing can be published now, and for how long so.
Errors: none. No lock: each field is written whole, and a stale one costs a wasted attempt at most.
"""

import msgspec

from parsec.core.clock import Clock

RETRY_S = 1.0
"""After a failed publish the next attempt comes this much later, or when a probe has reached Kafka."""


class PulseState(msgspec.Struct, frozen=True):
    """What health shows. `why`: what is wrong; `last_ack_age_s`: None before the first acknowledgement.

    `needs_help`: it will not come right by itself, somebody has to do what `why` says.
    """

    connected: bool
    why: str | None
    last_ack_age_s: float | None
    needs_help: bool = False


class Pulse:
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

    def state(self) -> PulseState:
        age = None if self._acked_at is None else max(0.0, self._clock.monotonic() - self._acked_at)
        return PulseState(self._unreachable is None, self._unreachable or self._failure, age, self._needs_help)
