"""A clock that tests advance."""


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
