"""Subscriptions to new events, and what waits for the reader of each.

In: a tenant and an expression for each subscription, messages from the poller. Out: messages, and how many were missed.
Errors: Rejected(invalid_query, too_many_tails; unavailable after `close`). Next: parsec.query.tail.poller.

Invariants, cited by tests
 1. What waits for a reader is bounded in bytes: the oldest message goes first, and is counted.
 2. No one waits for a reader: `put` and `miss` return at once.
 3. A reader is woken once for all that came since it last took.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from parsec.core.errors import Rejected
from parsec.ports.broker import Progress
from parsec.query.language.ast import Node
from parsec.query.language.parse import parse
from parsec.query.sql.filter import Offsets


class TailLimits(msgspec.Struct, frozen=True):
    """How many subscriptions there may be, and how many bytes may wait for each: 200 MiB for 200 slow ones."""

    per_tenant: int = 50
    in_all: int = 200
    waiting_bytes: int = 1 << 20  # what one round may find in a burst of 4,000 events/s, before a reader can take any


class Taken(msgspec.Struct, frozen=True):
    """What came since the last one was taken. The missed ones come before `messages`.

    `skipped`: events that matched, but too many came at once, or they were not taken in time. `unchecked`: events of
    the tenant that were not compared with the filter, because that took too long. `ended`: nothing will follow.
    """

    messages: Sequence[bytes]
    skipped: int
    unchecked: int
    ended: bool


class Subscription:
    """What waits for one reader. `wake` is called from any thread and returns at once.

    `since`: the offsets up to which events were compared with `node`; only parsec.query.tail.poller moves it.
    """

    def __init__(self, tenant: str, node: Node, since: Offsets, waiting_bytes: int, wake: Callable[[], None]) -> None:
        self.tenant = tenant
        self.node = node
        self.since = since
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
        with self._lock:
            for message in messages:
                self._messages.append(message)
                self._bytes += len(message)
                while self._bytes > self._waiting_bytes and len(self._messages) > 1:
                    self._bytes -= len(self._messages.popleft())
                    self._skipped += 1
            self._notify()

    def miss(self, *, skipped: int = 0, unchecked: int = 0) -> None:
        """So many events came that these are not among the messages; meanings as in Taken."""
        with self._lock:
            self._skipped += skipped
            self._unchecked += unchecked
            self._notify()

    def end(self) -> None:
        """Nothing follows; what waits may still be taken."""
        with self._lock:
            self._ended = True
            self._notify()

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

    def _notify(self) -> None:
        if not self._woken:
            self._woken = True
            self._wake()


class CommittedOffsets:
    """The farthest committed offset of each partition that this process has heard of. From any thread."""

    def __init__(self, progress: Callable[[], Iterable[Progress]]) -> None:
        self._progress = progress
        self._lock = threading.Lock()
        self._known: Offsets = {}

    def now(self) -> Offsets:
        """A partition that is not heard of this time stays where it was, and none goes back."""
        with self._lock:
            farthest = dict(self._known)
            for each in self._progress():
                key = (each.log_id, each.partition)
                farthest[key] = max(farthest.get(key, 0), each.committed)
            if farthest != self._known:
                self._known = farthest
            return self._known


class Subscriptions:
    """All of a process. `by_tenant` is replaced as a whole, so that any thread reads it without a lock."""

    def __init__(self, limits: TailLimits, committed: CommittedOffsets) -> None:
        self._limits = limits
        self.committed = committed
        self._lock = threading.Lock()
        self._closed = False
        self.by_tenant: Mapping[str, tuple[Subscription, ...]] = {}

    def open(self, tenant: str, q: str, wake: Callable[[], None]) -> Subscription:
        """A subscription to events that are committed from now on. Raises Rejected."""
        node = parse(q)
        with self._lock:
            if self._closed:
                raise Rejected("unavailable", "Parsec is stopping. Try again later.", status=503)
            self._check_room(tenant)
            opened = Subscription(tenant, node, self.committed.now(), self._limits.waiting_bytes, wake)
            self._replace(tenant, (*self.by_tenant.get(tenant, ()), opened))
        return opened

    def remove(self, subscription: Subscription) -> None:
        """Its reader has gone; safe to call twice."""
        with self._lock:
            left = self.by_tenant.get(subscription.tenant, ())
            self._replace(subscription.tenant, tuple(each for each in left if each is not subscription))

    def close(self) -> None:
        """Ends all subscriptions and opens no more."""
        with self._lock:
            self._closed = True
            for subscriptions in self.by_tenant.values():
                for each in subscriptions:
                    each.end()

    def _check_room(self, tenant: str) -> None:
        of_tenant = len(self.by_tenant.get(tenant, ()))
        in_all = sum(map(len, self.by_tenant.values()))
        for count, most, owner in (
            (of_tenant, self._limits.per_tenant, "This tenant"),
            (in_all, self._limits.in_all, "This process"),
        ):
            if count >= most:
                message = f"{owner} has {most} tails open already; close one, or try again later."
                raise Rejected("too_many_tails", message, status=429)

    def _replace(self, tenant: str, subscriptions: tuple[Subscription, ...]) -> None:
        others = {name: each for name, each in self.by_tenant.items() if name != tenant}
        self.by_tenant = others | ({tenant: subscriptions} if subscriptions else {})
