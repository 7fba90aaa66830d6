"""The worker thread: take batches from the channel, encode envelopes, publish, acknowledge.

In: submissions (parsec.ingest.channel). Out: durable groups in the log, and the fate of each submission back to the
channel. Errors: a Retryable publish is tried again, then request by request, then refused; Fatal stops the service. A
writer that returns PartialPublish has done its own retries. Next: parsec.ports.broker.

A large request is published slice by slice, beside the small ones that have come meanwhile, so that they wait for a
slice of it and not for all. The fate of its last slice is its own. When a slice fails the request fails: the slices
already in the log are stored once with the sender's next try, like any repeat.
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
"""Requests up to this size in all share a group, and so a frame of the log: as much as damage to one bit may cost."""

PUBLISH_SLICE_BYTES = 512 << 10
"""A slice of a large request: about a millisecond to encode, write and sync."""

CROWD_REQUESTS = 16
"""After a publish of so many requests more are about to arrive, and the next publish waits for them."""

CROWD_WAIT_S = 0.002
"""Fewer, larger publishes leave more of the interpreter to the event loop."""

_log = structlog.get_logger(__name__)


class WorkerOptions(msgspec.Struct, frozen=True):
    """How one worker batches and how often it tries. Small requests share a group of up to `group_bytes`."""

    limits: BatchLimits
    attempts: int
    group_bytes: int = GROUP_BYTES
    first_backoff_s: float = 0.05
    max_backoff_s: float = 1.0


class Worker:
    """One thread, one writer. `run` returns when the channel is closed and empty."""

    def __init__(
        self, channel: Channel, writer: LogWriter, options: WorkerOptions, telemetry: Telemetry, clock: Clock,
        fail: Callable[[], None],
    ) -> None:  # fmt: skip
        self._channel = channel
        self._writer = writer
        self._options = options
        self._telemetry = telemetry
        self._clock = clock
        self._fail = fail
        self._crowded = False
        self._slices: deque[Submission] = deque()  # the rest of the large request in hand
        self._stopping = threading.Event()
        self._busy_since: float | None = None

    def run(self) -> None:
        """The thread's body. Raises Fatal when the writer can never publish again, once every request is answered."""
        try:
            while self.step(max_wait_s=1.0):
                pass
        except Fatal as error:
            _log.error("The log accepts no more events. The service stops.", why=str(error))
            self._fail()
            self._refuse_slices(error)
            while (batch := self._channel.take(self._options.limits, 1.0)) is not None:
                self._refuse(batch, error)
            raise

    def step(self, max_wait_s: float) -> bool:
        """One batch, if one comes within max_wait_s. False: the channel is closed and empty."""
        slicing = bool(self._slices)
        if self._crowded and not slicing:
            time.sleep(CROWD_WAIT_S)
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
            failed = self._publish(batch, self._options.attempts)
            if failed is not None:
                self._refuse_slices(failed)
            self._busy_since = None
        return True

    def begin_shutdown(self) -> None:
        """From now on no waiting between attempts."""
        self._stopping.set()

    def stalled_for(self) -> float:
        """Seconds since the batch in hand was taken; 0 when idle."""
        since = self._busy_since
        return 0.0 if since is None else self._clock.monotonic() - since

    def silent_for(self) -> float:
        """Seconds inside the batch in hand, whose attempts are bounded."""
        return self.stalled_for()

    def _publish(self, batch: Sequence[Submission], attempts: int) -> Retryable | None:
        """Publishes and acknowledges the batch as one, else each request alone. Returns why the last one failed."""
        requests = _grouped(batch, self._options.group_bytes)
        fate = self._attempt(batch, [_group(submissions) for submissions in requests], attempts)
        if fate is None:
            self._channel.acknowledge(batch, "durable")
        elif isinstance(fate, PartialPublish):
            self._acknowledge_partly(requests, fate)
        elif len(batch) == 1:
            self._refuse(batch, fate)
            return fate
        else:
            _log.warning("A batch could not be published; its requests are tried one by one.", requests=len(batch))
            return [self._publish([submission], 1) for submission in batch][-1]
        return None

    def _attempt(
        self, batch: Sequence[Submission], groups: Sequence[Group], attempts: int
    ) -> Retryable | PartialPublish | None:
        """Waits between attempts. Returns the last error, or what the writer returns. Raises Fatal."""
        backoff_s = self._options.first_backoff_s
        while True:
            started = self._clock.monotonic()
            try:
                partial = self._writer.publish(groups)
            except Retryable as error:
                attempts -= 1
                if not attempts:
                    return error
                self._stopping.wait(backoff_s)
                backoff_s = min(backoff_s * 2, self._options.max_backoff_s)
            except Fatal as error:
                self._refuse(batch, error)
                raise
            else:
                self._count(groups, partial, self._clock.monotonic() - started)
                return partial

    def _count(self, groups: Sequence[Group], partial: PartialPublish | None, seconds: float) -> None:
        events = sum([len(group.events) for group in groups])
        size = sum([len(group.lines) for group in groups])
        if partial is not None:
            events -= partial.missing_events
            size -= partial.missing_bytes
        if events:
            self._telemetry.published.inc(events)
            self._telemetry.published_bytes.inc(size)
            self._telemetry.publish_latency.observe(seconds)
            self._telemetry.publish_batch.observe(events)

    def _acknowledge_partly(self, requests: Sequence[Sequence[Submission]], partial: PartialPublish) -> None:
        """`requests`: the submissions of each group."""
        fates: dict[Fate, list[Submission]] = {}
        refused = Retryable(partial.why)
        for number, submissions in enumerate(requests):
            spooled: Fate = "spooled" if number in partial.spooled else "durable"
            fates.setdefault(refused if number in partial.failed else spooled, []).extend(submissions)
        if refused in fates:
            self._report_refused(partial.failed_events, partial.why)
        for fate, submissions in fates.items():
            self._channel.acknowledge(submissions, fate)

    def _refuse_slices(self, error: ParsecError) -> None:
        """The rest of a large request after one of its slices failed."""
        rest = list(self._slices)
        self._slices.clear()
        if rest:
            self._refuse(rest, error)

    def _refuse(self, batch: Sequence[Submission], error: ParsecError) -> None:
        self._report_refused(sum([len(submission.events) for submission in batch]), str(error))
        self._channel.acknowledge(batch, error)

    def _report_refused(self, events: int, why: str) -> None:
        self._telemetry.publish_failed.inc(events)
        _log.warning("Events could not be made durable. Their senders get 503 and may retry.", events=events, why=why)


def _sliced(submission: Submission) -> Iterator[Submission]:
    """A large one in parts of about PUBLISH_SLICE_BYTES; the last part has the acknowledgement."""
    events = submission.events
    parts = -(-submission.body_bytes // PUBLISH_SLICE_BYTES)
    step = -(-len(events) // parts)
    for first in range(0, len(events), step):
        part = events[first : first + step]
        ack = submission.ack if first + step >= len(events) else None
        yield Submission(part, submission.body_bytes * len(part) // len(events), ack)


def _grouped(batch: Sequence[Submission], group_bytes: int) -> list[list[Submission]]:
    """The submissions of each group: small neighbours together, for a group of its own would cost more than they do."""
    groups: list[list[Submission]] = []
    size = 0
    for submission in batch:
        size += submission.body_bytes
        if size > group_bytes or not groups:
            groups.append([])
            size = submission.body_bytes
        groups[-1].append(submission)
    return groups


def _group(submissions: Sequence[Submission]) -> Group:
    events: list[Envelope] = []
    for submission in submissions:
        events += submission.events
    return Group(events, encode_lines(events))
