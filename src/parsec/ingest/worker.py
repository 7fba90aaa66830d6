"""The worker thread: takes batches from the channel, encodes envelopes, publishes, resolves acknowledgements.

In: submissions (parsec.ingest.channel). Out: durable groups, and one call of `resolve` per publish.
Errors: a Retryable publish is tried again, then request by request, then given up with an answer; Fatal stops the
service. Next: parsec.ports.broker.
"""

import threading
from collections.abc import Callable, Iterator, Sequence

import msgspec
import structlog

from parsec.core.clock import Clock
from parsec.core.envelope import Envelope, encode_lines
from parsec.core.errors import Fatal, ParsecError, Retryable
from parsec.ingest.channel import BatchLimits, Channel, Submission
from parsec.ports.broker import Group, LogWriter
from parsec.telemetry import Telemetry

GROUP_BYTES = 64 << 10
"""Of requests that become one group, and so one frame of the log: as much as damage to a single bit may cost."""

_log = structlog.get_logger(__name__)

Resolve = Callable[[Sequence[Submission], ParsecError | None], None]
"""Called once per publish from the worker's thread: these submissions are durable (None), or failed with this error."""


class WorkerOptions(msgspec.Struct, frozen=True):
    """How one worker batches and how often it tries."""

    limits: BatchLimits
    attempts: int
    first_backoff_s: float = 0.05
    max_backoff_s: float = 1.0


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
            while (batch := self._channel.take(self._options.limits, 1.0)) is not None:
                self._finish(batch, error)
            raise

    def step(self, max_wait_s: float) -> bool:
        """One batch, if one comes within max_wait_s. False: the channel is closed and empty."""
        batch = self._channel.take(self._options.limits, max_wait_s)
        if batch is None:
            return False
        if batch:
            self._busy_since = self._clock.monotonic()
            self._publish(batch)
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

    def _publish(self, batch: list[Submission]) -> None:
        error = self._attempt(batch, self._options.attempts)
        if error is None or len(batch) == 1:
            self._finish(batch, error)
            return
        _log.warning("A batch could not be published; its requests are tried one by one.", requests=len(batch))
        for submission in batch:
            self._finish([submission], self._attempt([submission], 1))

    def _attempt(self, batch: list[Submission], attempts: int) -> ParsecError | None:
        """Publishes, waiting between attempts. Returns the last error, None when durable."""
        groups = [Group(events, encode_lines(events)) for events in _together(batch)]
        backoff_s = self._options.first_backoff_s
        for left in range(attempts - 1, -1, -1):
            started = self._clock.monotonic()
            try:
                self._writer.publish(groups)
            except Retryable as error:
                if left == 0:
                    return error
                self._hurry.wait(backoff_s)
                backoff_s = min(backoff_s * 2, self._options.max_backoff_s)
            except Fatal as error:
                self._finish(batch, error)
                raise
            else:
                self._count(groups, self._clock.monotonic() - started)
                return None
        raise AssertionError("attempts is at least 1")

    def _count(self, groups: Sequence[Group], seconds: float) -> None:
        events = sum(len(group.events) for group in groups)
        self._telemetry.published.inc(events)
        self._telemetry.published_bytes.inc(sum(len(group.lines) for group in groups))
        self._telemetry.publish_latency.observe(seconds)
        self._telemetry.publish_batch.observe(events)

    def _finish(self, batch: Sequence[Submission], error: ParsecError | None) -> None:
        if error is not None:
            self._telemetry.publish_failed.inc(sum(len(submission.events) for submission in batch))
            _log.warning("Events were not made durable; their senders were told to retry.", why=str(error))
        self._resolve(batch, error)
        self.finished_events += sum(len(submission.events) for submission in batch)


def _together(batch: Sequence[Submission]) -> Iterator[Sequence[Envelope]]:
    """The events of each submission, those of small neighbours in one list: a group each would cost more than they."""
    events: list[Envelope] = []
    size = 0
    for submission in batch:
        if size and size + submission.body_bytes > GROUP_BYTES:
            yield events
            events, size = [], 0
        events += submission.events
        size += submission.body_bytes
    yield events
