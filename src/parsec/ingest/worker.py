"""The worker thread: takes batches from the channel, encodes envelopes, publishes, resolves acknowledgements.

In: submissions (parsec.ingest.channel). Out: durable groups, and one call of `resolve` per publish.
Errors: a Retryable publish is tried again, then request by request, then given up with an answer; Fatal stops the
service. A writer that answers PartialPublish has done all that itself. Next: parsec.ports.broker.

A large request is published slice by slice, with whatever small ones have come meanwhile, so that they wait for a slice
of it and not for all. Its acknowledgement is that of its last slice. When a slice fails the request fails: what is in
the log of it by then is stored once with the sender's next try, like any repeat.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence

import msgspec
import structlog

from parsec.core.clock import Clock
from parsec.core.envelope import Envelope, encode_lines
from parsec.core.errors import Fatal, ParsecError, Retryable
from parsec.ingest.channel import BatchLimits, Channel, Fate, Submission
from parsec.ports.broker import Group, LogWriter, PartialPublish
from parsec.telemetry import Telemetry

GROUP_BYTES = 64 << 10
"""Of requests that become one group, and so one frame of the log: as much as damage to a single bit may cost."""

SLICE_BYTES = 512 << 10
"""Of a large request per publish: about a millisecond to encode, write and sync."""

CROWD_REQUESTS = 16
"""So many requests in one publish: others come while it is written, and the next may wait for them."""

CROWD_WAIT_S = 0.002
"""How long it waits then. Fewer, larger publishes leave more of the interpreter to the event loop."""

_log = structlog.get_logger(__name__)

Resolve = Callable[[Sequence[Submission], Fate], None]
"""Called from the worker's thread, once for each fate in a publish: what became of these submissions."""


class WorkerOptions(msgspec.Struct, frozen=True):
    """How one worker batches and how often it tries. Small requests share a group of up to `group_bytes`; after a
    publish of CROWD_REQUESTS or more the next waits `crowd_wait_s`."""

    limits: BatchLimits
    attempts: int
    group_bytes: int = GROUP_BYTES
    first_backoff_s: float = 0.05
    max_backoff_s: float = 1.0
    crowd_wait_s: float = CROWD_WAIT_S


