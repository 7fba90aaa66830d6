"""Detect a hung Kafka client, and close any client within a bound.

In: the results of checks, made while Kafka answers other clients. Out: why the client must be replaced. Errors: none.
Next: parsec.adapters.kafka.reader.

When the brokers' metadata omits a broker in trouble (for a moment it may omit all), librdkafka 2.16 may lose the
requests it has sent there, and their answers with them, or never connect again. See docs/decisions/0011.

`bounded_close` never waits longer than its bound, and never closes a client while a thread is inside one of its calls,
which would crash the process; a close that does not return goes on in a background thread.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

from parsec.core.errors import Retryable

HANGS_AFTER_S = 25.0
"""Longer than a session: by then the coordinator has given our partitions to others, or soon will."""
HANGS_AFTER_CHECKS = 4


class HangDetector:
    """Watches one client."""

    def __init__(self) -> None:
        self._stalls: dict[int, tuple[int, int]] = {}  # partition -> offset, checks in a row without progress
        self._coordinator_misses = 0

    def is_stalled(self, partition: int, offset: int, *, has_more: bool) -> bool:
        """Whether a partition that has more records is still where the last check found it."""
        last, checks = self._stalls.get(partition, (-1, 0))
        checks = checks + 1 if has_more and last == offset else 0
        self._stalls[partition] = (offset, checks)
        return checks > 0

    def forget(self, partition: int) -> None:
        """The partition is no longer ours, or is read from another offset."""
        self._stalls.pop(partition, None)

    def coordinator_checked(self, *, reachable: bool) -> None:
        """The result of asking a coordinator that answers other clients."""
        self._coordinator_misses = 0 if reachable else self._coordinator_misses + 1

    def why_hung(self, commit_pending_s: float) -> str | None:
        """Why the client must be replaced; None: it works. `commit_pending_s`: the age of an unanswered commit."""
        if commit_pending_s >= HANGS_AFTER_S:
            return f"it has not answered for {commit_pending_s:.0f} s"
        if self._coordinator_misses >= HANGS_AFTER_CHECKS:
            return "it does not reach the coordinator, which answers other clients"
        for partition, (offset, checks) in self._stalls.items():
            if checks >= HANGS_AFTER_CHECKS:
                return f"it returns nothing of partition {partition} after offset {offset}, where there is more"
        return None


T = TypeVar("T")

CLOSE_WAIT_S = 2.0


def bounded_close(close: Callable[[], object], longest_s: float = CLOSE_WAIT_S) -> None:
    """Returns when `close` has, or after longest_s."""
    closing = threading.Thread(target=close, name="parsec-kafka-close", daemon=True)
    closing.start()
    closing.join(longest_s)


class SharedClient(Generic[T]):
    """A client that several threads use. It is closed when its owner has closed it and the last user is done."""

    def __init__(self, client: T, close: Callable[[T], object]) -> None:
        self._client = client
        self._close = close
        self._lock = threading.Lock()
        self._users = 1  # the owner

    @contextmanager
    def borrow(self) -> Iterator[T]:
        """The client stays open inside the block. Raises Retryable once it is closed."""
        with self._lock:
            if self._users == 0:
                raise Retryable("the Kafka client was just replaced; try again")
            self._users += 1
        try:
            yield self._client
        finally:
            self._release(0.0)

    def close(self, longest_s: float = CLOSE_WAIT_S) -> None:
        """Called once, by the owner. Returns after longest_s at the latest."""
        self._release(longest_s)

    def _release(self, longest_s: float) -> None:
        with self._lock:
            self._users -= 1
            last = self._users == 0
        if last:
            bounded_close(lambda: self._close(self._client), longest_s)
