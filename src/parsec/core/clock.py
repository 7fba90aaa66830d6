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


class Random(Protocol):
    """Source of random bytes."""

    def bytes(self, n: int) -> bytes:
        """`n` random bytes."""


class SystemRandom:
    """The kernel's generator."""

    bytes = staticmethod(os.urandom)