class Worker:
    """One thread, one writer. `run` returns when the channel is closed and empty."""

    def __init__(
        self,
        channel: Channel,
        writer: LogWriter,
        resolve: Resolve,
        options: WorkerOptions,
        telemetry: Telemetry,
        clock: Clock,
        fail: Callable[[], None],
    ) -> None:
        self._channel = channel
        self._writer = writer
        self._resolve = resolve
        self._options = options
        self._telemetry = telemetry
        self._clock = clock
        self._fail = fail
        self.finished_events = 0
        self._crowded = False
        self._slices: deque[Submission] = deque()  # what is left of the large request in hand; the last has its ticket
        self._hurry = threading.Event()
        self._busy_since: float | None = None

    def run(self) -> None:
        """The thread's body. Raises Fatal when the writer can never publish again, once nobody waits any more."""
        try:
            while self.step(max_wait_s=1.0):
                pass
        except Fatal as error:
            _log.error("Nothing can be made durable any more; the service stops.", why=str(error))
            self._fail()
            self._fail_slices(error)
            while (batch := self._channel.take(self._options.limits, 1.0)) is not None:
                self._fail_all(batch, error)
            raise

    def step(self, max_wait_s: float) -> bool:
        """One batch, if one comes within max_wait_s. False: the channel is closed and empty."""
        slicing = bool(self._slices)
        if self._crowded and not slicing:
            time.sleep(self._options.crowd_wait_s)
        batch = self._channel.take(self._options.limits, 0.0 if slicing else max_wait_s, large=not slicing)
        if batch is None and not slicing:
            return False
        batch = batch or []
        self._crowded = len(batch) >= CROWD_REQUESTS
        if batch and batch[-1].body_bytes > self._channel.large_bytes:
            self._slices += _sliced(batch.pop())
        if self._slices:
            batch.append(self._slices.popleft())
        if batch:
            self._busy_since = self._clock.monotonic()
            fate = self._publish(batch)
            if isinstance(fate, Retryable):
                self._fail_slices(fate)
            self._busy_since = None
        return True

    def hurry(self) -> None:
        """From now on no waiting between attempts: the service is stopping."""
        self._hurry.set()

    def stalled_for(self) -> float:
        """Seconds since the batch in hand was taken; 0 when idle."""
        since = self._busy_since
        return 0.0 if since is None else self._clock.monotonic() - since

    def silent_for(self) -> float:
        """Seconds inside the batch in hand, whose attempts are bounded."""
        return self.stalled_for()

    def _publish(self, batch: list[Submission]) -> Retryable | PartialPublish | None:
        """What became of the last one, of which there may be more."""
        fate = self._attempt(batch, self._options.attempts)
        if isinstance(fate, Retryable) and len(batch) > 1:
            _log.warning("A batch could not be published; its requests are tried one by one.", requests=len(batch))
            for submission in batch:
                fate = self._attempt([submission], 1)
                self._settle([submission], fate)
        else:
            self._settle(batch, fate)
        return fate

    def _attempt(self, batch: list[Submission], attempts: int) -> Retryable | PartialPublish | None:
        """Publishes, waiting between attempts. Returns the last error, or what the writer says."""
        groups = [_group(together) for together in _together(batch, self._options.group_bytes)]
        backoff_s = self._options.first_backoff_s
        for left in range(attempts - 1, -1, -1):
            started = self._clock.monotonic()
            try:
                elsewhere = self._writer.publish(groups)
            except Retryable as error:
                if left == 0:
                    return error
                self._hurry.wait(backoff_s)
                backoff_s = min(backoff_s * 2, self._options.max_backoff_s)
            except Fatal as error:
                self._fail_all(batch, error)
                raise
            else:
                self._count(groups, elsewhere, self._clock.monotonic() - started)
                return elsewhere
        raise AssertionError("attempts is at least 1")

    def _count(self, groups: Sequence[Group], elsewhere: PartialPublish | None, seconds: float) -> None:
        events = sum(len(group.events) for group in groups)
        size = sum(len(group.lines) for group in groups)
        if elsewhere is not None:
            events -= elsewhere.missing_events
            size -= elsewhere.missing_bytes
        if events:
            self._telemetry.published.inc(events)
            self._telemetry.published_bytes.inc(size)
            self._telemetry.publish_latency.observe(seconds)
            self._telemetry.publish_batch.observe(events)

    def _settle(self, batch: Sequence[Submission], fate: Retryable | PartialPublish | None) -> None:
        if fate is None:
            self._finish(batch, "durable")
        elif isinstance(fate, Retryable):
            self._fail_all(batch, fate)
        else:
            self._finish_elsewhere(batch, fate)

    def _finish_elsewhere(self, batch: Sequence[Submission], elsewhere: PartialPublish) -> None:
        failed: list[Submission] = []
        spooled: list[Submission] = []
        durable: list[Submission] = []
        for number, together in enumerate(_together(batch, self._options.group_bytes)):
            if number in elsewhere.failed:
                failed += together
            elif number in elsewhere.spooled:
                spooled += together
            else:
                durable += together
        if durable:
            self._finish(durable, "durable")
        if spooled:
            self._finish(spooled, "spooled")
        if failed:
            self._complain(elsewhere.failed_events, elsewhere.why)
            self._finish(failed, Retryable(elsewhere.why))

    def _fail_slices(self, error: ParsecError) -> None:
        """The rest of a large request of which a slice has failed."""
        rest = list(self._slices)
        self._slices.clear()
        if rest:
            self._fail_all(rest, error)

    def _fail_all(self, batch: Sequence[Submission], error: ParsecError) -> None:
        self._complain(sum(len(submission.events) for submission in batch), str(error))
        self._finish(batch, error)

    def _complain(self, events: int, why: str) -> None:
        self._telemetry.publish_failed.inc(events)
        _log.warning("Events were not made durable; their senders were told to retry.", why=why)

    def _finish(self, batch: Sequence[Submission], fate: Fate) -> None:
        self._resolve(batch, fate)
        self.finished_events += sum(len(submission.events) for submission in batch)


def _sliced(submission: Submission) -> Iterator[Submission]:
    """A large one in parts of about SLICE_BYTES; the last part has the ticket."""
    events = submission.events
    parts = -(-submission.body_bytes // SLICE_BYTES)
    step = -(-len(events) // parts)
    for first in range(0, len(events), step):
        part = events[first : first + step]
        ticket = submission.ticket if first + step >= len(events) else None
        yield Submission(part, submission.body_bytes * len(part) // len(events), ticket)


def _together(batch: Sequence[Submission], group_bytes: int) -> Iterator[list[Submission]]:
    """What makes one group: each submission, small neighbours together, for a group each would cost more than they."""
    together: list[Submission] = []
    size = 0
    for submission in batch:
        if size and size + submission.body_bytes > group_bytes:
            yield together
            together, size = [], 0
        together.append(submission)
        size += submission.body_bytes
    yield together


def _group(together: Sequence[Submission]) -> Group:
    events: list[Envelope] = []
    for submission in together:
        events += submission.events
    return Group(events, encode_lines(events))
