"""The queue between the event loop and the workers, bounded by events and bytes, and the way back of acknowledgements.

In: submissions, one per request, offered without blocking. Out: batches of whole submissions for a worker thread, and
the fate of each for the event loop. Errors: none; a full or closed channel answers `offer` with False.
Next: parsec.ingest.worker.

Invariants:
1. A submission is admitted only while both counts are below their bounds, so the channel overshoots by one request;
   submissions `beyond`, of tenants with little in flight (parsec.ingest.admission), have as much room again.
2. `buffered_events` and `buffered_bytes` are exactly those of submissions offered and not yet taken.
3. What was admitted is taken exactly once, in the order of its lane, also after `close`; nothing is admitted after it.
4. A batch is whole submissions; it closes once it holds the limit, so only a single larger submission exceeds it.
5. A submission of more than `large_bytes` waits in a lane of its own: a batch holds at most one, as its last, and only
   for a worker that asks for it. So a small submission never waits for several large ones.
6. Each `ack` is called once, on the event loop, which is woken once for all submissions that share a publish and a
   fate. A worker is woken once, too, for all submissions that were offered in one turn of the loop.
7. A batch below its limits waits up to `fill_wait_s` for more while another batch is in flight, because fewer, larger
   batches cost less. With none in flight it is sent at once.
"""

import asyncio
import contextlib
import queue
import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Literal

import msgspec
import structlog

from parsec.core.clock import Clock, SystemClock
from parsec.core.envelope import Envelope
from parsec.core.errors import ParsecError

Fate = ParsecError | Literal["durable", "spooled"]
"""What became of a submission: in the log, on this machine until the log takes it, or refused with this error."""

_log = structlog.get_logger(__name__)


class Submission(msgspec.Struct, eq=False):
    """The valid events of one request on their way to the log.

    `body_bytes`: the size of the request's body, which the channel counts. `ack`: called with the fate; None for each
    slice of a large request but the last. `beyond`: see invariant 1.
    """

    events: Sequence[Envelope]
    body_bytes: int
    ack: Callable[[Fate], object] | None = None
    beyond: bool = False


class BatchLimits(msgspec.Struct, frozen=True):
    """When a batch is closed: at a count, at a size, or after `fill_wait_s` in which it waits to fill while another
    batch is in flight."""

    max_events: int
    max_bytes: int
    fill_wait_s: float = 0.0


class _Beyond:
    """Events and bytes, ever, of submissions that were offered as `beyond`."""

    __slots__ = ("bytes", "events")

    def __init__(self) -> None:
        self.events = self.bytes = 0

    def add(self, submission: Submission) -> None:
        self.events += len(submission.events)
        self.bytes += submission.body_bytes


