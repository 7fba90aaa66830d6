"""Events that wait to be sent, and the thread that sends them in batches and retries them as the server asks.

In: events as bytes, from any thread. Out: requests of a Client. Errors: none for the caller; dropped and rejected
events are counted, and each reason is reported once on standard error. Next: parsec.client.client.

1. Events that wait or are in flight never hold more than `max_bytes`. Further events are dropped until half of it is
   free: the events that led to the trouble are kept, in one gap, and an event of its own reports it.
2. In the end every event is one of sent, dropped, rejected.
3. The lock is held for moments only, never while something is sent or reported.
4. The thread never puts anything in. Only the holder of the one send token sends: popping it from a deque is a single
   step, also for a signal handler that logs while its thread does.
5. After a fork the child begins empty, with a lock, a thread and a connection of its own: the parent sends the rest.
"""

import sys
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress

import msgspec

from parsec.client.client import Client
from parsec.client.retries import Attempts, RetryPolicy
from parsec.core.errors import Rejected, Retryable

BATCH_EVENTS = 500
BATCH_BYTES = 1 << 20
BATCH_LINGER_S = 1.0
"""How long an event waits for others to share a request."""
_FLUSH_WAIT_S = 0.5
"""During a flush our own waits are at most this long; Retry-After still holds."""
_JOIN_S = 1.0
_OVERHEAD_BYTES = 64
_TOO_LARGE = ("payload_too_large", "too_many_events")


class SendCounts(msgspec.Struct):
    """Events since the start. The difference between `put` and the others waits or is in flight."""

    put: int = 0
    sent: int = 0
    dropped: int = 0
    rejected: int = 0

    @property
    def finished(self) -> int:
        return self.sent + self.dropped + self.rejected


