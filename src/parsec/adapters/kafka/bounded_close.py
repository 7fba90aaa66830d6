"""Close a client of the driver within a bound, and never while a thread is inside one of its calls.

In: a close function. Out: nothing; the client is closed, or its close goes on in a background thread. Errors: none.
Next: parsec.adapters.kafka.consumer.

Closing a consumer waits for its coordinator, and a client that lost its last broker at a bad moment may never answer
again (librdkafka 2.16); neither may keep a process from ending. Closing a client while another thread uses it crashes
the process.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

from parsec.core.errors import Retryable

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
