"""Time and randomness as arguments, so that tests advance the clock instead of sleeping."""

import os
import time
from typing import Protocol


class Clock(Protocol):
    """Wall time for stored timestamps, monotonic time for waits."""

    def time_ns(self) -> int:
        """Nanoseconds since 1970 UTC."""

    def monotonic(self) -> float:
        """Seconds that never go back."""


class SystemClock:
    """The machine's own clocks; the functions themselves, since each batch reads them many times."""

    time_ns = staticmethod(time.time_ns)
    monotonic = staticmethod(time.monotonic)


class ManualClock:
    """Stands still until advanced: `clock.advance(30)`."""

    def __init__(self, time_ns: int = 1_800_000_000_000_000_000) -> None:
        self._time_ns = time_ns
        self._monotonic = 0.0

    def time_ns(self) -> int:
        return self._time_ns

    def monotonic(self) -> float:
        return self._monotonic

    def advance(self, seconds: float) -> None:
        """Moves both clocks forward by `seconds`."""
        self._time_ns += int(seconds * 1_000_000_000)
        self._monotonic += seconds


class Random(Protocol):
    """Source of random bytes."""

    def bytes(self, n: int) -> bytes:
        """`n` random bytes."""


class SystemRandom:
    """The kernel's generator."""

    bytes = staticmethod(os.urandom)