class SendQueue:
    """`summary` makes an event that says how many were dropped."""

    def __init__(
        self, connect: Callable[[], Client], max_bytes: int, summary: Callable[[int], bytes], retry: RetryPolicy
    ) -> None:
        self._connect = connect
        self._max_bytes = max_bytes
        self._summary = summary
        self._retry = retry
        self._inherited: list[Client] = []
        self._client: Client | None = None
        self._begin()

    def _begin(self) -> None:
        self._changed = threading.Condition()  # reentrant: a signal handler may log while its thread holds it
        self._waiting: deque[bytes] = deque()
        self._bytes = 0
        self._oldest_at = 0.0
        self._unreported_drops = 0
        self._flush_until = 0
        self._stuck_at: int | None = None
        self._closed = False
        self._reported: set[str] = set()
        self._send_token = deque([None])
        self._thread: threading.Thread | None = None
        self.counts = SendCounts()

    def put(self, event: bytes) -> None:
        with self._changed:
            self._queue_drop_summary()
            self.counts.put += 1
            fits = self._bytes + len(event) + _OVERHEAD_BYTES <= self._max_bytes
            queued = fits and not self._unreported_drops and not self._closed
            if queued:
                self._append(event)
            else:
                self.counts.dropped += 1
                self._unreported_drops += 1
            closed = self._closed
        if queued:
            self._start()
        elif closed:
            self._report_once("log events are dropped, because their handler is closed")
        else:
            self._report_once(f"log events are dropped, because {self._max_bytes:,} bytes (max_bytes) already wait")

    def flush(self, timeout_s: float) -> bool:
        """Waits until all events so far are finished; False when that took longer."""
        if self.is_own_thread():
            return False
        deadline = self._now() + timeout_s
        while True:
            with self._changed:
                self._queue_drop_summary()
                target = self.counts.put
                self._flush_until = max(self._flush_until, target)
                self._changed.notify_all()
            self._send_without_thread(deadline)
            with self._changed:
                while self.counts.finished < target and self._now() < deadline:
                    self._changed.wait(deadline - self._now())
                done = self.counts.finished >= target
                self._stuck_at = None if done else self.counts.finished
                if not done or not self._unreported_drops or self._closed or self._now() >= deadline:
                    return done

    def close(self, timeout_s: float) -> None:
        """Flushes, then drops the rest and ends the thread. Safe to call twice.

        Does not wait again right after a flush in which no event finished.
        """
        with self._changed:
            stuck = self._stuck_at == self.counts.finished
        if not self._closed:
            self.flush(0.0 if stuck else timeout_s)
        with self._changed:
            self._closed = True
            left = self.counts.put - self.counts.finished
            self.counts.dropped += left
            self._waiting.clear()
            self._changed.notify_all()
        thread = self._thread
        if thread is not None and not left:
            thread.join(_JOIN_S)
        elif thread is None and self._client is not None:
            self._client.close()
        if left:
            self._report_once(f"log events were dropped at the end, because they could not be sent in time: {left:,}")

    def after_fork(self) -> None:
        """In the child. Leaves the parent's connection and locks alone, whatever state they are in."""
        if self._client is not None:
            self._client.abandon()
            self._inherited.append(self._client)
        self._client = None
        self._begin()

    def is_own_thread(self) -> bool:
        return threading.current_thread() is self._thread

    def _append(self, event: bytes) -> None:
        if not self._waiting:
            self._oldest_at = self._now()
        self._waiting.append(event)
        self._bytes += len(event) + _OVERHEAD_BYTES
        if len(self._waiting) in (1, BATCH_EVENTS) or self._bytes >= BATCH_BYTES:
            self._changed.notify_all()

    def _queue_drop_summary(self) -> None:
        """Queues the event that reports drops, once there is room again."""
        if self._unreported_drops and self._bytes <= self._max_bytes // 2 and not self._closed:
            summary = self._summary(self._unreported_drops)
            self._unreported_drops = 0
            self.counts.put += 1
            self._append(summary)

    def _start(self) -> None:
        if self._take_token():
            self._thread = threading.Thread(target=self._run, name="parsec-logging", daemon=True)
            try:
                self._thread.start()
            except RuntimeError:  # the interpreter is ending, or has too many threads: flush sends
                self._thread = None
                self._send_token.append(None)

    def _take_token(self) -> bool:
        try:
            self._send_token.pop()
        except IndexError:
            return False
        return True

    def _run(self) -> None:
        try:
            while (batch := self._take_batch()) is not None:
                self._deliver(b"\n".join(batch), len(batch))
            if self._client is not None:
                self._client.close()
        finally:
            self._thread = None
            self._send_token.append(None)

    def _send_without_thread(self, deadline: float) -> None:
        """Sends here when no thread does."""
        if self._take_token():
            try:
                while self._waiting and self._now() < deadline and (batch := self._take_batch()) is not None:
                    self._deliver(b"\n".join(batch), len(batch), deadline)
            finally:
                self._send_token.append(None)

    def _take_batch(self) -> list[bytes] | None:
        """The next batch, once it is full or due; None: closed."""
        with self._changed:
            while not self._closed:
                if not self._waiting:
                    self._changed.wait()
                    continue
                due_s = self._oldest_at + BATCH_LINGER_S - self._now()
                full = len(self._waiting) >= BATCH_EVENTS or self._bytes >= BATCH_BYTES
                if not full and due_s > 0 and not self._is_flushing():
                    self._pause(due_s)
                    continue
                batch: list[bytes] = []
                size = 0
                while self._waiting and len(batch) < BATCH_EVENTS and size + len(self._waiting[0]) <= BATCH_BYTES:
                    batch.append(self._waiting.popleft())
                    size += len(batch[-1])
                return batch
        return None

    def _deliver(self, body: bytes, count: int, deadline: float | None = None) -> None:
        """Retries until the events are finished, the deadline has passed, or the queue is closed."""
        attempts = Attempts(self._retry, float("inf"))
        while True:
            try:
                if self._client is None:
                    self._client = self._connect()
                answer = self._client.send(body, give_up_after_s=None)
            except Retryable as error:
                if not self._wait_to_retry(attempts.wait_s(error), error.after_s, deadline):
                    self._put_back(body)
                    return
                continue
            except Rejected as error:
                if error.code in _TOO_LARGE and count > 1:
                    self._deliver_halves(body, count, deadline)
                    return
                self._finish(body, count, dropped=count)
                self._report_once(f"log events are refused: {error.message} ({error.code})")
            except Exception as error:  # noqa: BLE001 (the thread's top: no fault may end it)
                self._finish(body, count, dropped=count)
                self._report_once(f"log events cannot be sent: {error!r}")
            else:
                self._finish(body, count, rejected=min(answer.rejected, count))
                if answer.errors:
                    self._report_once(f"log events are rejected: {answer.errors[0].message} ({answer.errors[0].code})")
            return

    def _deliver_halves(self, body: bytes, count: int, deadline: float | None) -> None:
        lines = body.split(b"\n")
        for half in (lines[: count // 2], lines[count // 2 :]):
            self._deliver(b"\n".join(half), len(half), deadline)

    def _put_back(self, body: bytes) -> None:
        with self._changed:
            if not self._closed:  # else they are counted as dropped
                self._waiting.extendleft(reversed(body.split(b"\n")))

    def _wait_to_retry(self, wait_s: float, retry_after_s: float, deadline: float | None) -> bool:
        """False: the deadline would pass, or the queue is closed."""
        started = self._now()
        with self._changed:
            while not self._closed:
                shortest_s = max(retry_after_s, min(wait_s, _FLUSH_WAIT_S)) if self._is_flushing() else wait_s
                left_s = started + shortest_s - self._now()
                if left_s <= 0:
                    return True
                if deadline is not None and self._now() + left_s > deadline:
                    return False
                self._pause(left_s)
        return False

    def _pause(self, seconds: float) -> None:
        """Waits in the sending thread, which holds the lock, unless something changes before."""
        self._changed.wait(seconds)

    def _finish(self, body: bytes, count: int, dropped: int = 0, rejected: int = 0) -> None:
        with self._changed:
            # The newlines between the events do not count.
            self._bytes -= len(body) - (count - 1) + count * _OVERHEAD_BYTES
            if not self._closed:  # else they are counted as dropped
                self.counts.sent += count - dropped - rejected
                self.counts.dropped += dropped
                self.counts.rejected += rejected
            self._changed.notify_all()

    def _is_flushing(self) -> bool:
        return self._flush_until > self.counts.finished

    def _report_once(self, what: str) -> None:
        """One line on standard error for each reason: the logging module itself is no place for it."""
        if what in self._reported:
            return
        self._reported.add(what)
        with suppress(Exception):
            print(f"parsec: {what}", file=sys.stderr, flush=True)  # noqa: T201

    def _now(self) -> float:
        return self._retry.clock.monotonic()
