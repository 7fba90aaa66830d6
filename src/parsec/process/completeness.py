"""Up to when everything accepted can be searched.

In: the log's end, sampled over time, and what the processor has committed. Out: the latest moment at which all that
was durable then is stored by now. Errors: none. Next: parsec.web.query_routes.
"""

import threading
from collections import deque
from collections.abc import Callable

from parsec.core.clock import Clock

KEPT_SAMPLES = 3600


class Completeness:
    """`sample` once a second from one thread; `until_ns` from any."""

    def __init__(self, end: Callable[[], int], committed: Callable[[], int], clock: Clock) -> None:
        self._end = end
        self._committed = committed
        self._clock = clock
        self._samples: deque[tuple[int, int]] = deque()
        self._until_ns = 0
        self._lock = threading.Lock()

    def sample(self) -> None:
        """Notes where the log ends now."""
        now_ns = self._clock.time_ns()  # before the end is read, so that the sample never claims too much
        with self._lock:
            if len(self._samples) == KEPT_SAMPLES:
                self._samples = deque(list(self._samples)[1::2])  # coarser, but the oldest are the next to come true
            self._samples.append((now_ns, self._end()))

    def until_ns(self) -> int:
        """Nanoseconds since 1970; 0 while nothing is known because a backlog of an earlier life is being read."""
        committed = self._committed()
        with self._lock:
            while self._samples and self._samples[0][1] <= committed:
                self._until_ns = self._samples.popleft()[0]
            return self._until_ns
