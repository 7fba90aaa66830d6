"""Events that wait to be sent, and the thread that sends them: batches, tried again as the server tells.

In: events as bytes, from any thread. Out: requests of a Client. Errors: none to who puts events in; what is dropped or
refused is counted and told once.

1. Events that wait or are on their way never hold more than `max_bytes`. What comes then is dropped, until half of it
   is free: what led to the trouble is kept, and it has one hole, which an event of its own tells.
2. Every event that was put is in the end one of sent, dropped, rejected.
3. The lock is held for moments only, never while something is sent or told.
4. The thread never puts anything in. Whoever sends holds the right to, of which there is one: taking it from a deque is
   one step, also for a signal's handler that logs while its thread does.
5. After a fork the child begins empty, with a lock, a thread and a connection of its own: the parent sends what waited.
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
LINGER_S = 1.0
"""An event waits so long for others to travel with."""
_HURRIED_S = 0.5
"""Waits of our own are no longer while somebody waits for a flush; the server's are."""
_JOIN_S = 1.0
_OVERHEAD_BYTES = 64
_TOO_LARGE = ("payload_too_large", "too_many_events")


class Counts(msgspec.Struct):
    """Events since the start. What is in none of the others waits or is on its way."""

    put: int = 0
    sent: int = 0
    dropped: int = 0
    rejected: int = 0

    @property
    def settled(self) -> int:
        return self.sent + self.dropped + self.rejected


