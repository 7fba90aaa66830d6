"""The watermark (`complete_until`): the time up to which everything accepted is searchable.

In: the ends of the log's partitions, sampled over time, and their committed offsets. Out: the latest sample time at
which all that was durable then is stored now. Errors: none. Next: parsec.query.completeness.
"""

import threading
from collections import deque
from collections.abc import Callable, Mapping

import msgspec

MOST_SAMPLES = 3600


class Ends(msgspec.Struct, frozen=True):
    """The end of each partition, read at a time: all that was durable before it is below them."""

    at_ns: int
    ends: Mapping[int, int]


class Watermark:
    """One thread calls `sample` once a second; the other methods are safe from any.

    `ends` returns None while they are unknown. `lost` counts events that the log lost, including before this start.
    """

    def __init__(
        self,
        ends: Callable[[], Ends | None],
        committed: Callable[[], Mapping[int, int]],
        lost: Callable[[], int] = lambda: 0,
    ) -> None:
        self._ends = ends
        self._committed = committed
        self._lost = lost
        self._lost_before = 0
        self._lost_until_ns = 0
        self._samples: deque[Ends] = deque()
        self._last = Ends(0, {})
        self._until_ns = 0
        self._lock = threading.Lock()

    def sample(self) -> None:
        """Records the ends of the log, and whether it lost more events."""
        sample, lost = self._ends(), self._lost()
        if sample is not None and lost > self._lost_before:
            self._lost_before, self._lost_until_ns = lost, sample.at_ns
        if sample is None or sample.at_ns == self._last.at_ns:
            return
        with self._lock:
            if any(sample.ends.get(number, 0) < end for number, end in self._last.ends.items()):
                self._samples.clear()  # another log under the same name
            self._last = sample
            if len(self._samples) == MOST_SAMPLES:
                # Coarser from now on. The oldest samples stay, since they are reached first.
                self._samples = deque(list(self._samples)[1::2])
            self._samples.append(sample)

    def until_ns(self) -> int:
        """Nanoseconds since 1970; 0: unknown, while a backlog from before this start is being stored."""
        committed = self._committed()
        with self._lock:
            while self._samples and _reached(committed, self._samples[0].ends):
                self._until_ns = self._samples.popleft().at_ns
            return self._until_ns

    def lost_until_ns(self) -> int:
        """The time before which all lost events were accepted; 0: none were lost."""
        return self._lost_until_ns


def _reached(committed: Mapping[int, int], ends: Mapping[int, int]) -> bool:
    return all(committed.get(number, 0) >= end for number, end in ends.items())
