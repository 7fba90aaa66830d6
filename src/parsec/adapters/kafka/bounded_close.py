"""Letting a client of the driver go that may not answer any more.

In: what closes it. Out: nothing; it is closed, or left behind. Errors: none.
Next: parsec.adapters.kafka.consumer.

To close a consumer waits for its coordinator, and a client that lost its last broker at a bad moment may never answer
again (librdkafka 2.16). Neither may keep a process from ending. And a client that is closed while another thread is
inside one of its calls takes the process with it.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

from parsec.core.errors import Retryable

T = TypeVar("T")

LEAVE_S = 2.0


def bounded_close(close: Callable[[], object], longest_s: float = LEAVE_S) -> None:
    """Returns once it is closed, or after longest_s; it goes on by itself then."""
    closing = threading.Thread(target=close, name="parsec-kafka-leaving", daemon=True)
    closing.start()
    closing.join(longest_s)


class Shared(Generic[T]):
    """Something that several threads use, and that is closed when the last of them is done with it."""

    def __init__(self, thing: T, close: Callable[[T], object]) -> None:
        self._thing = thing
        self._close = close
        self._lock = threading.Lock()
        self._users = 1  # the owner

    @contextmanager
    def used(self) -> Iterator[T]:
        """It stays open at least as long as this lasts. Raises Retryable once it is closed."""
        with self._lock:
            if self._users == 0:
                raise Retryable("the client of Kafka was just replaced")
            self._users += 1
        try:
            yield self._thing
        finally:
            self._done(0.0)

    def give_up(self, longest_s: float = LEAVE_S) -> None:
        """By the owner, once. Returns after longest_s at the latest."""
        self._done(longest_s)

    def _done(self, longest_s: float) -> None:
        with self._lock:
            self._users -= 1
            last = self._users == 0
        if last:
            bounded_close(lambda: self._close(self._thing), longest_s)