class Channel:
    """One producer (the event loop), any number of workers."""

    def __init__(
        self, max_events: int, max_bytes: int, large_bytes: int = sys.maxsize,
        loop: asyncio.AbstractEventLoop | None = None, clock: Clock | None = None,
    ) -> None:  # fmt: skip
        """Without a loop a worker is woken for each submission, and acknowledgements are delivered on its thread."""
        self.max_events = max_events
        self.max_bytes = max_bytes
        self.large_bytes = large_bytes
        self._waiting: deque[Submission] = deque()
        self._large: deque[Submission] = deque()
        self._loop = loop
        self._clock = clock or SystemClock()
        self._bell: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._ring_due = False
        self.offered_events = 0  # ever admitted; written by the event loop only
        self._offered_bytes = 0
        self._taken_events = 0  # written under the lock of the takers
        self._taken_bytes = 0
        self._beyond = (_Beyond(), _Beyond())  # offered and taken, in the same way
        self._taking = threading.Lock()
        self._fills = False
        self._acknowledged_events = 0  # written under its lock
        self._acknowledging = threading.Lock()
        self._closed = False

    @property
    def buffered_events(self) -> int:
        return self.offered_events - self._taken_events

    @property
    def buffered_bytes(self) -> int:
        return self._offered_bytes - self._taken_bytes

    @property
    def in_flight_events(self) -> int:
        """Events whose fate is unknown: those that wait for a worker, and those that one publishes."""
        return self.offered_events - self._acknowledged_events

    def has_room(self, *, beyond: bool = False) -> bool:
        events, size = self.offered_events - self._taken_events, self._offered_bytes - self._taken_bytes
        if events >= self.max_events or size >= self.max_bytes:
            offered, taken = self._beyond
            events_beyond, size_beyond = offered.events - taken.events, offered.bytes - taken.bytes
            events = events_beyond if beyond else events - events_beyond
            size = size_beyond if beyond else size - size_beyond
        return not self._closed and events < self.max_events and size < self.max_bytes

    def offer(self, submission: Submission) -> bool:
        """Admits the submission whole, or answers False at once. Never blocks."""
        if not self.has_room(beyond=submission.beyond):
            return False
        if submission.beyond:
            self._beyond[0].add(submission)
        self.offered_events += len(submission.events)
        self._offered_bytes += submission.body_bytes
        (self._large if submission.body_bytes > self.large_bytes else self._waiting).append(submission)
        if self._loop is None:
            self._bell.put(None)
        elif not self._ring_due:  # a bell for each of many small requests would cost more than they do
            self._ring_due = True
            self._loop.call_soon(self._ring)
        return True

    def _ring(self) -> None:
        self._ring_due = False
        self._bell.put(None)

    def take(self, limits: BatchLimits, max_wait_s: float, *, large: bool = True) -> list[Submission] | None:
        """The next batch, with a large submission only if asked for.

        Empty: nothing within max_wait_s, or nothing new. None: closed and drained, for every worker.
        """
        with self._taking:
            if not (self._waiting or self._closed or (large and self._large)):
                self._wait(max_wait_s)
            closed = self._closed  # before looking: nothing is admitted after it
            batch: list[Submission] = []
            events, size = self._move(batch, limits, 0, 0)
            if limits.fill_wait_s and batch:
                events, size = self._fill(batch, limits, events, size)
            if large and self._large and events < limits.max_events and size < limits.max_bytes:
                submission = self._large.popleft()
                batch.append(submission)
                events += len(submission.events)
                size += submission.body_bytes
            for submission in batch:
                if submission.beyond:
                    self._beyond[1].add(submission)
            self._taken_events += events
            self._taken_bytes += size
            return None if closed and not (batch or self._large) else batch

    def _move(self, batch: list[Submission], limits: BatchLimits, events: int, size: int) -> tuple[int, int]:
        """From the lane of small submissions into the batch, which has so many events and bytes; those it has then."""
        while self._waiting and events < limits.max_events and size < limits.max_bytes:
            submission = self._waiting.popleft()
            batch.append(submission)
            events += len(submission.events)
            size += submission.body_bytes
        return events, size

    def _fill(self, batch: list[Submission], limits: BatchLimits, events: int, size: int) -> tuple[int, int]:
        """Invariant 7. Only the holder of the takers' lock waits, so other workers do not split what arrives."""
        until = self._clock.monotonic() + limits.fill_wait_s
        self._fills = True  # before looking: the bell of an acknowledgement must not be missed
        while events < limits.max_events and size < limits.max_bytes and not self._closed:
            left_s = until - self._clock.monotonic()
            if left_s <= 0 or self._taken_events == self._acknowledged_events:
                break
            self._wait(left_s)
            events, size = self._move(batch, limits, events, size)
        self._fills = False
        return events, size

    def _wait(self, max_wait_s: float) -> None:
        with contextlib.suppress(queue.Empty):
            self._bell.get(timeout=max_wait_s)

    def acknowledge(self, batch: Sequence[Submission], fate: Fate) -> None:
        """Called by a worker, once for each fate in a publish."""
        with self._acknowledging:
            self._acknowledged_events += sum([len(submission.events) for submission in batch])
        if self._fills:
            self._bell.put(None)  # the batch that waits to fill may be the only one now
        if self._loop is None:
            _deliver(batch, fate)
        else:
            self._loop.call_soon_threadsafe(_deliver, batch, fate)

    def close(self) -> None:
        """Admits nothing from now on; workers still get what was admitted. Called by the event loop's thread."""
        self._closed = True
        self._bell.put(None)


def _deliver(batch: Sequence[Submission], fate: Fate) -> None:
    for submission in batch:
        if submission.ack is not None:
            try:
                submission.ack(fate)
            except Exception:  # noqa: BLE001 (the failure of one request does not concern the others)
                _log.exception("A request could not be answered.")
