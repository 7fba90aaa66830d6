"""Readers that wait for events from now on: who asks what, and what waits for each.

In: a tenant and an expression for each reader, messages from whoever finds events. Out: messages, and how many were
missed. Errors: Rejected(invalid_query, too_many_tails), Retryable after `close`. Next: parsec.query.tail.fanout.

Invariants, cited by tests
 1. What waits for a reader is bounded in bytes: the oldest message goes first, and is counted.
 2. Nobody waits for a reader: `put` and `miss` return at once.
 3. A reader is woken once for all that came since it last took.
"""

import threading
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence

import msgspec

from parsec.core.errors import Rejected, Retryable
from parsec.query.language.ast import Node
from parsec.query.language.parse import parse


class TailLimits(msgspec.Struct, frozen=True):
    """How many readers there may be, and how many bytes may wait for each. 200 readers hold up to 50 MiB."""

    per_tenant: int = 50
    in_all: int = 200
    waiting_bytes: int = 256 << 10


class Taken(msgspec.Struct, frozen=True):
    """What came since the last one was taken. The missed ones come before `messages`.

    `skipped`: events that were found and not taken in time. `unchecked`: events of the tenant that nobody compared with
    the question, because too many came. `ended`: nothing will follow.
    """

    messages: Sequence[bytes]
    skipped: int
    unchecked: int
    ended: bool


class Subscription:
    """What waits for one reader. `wake` is called from any thread and returns at once."""

    def __init__(self, tenant: str, question: str, waiting_bytes: int, wake: Callable[[], None]) -> None:
        self.tenant = tenant
        self.question = question
        self._waiting_bytes = waiting_bytes
        self._wake = wake
        self._lock = threading.Lock()
        self._messages: deque[bytes] = deque()
        self._bytes = 0
        self._skipped = 0
        self._unchecked = 0
        self._ended = False
        self._woken = False

    def put(self, messages: Sequence[bytes]) -> None:
        """Events of this question, in order."""
        with self._lock:
            for message in messages:
                self._messages.append(message)
                self._bytes += len(message)
                while self._bytes > self._waiting_bytes and len(self._messages) > 1:
                    self._bytes -= len(self._messages.popleft())
                    self._skipped += 1
            self._tell()

    def miss(self, events: int) -> None:
        """So many events came that these were not compared."""
        with self._lock:
            self._unchecked += events
            self._tell()

    def end(self) -> None:
        """Nothing follows; what waits may still be taken."""
        with self._lock:
            self._ended = True
            self._tell()

    def take(self, most_bytes: int) -> Taken:
        """At least one message, if there is any, and about `most_bytes` at most. Never waits."""
        with self._lock:
            taken: list[bytes] = []
            size = 0
            while self._messages and size < most_bytes:
                taken.append(self._messages.popleft())
                size += len(taken[-1])
            self._bytes -= size
            self._woken = bool(self._messages)
            answer = Taken(taken, self._skipped, self._unchecked, self._ended and not self._messages)
            self._skipped = self._unchecked = 0
            return answer

    def _tell(self) -> None:
        if not self._woken:
            self._woken = True
            self._wake()


class Watch(msgspec.Struct, frozen=True):
    """One question, and all who ask it: it is compared with an event once, however many they are."""

    question: str
    node: Node
    tails: tuple[Subscription, ...]


Watched = Mapping[str, Sequence[Watch]]
"""Questions by tenant."""


class Subscriptions:
    """All readers of a process. `watched` is replaced as a whole, so that any thread reads it without a lock."""

    def __init__(self, bounds: TailLimits) -> None:
        self._bounds = bounds
        self._lock = threading.Lock()
        self._open: list[Subscription] = []
        self._closed = False
        self.watched: Watched = {}

    def open(self, tenant: str, question: str, wake: Callable[[], None]) -> Subscription:
        """A reader of what is found from now on. Raises Rejected, Retryable."""
        node = parse(question)
        with self._lock:
            if self._closed:
                raise Retryable("Parsec is stopping.")
            self._check_room(tenant)
            tail = Subscription(tenant, question, self._bounds.waiting_bytes, wake)
            self._open.append(tail)
            same = next((watch for watch in self.watched.get(tenant, ()) if watch.question == question), None)
            watch = Watch(question, node, (*(same.tails if same else ()), tail))
            self._replace(tenant, question, watch)
        return tail

    def leave(self, tail: Subscription) -> None:
        """The reader is gone; safe to call twice."""
        with self._lock:
            if tail not in self._open:
                return
            self._open.remove(tail)
            same = next(watch for watch in self.watched[tail.tenant] if watch.question == tail.question)
            rest = tuple(each for each in same.tails if each is not tail)
            self._replace(tail.tenant, tail.question, msgspec.structs.replace(same, tails=rest) if rest else None)

    def close(self) -> None:
        """Ends all of them, and lets nobody in."""
        with self._lock:
            self._closed = True
            for tail in self._open:
                tail.end()

    def _check_room(self, tenant: str) -> None:
        of_tenant = Counter(tail.tenant for tail in self._open)[tenant]
        for count, most, whose in (
            (of_tenant, self._bounds.per_tenant, "this tenant"),
            (len(self._open), self._bounds.in_all, "this process"),
        ):
            if count >= most:
                message = f"{whose.capitalize()} has {most} readers of live events already; close one, or ask later."
                raise Rejected("too_many_tails", message, status=429)

    def _replace(self, tenant: str, question: str, watch: Watch | None) -> None:
        watches = [each for each in self.watched.get(tenant, ()) if each.question != question]
        watches += [watch] if watch is not None else []
        others = {name: each for name, each in self.watched.items() if name != tenant}
        self.watched = others | ({tenant: watches} if watches else {})
