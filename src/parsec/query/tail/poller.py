"""New events of the store, to the subscriptions that match them.

In: a signal for each commit, and how far each partition is committed. Out: each event as JSON to every subscription
with a filter that it matches. Errors: none; while the store does not answer its events wait there.
Next: parsec.query.sql.new_events.

Invariants, cited by tests
 1. Below the committed offset of a partition everything is stored for good, so a subscription that advances from one
    set of committed offsets to the next sees each event once.
 2. A round asks at most one statement per tenant, and rounds begin at least EVERY_S apart.
 3. After its work a round rests three times as long as it worked: tails take a quarter of one core at most.
 4. What one subscription has too much of is a gap in that one only.
"""

import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence

import msgspec
import structlog

from parsec.core.clock import Clock
from parsec.core.errors import Fatal, Rejected, Retryable
from parsec.ports.store import QueryLimits, StoreReader
from parsec.query.sql.columns import WHOLE_EVENT
from parsec.query.sql.filter import Offsets
from parsec.query.sql.new_events import Filter, NewEvents, count_new_events, new_events
from parsec.query.tail.subscriptions import Subscription, Subscriptions

_log = structlog.get_logger(__name__)

EVERY_S = 0.25
LOOK_S = 0.5
"""Without a signal: other processes commit, too."""
REST = 3.0
"""Seconds of rest for each second of work."""
STATEMENT_TIMEOUT_S = 2.0
"""For a statement, as other tenants wait for it."""
MAX_RESULT_BYTES = 64 << 20
SLICE_EVENTS = 100
"""Encoded at once: about half a millisecond in which no other thread has the interpreter."""

_ENCODER = msgspec.json.Encoder()


class TailPoller:
    """`run` in a thread of its own. `signal` is set by each commit of this process."""

    def __init__(
        self, subscriptions: Subscriptions, store: StoreReader, signal: threading.Event, limits: QueryLimits,
        clock: Clock,
    ) -> None:  # fmt: skip
        self._subscriptions = subscriptions
        self._store = store
        self._signal = signal
        self._limits = msgspec.structs.replace(
            limits,
            timeout_s=min(limits.timeout_s, STATEMENT_TIMEOUT_S),
            max_result_bytes=MAX_RESULT_BYTES,
            max_threads=1,
        )
        self._clock = clock

    def run(self, stop: threading.Event) -> None:
        """Rounds until `stop`."""
        looked_at = float("-inf")
        while not stop.is_set():
            self._signal.wait(LOOK_S)
            self._signal.clear()
            now = self._clock.monotonic()
            if not self._subscriptions.by_tenant and now - looked_at < LOOK_S:
                continue  # no one tails; the offsets are kept current now and then
            looked_at = now
            for rest_s in self.round():
                if stop.wait(rest_s):
                    return

    def round(self) -> Iterator[float]:
        """Serves each tenant once. Yields for how many seconds to rest before it goes on, the last time before the
        next round."""
        began = self._clock.monotonic()
        until = self._subscriptions.committed.now()
        asked, asked_s = False, 0.0
        for tenant, subscriptions in self._subscriptions.by_tenant.items():
            waiting = _waiting(subscriptions, until)
            if not waiting:
                continue
            asked_at = self._clock.monotonic()
            found = self._ask(tenant, waiting, until)
            asked, asked_s = True, asked_s + self._clock.monotonic() - asked_at
            if found is not None:
                yield from _deliver(waiting, found)
        if asked:
            yield max(began + EVERY_S - self._clock.monotonic(), REST * asked_s)

    def _ask(self, tenant: str, waiting: Sequence[Subscription], until: Offsets) -> NewEvents | None:
        try:
            found = new_events(
                self._store, tenant, [Filter(each.node, each.since) for each in waiting], until, self._limits
            )
        except Retryable as error:
            _log.warning("The store does not answer; live events are sent once it does.", why=str(error))
            return None
        except (Rejected, Fatal) as error:
            _log.warning("Live events of a tenant could not be found within the limits.", tenant=tenant, why=str(error))
            self._skip(tenant, waiting, until)
            return None
        for each in waiting[: found.evaluated]:
            each.since = until
        return found

    def _skip(self, tenant: str, waiting: Sequence[Subscription], until: Offsets) -> None:
        """Past events that no one compares with the filters."""
        try:
            count = count_new_events(self._store, tenant, waiting[0].since, until, self._limits)
        except (Rejected, Retryable) as error:
            _log.warning("The new events of a tenant could not be queried. This will be retried.", why=str(error))
            return
        for each in waiting:
            each.miss(unchecked=count)
            each.since = until


def _waiting(subscriptions: Sequence[Subscription], until: Offsets) -> list[Subscription]:
    """Those for which something was committed, the one that lags most first."""
    for each in subscriptions:
        each.since = each.since or until  # opened before any offset was known
    behind = [each for each in subscriptions if each.since != until]
    return sorted(behind, key=lambda each: sum(each.since.values()))


def _deliver(subscriptions: Sequence[Subscription], found: NewEvents) -> Iterator[float]:
    """Yields rests between slices, in which readers take what they were sent."""
    too_many = _report_gaps(subscriptions, found)
    events = sorted(
        ((event, group.filters) for group in found.groups for event in group.events), key=lambda each: each[0][:3]
    )
    for first in range(0, len(events), SLICE_EVENTS):
        began = time.thread_time()  # without the wait for the interpreter
        messages: dict[int, list[bytes]] = defaultdict(list)
        for event, numbers in events[first : first + SLICE_EVENTS]:
            message = _ENCODER.encode(WHOLE_EVENT.event(event[3:]))
            for number in numbers:
                if too_many[number]:
                    too_many[number] -= 1
                else:
                    messages[number].append(message)
        for number, some in messages.items():
            subscriptions[number].put(some)
        yield REST * (time.thread_time() - began)


def _report_gaps(subscriptions: Sequence[Subscription], found: NewEvents) -> list[int]:
    """By subscription how many of the found events, oldest first, exceed its bound."""
    matched, rows = [0] * found.evaluated, [0] * found.evaluated
    for group in found.groups:
        for number in group.filters:
            matched[number] += group.count
            rows[number] += len(group.events)
    for number, count in enumerate(matched):
        if missed := count - min(rows[number], found.most_rows):
            subscriptions[number].miss(skipped=missed)
    return [max(0, count - found.most_rows) for count in rows]