class SendQueue:
    """`summary` makes an event that says how many were dropped."""

    def __init__(
        self, connect: Callable[[], Client], max_bytes: int, summary: Callable[[int], bytes], patience: RetryPolicy
    ) -> None:
        self._connect = connect
        self._max_bytes = max_bytes
        self._summary = summary
        self._patience = patience
        self._inherited: list[Client] = []
        self._client: Client | None = None
        self._begin()

    def _begin(self) -> None:
        self._changed = threading.Condition()  # reentrant: a signal's handler may log while its thread holds it
        self._waiting: deque[bytes] = deque()
        self._bytes = 0
        self._since = 0.0
        self._untold = 0
        self._wanted = 0
        self._stuck_at: int | None = None
        self._closed = False
        self._told: set[str] = set()
        self._right_to_send = deque([None])
        self._thread: threading.Thread | None = None
        self.counts = Counts()

    def put(self, event: bytes) -> None:
        """Takes an event, or drops it."""
        why = ""
        with self._changed:
            self._report_drops()
            self.counts.put += 1
            fits = self._bytes + len(event) + _OVERHEAD_BYTES <= self._max_bytes
            taken = fits and not self._untold and not self._closed
            if taken:
                self._append(event)
            else:
                self.counts.dropped += 1
                self._untold += 1
                why = "their handler is closed" if self._closed else f"{self._max_bytes:,} bytes of them wait already"
        if taken:
            self._start()
        else:
            self._tell(f"log events are dropped, since {why}")

    def flush(self, timeout_s: float) -> bool:
        """Waits until all that was put before is settled; False when that took longer."""
        if self.is_own_thread():
            return False
        deadline = self._now() + timeout_s
        while True:
            with self._changed:
                self._report_drops()
                wanted = self.counts.put
                self._wanted = max(self._wanted, wanted)
                self._changed.notify_all()
            self._send_here_without_thread(deadline)
            with self._changed:
                while self.counts.settled < wanted and self._now() < deadline:
                    self._changed.wait(deadline - self._now())
                done = self.counts.settled >= wanted
                self._stuck_at = None if done else self.counts.settled
                if not done or not self._untold or self._closed or self._now() >= deadline:
                    return done

    def close(self, timeout_s: float) -> None:
        """Flushes, then drops what is left and ends the thread. Safe to call twice.

        Right after a flush that settled nothing it does not wait again.
        """
        with self._changed:
            stuck = self._stuck_at == self.counts.settled
        if not self._closed:
            self.flush(0.0 if stuck else timeout_s)
        with self._changed:
            self._closed = True
            left = self.counts.put - self.counts.settled
            self.counts.dropped += left
            self._waiting.clear()
            self._changed.notify_all()
        thread = self._thread
        if thread is not None and not left:
            thread.join(_JOIN_S)
        elif thread is None and self._client is not None:
            self._client.close()
        if left:
            self._tell(f"{left:,} log events were dropped at the end, since they could not be sent in time")

    def after_fork(self) -> None:
        """In the child. The parent's connection may be in the middle of anything, its objects locked: left alone."""
        if self._client is not None:
            self._client.forget()
            self._inherited.append(self._client)
        self._client = None
        self._begin()

    def is_own_thread(self) -> bool:
        return threading.current_thread() is self._thread

    def _append(self, event: bytes) -> None:
        if not self._waiting:
            self._since = self._now()
        self._waiting.append(event)
        self._bytes += len(event) + _OVERHEAD_BYTES
        if len(self._waiting) in (1, BATCH_EVENTS) or self._bytes >= BATCH_BYTES:
            self._changed.notify_all()

    def _report_drops(self) -> None:
        """The event that tells of drops, once there is room again."""
        if self._untold and self._bytes <= self._max_bytes // 2 and not self._closed:
            told = self._summary(self._untold)
            self._untold = 0
            self.counts.put += 1
            self._append(told)

    def _start(self) -> None:
        if not self._right_to_send:
            return
        with suppress(IndexError):
            self._right_to_send.pop()
            self._thread = threading.Thread(target=self._run, name="parsec-logging", daemon=True)
            try:
                self._thread.start()
            except RuntimeError:  # the interpreter is ending, or has too many: flush sends
                self._thread = None
                self._right_to_send.append(None)

    def _run(self) -> None:
        try:
            while (batch := self._take()) is not None:
                self._deliver(b"\n".join(batch), len(batch))
            if self._client is not None:
                self._client.close()
        finally:
            self._thread = None
            self._right_to_send.append(None)

    def _send_here_without_thread(self, deadline: float) -> None:
        """What nobody else would send."""
        if not self._right_to_send:
            return
        with suppress(IndexError):
            self._right_to_send.pop()
            try:
                while self._waiting and self._now() < deadline and (batch := self._take()) is not None:
                    self._deliver(b"\n".join(batch), len(batch), deadline)
            finally:
                self._right_to_send.append(None)

    def _take(self) -> list[bytes] | None:
        """The next batch, once it is full or due; None: closed."""
        with self._changed:
            while not self._closed:
                if self._waiting:
                    due_s = self._since + LINGER_S - self._now()
                    full = len(self._waiting) >= BATCH_EVENTS or self._bytes >= BATCH_BYTES
                    if full or due_s <= 0 or self._hurried():
                        return self._cut()
                    self._changed.wait(due_s)
                else:
                    self._changed.wait()
        return None

    def _cut(self) -> list[bytes]:
        batch: list[bytes] = []
        size = 0
        while self._waiting and len(batch) < BATCH_EVENTS and size + len(self._waiting[0]) <= BATCH_BYTES:
            batch.append(self._waiting.popleft())
            size += len(batch[-1])
        return batch

    def _deliver(self, body: bytes, count: int, deadline: float | None = None) -> None:
        """Until the events have their verdicts, or nobody waits for them any more."""
        attempts = Attempts(self._patience, float("inf"))
        while True:
            try:
                if self._client is None:
                    self._client = self._connect()
                answer = self._client.send(body, give_up_after_s=None)
            except Retryable as error:
                if not self._pause(attempts.wait_s(error), error.after_s, deadline):
                    self._put_back(body)
                    return
                continue
            except Rejected as error:
                if error.code in _TOO_LARGE and count > 1:
                    self._halve(body, count, deadline)
                    return
                self._settle(body, count, dropped=count)
                self._tell(f"log events are refused: {error.message} ({error.code})")
            except Exception as error:  # noqa: BLE001 (the thread's top: what else may happen must not end it)
                self._settle(body, count, dropped=count)
                self._tell(f"log events cannot be sent: {error!r}")
            else:
                self._settle(body, count, rejected=min(answer.rejected, count))
                if answer.errors:
                    self._tell(f"log events are rejected: {answer.errors[0].message} ({answer.errors[0].code})")
            return

    def _halve(self, body: bytes, count: int, deadline: float | None) -> None:
        lines = body.split(b"\n")
        for part in (lines[: count // 2], lines[count // 2 :]):
            self._deliver(b"\n".join(part), len(part), deadline)

    def _put_back(self, body: bytes) -> None:
        with self._changed:
            if not self._closed:  # then they are counted as dropped
                self._waiting.extendleft(reversed(body.split(b"\n")))

    def _pause(self, wait_s: float, told_s: float, deadline: float | None) -> bool:
        """False: the time is up, or the outbox is closed."""
        started = self._now()
        with self._changed:
            while not self._closed:
                wanted_s = max(told_s, min(wait_s, _HURRIED_S)) if self._hurried() else wait_s
                left_s = started + wanted_s - self._now()
                if left_s <= 0:
                    return True
                if deadline is not None and self._now() + left_s > deadline:
                    return False
                self._changed.wait(left_s)
        return False

    def _settle(self, body: bytes, count: int, dropped: int = 0, rejected: int = 0) -> None:
        with self._changed:
            # The line breaks between the events are no bytes of theirs.
            self._bytes -= len(body) - (count - 1) + count * _OVERHEAD_BYTES
            if not self._closed:  # then they are counted as dropped
                self.counts.sent += count - dropped - rejected
                self.counts.dropped += dropped
                self.counts.rejected += rejected
            self._changed.notify_all()

    def _hurried(self) -> bool:
        return self._wanted > self.counts.settled

    def _tell(self, what: str) -> None:
        """A line on standard error, once for each reason: there is no other place left to say it."""
        if what in self._told:
            return
        self._told.add(what)
        with suppress(Exception):
            print(f"parsec: {what}", file=sys.stderr, flush=True)  # noqa: T201

    def _now(self) -> float:
        return self._patience.clock.monotonic()
