"""Up to when everything accepted can be searched.

In: the ends of the log's partitions, sampled over time, and what was committed of each. Out: the latest moment at which
all that was durable then is stored by now. Errors: none. Next: parsec.web.query_routes.
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


class Completeness:
    """`sample` once a second from one thread; `until_ns` from any. `ends` answers None while they are not known."""

    def __init__(self, ends: Callable[[], Ends | None], committed: Callable[[], Mapping[int, int]]) -> None:
        self._ends = ends
        self._committed = committed
        self._samples: deque[Ends] = deque()
        self._last = Ends(0, {})
        self._until_ns = 0
        self._lock = threading.Lock()

    def sample(self) -> None:
        """Notes where the log ends now."""
        sample = self._ends()
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


def _covers(committed: Mapping[int, int], ends: Mapping[int, int]) -> bool:
    return all(committed.get(number, 0) >= end for number, end in ends.items())
