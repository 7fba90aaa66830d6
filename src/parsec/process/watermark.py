"""Up to when everything accepted can be searched.

In: the ends of the log's partitions, sampled over time, and what was committed of each. Out: the latest moment at which
all that was durable then is stored by now. Errors: none. Next: parsec.web.completeness.
"""

import threading
from collections import deque
from collections.abc import Callable, Mapping

import msgspec

KEPT_SAMPLES = 3600


class Ends(msgspec.Struct, frozen=True):
    """Where each partition ended, as asked for at a moment: nothing that became durable before it is missing."""

    at_ns: int
    ends: Mapping[int, int]


class Watermark:
    """`sample` once a second from one thread, the rest from any. `ends` answers None while they are not known; `lost`
    counts what was lost in the log, also before this start."""

    def __init__(
        self,
        ends: Callable[[], Ends | None],
        committed: Callable[[], Mapping[int, int]],
        lost: Callable[[], int] = lambda: 0,
    ) -> None:
        self._ends = ends
        self._committed = committed
        self._lost = lost
        self._lost_seen = 0
        self._lost_until_ns = 0
        self._samples: deque[Ends] = deque()
        self._last = Ends(0, {})
        self._until_ns = 0
        self._lock = threading.Lock()

    def sample(self) -> None:
        """Notes where the log ends now, and whether more of it was lost."""
        sample = self._ends()
        lost = self._lost()
        if sample is not None and lost > self._lost_seen:
            self._lost_seen, self._lost_until_ns = lost, sample.at_ns
        if sample is None or sample.at_ns == self._last.at_ns:
            return
        with self._lock:
            if any(sample.ends.get(number, 0) < end for number, end in self._last.ends.items()):
                self._samples.clear()  # another log under the same name
            self._last = sample
            if len(self._samples) == KEPT_SAMPLES:
                self._samples = deque(list(self._samples)[1::2])  # coarser, but the oldest are the next to come true
            self._samples.append(sample)

    def until_ns(self) -> int:
        """Nanoseconds since 1970; 0 while nothing is known because a backlog of an earlier life is being read."""
        committed = self._committed()
        with self._lock:
            while self._samples and _covers(committed, self._samples[0].ends):
                self._until_ns = self._samples.popleft().at_ns
            return self._until_ns

    def lost_until_ns(self) -> int:
        """What was lost was accepted before this moment; 0 when nothing was."""
        return self._lost_until_ns


def _covers(committed: Mapping[int, int], ends: Mapping[int, int]) -> bool:
    return all(committed.get(number, 0) >= end for number, end in ends.items())
