"""One kept-alive connection of a load: a request, its answer, the next request.

In: requests of a Schedule and their due times. Out: each answer, counted there. Errors: Rejected when the answers are
not Parsec's, OSError when the connection breaks again and again. Next: parsec.loadgen.load.

1. Each request taken from the schedule is counted once: answered, or unanswered because the connection broke. A request
   that was taken but not yet sent survives the connection and is sent on the next.
2. A fault in an answer ends `run`: asyncio would only log an exception that leaves a callback.
"""

import asyncio
from typing import cast

import httptools

from parsec.api.problem import retry_after_s
from parsec.core.errors import Rejected
from parsec.loadgen.plan import Schedule

_RECONNECT_WAITS_S = (0.0, 0.1, 0.2, 0.4, 0.8)
"""Before each attempt in a row, then it gives up. Any answer restarts the row."""
_RESTART_WAITS_S = (0.5,) * 60
"""The same while nothing listens: a server that was killed needs seconds to start again."""

_SHORTEST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 60.0
_EARLY_S = 0.001
"""Timers are up to a millisecond late, which is not the server's latency."""

_LONGEST_ANSWER = 1 << 20
_CHECK = "check that Parsec listens at this address"


class LoadConnection(asyncio.Protocol):
    """Call `open`, then `run`; the same object serves every connection that replaces a broken one."""

    def __init__(self, schedule: Schedule) -> None:
        self._schedule = schedule
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._next: tuple[bytes, float | None] | None = None
        self._since = self._sent_at = 0.0
        self._not_before = 0.0
        self._waiting = False
        self._keep_alive = True
        self._answers = 0
        self._body = b""
        self._retry_after = b""
        self._has_answered = False
        self._failure: Exception | None = None
        self._ended: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    async def open(self) -> None:
        """Connects and begins to send. Raises OSError."""
        address, loop = self._schedule.address, asyncio.get_running_loop()
        self._ended = loop.create_future()
        await loop.create_connection(lambda: self, address.host, address.port, ssl=self._schedule.tls)

    async def run(self) -> None:
        """Until the plan is fulfilled; replaces a broken connection. Raises Rejected, OSError."""
        waits, restart_waits = iter(_RECONNECT_WAITS_S), iter(_RESTART_WAITS_S)
        next_waits = waits
        broken: OSError = ConnectionError("the server closes connections without an answer")
        while not await self._ended:
            if self._failure is not None:
                raise self._failure
            if self._has_answered:
                waits, restart_waits = iter(_RECONNECT_WAITS_S), iter(_RESTART_WAITS_S)
                next_waits, self._has_answered = waits, False
            wait_s = next(next_waits, None)
            if wait_s is None:
                raise broken
            await asyncio.sleep(wait_s)
            try:
                await self.open()
                self._schedule.result.reconnected += 1
                next_waits = waits
            except OSError as error:
                broken, next_waits = error, restart_waits
                self._end(fulfilled=False)

    def abort_overdue(self) -> None:
        """Breaks the connection, for `run` to replace it, when its answer is overdue."""
        waited_s = self._schedule.clock() - self._sent_at
        if self._waiting and self._transport is not None and waited_s >= self._schedule.plan.timeout_s:
            self._transport.abort()

    def close(self) -> None:
        """Breaks off; a request without an answer counts as unanswered."""
        if self._transport is not None:
            self._transport.abort()
        self._lost()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's own class is not derived from asyncio's
        self._parser = httptools.HttpResponseParser(self)
        self._body, self._answers = b"", 0
        self._proceed()

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
            if self._answers:
                self._take_answer()
            elif len(self._body) > _LONGEST_ANSWER:
                raise Rejected("not_parsec", f"an answer has more than {_LONGEST_ANSWER} bytes; {_CHECK}")
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._fail(Rejected("not_parsec", f"the answer is not HTTP; {_CHECK}: {error}"))
        except Exception as error:  # noqa: BLE001 (the top of a callback: the run fails with it)
            self._fail(error)

    def connection_lost(self, _: Exception | None) -> None:
        self._lost()
        self._end(fulfilled=False)

    def on_header(self, name: bytes, value: bytes) -> None:
        if len(name) == 11 and name.lower() == b"retry-after":
            self._retry_after = value

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        self._answers += 1
        self._keep_alive = self._parser.should_keep_alive()  # known here only

    def _take_answer(self) -> None:
        if self._answers > 1 or not self._waiting:
            raise Rejected("not_parsec", f"an answer came without a request; {_CHECK}")
        now = self._schedule.clock()
        body, self._body = self._body, b""
        self._waiting, self._answers, self._has_answered = False, 0, True
        if self._schedule.count(self._parser.get_status_code(), body, now - self._since):
            pause_s = retry_after_s(self._retry_after.decode("latin-1"))
            self._not_before = now + min(max(pause_s, _SHORTEST_PAUSE_S), _LONGEST_PAUSE_S)
        self._retry_after = b""
        if self._keep_alive:
            self._proceed()
        else:
            assert self._transport is not None
            self._transport.close()

    def _proceed(self) -> None:
        """Takes the next request, or ends; sends it, or waits for its time."""
        if self._not_before:
            wait_s = min(self._not_before, self._schedule.ends_at) - self._schedule.clock()
            if wait_s > 0:
                self._timer = asyncio.get_running_loop().call_later(wait_s, self._proceed)
                return
            self._not_before = 0.0
        if self._next is None:
            self._next = self._schedule.next_request()
            if self._next is None:
                self._end(fulfilled=True)
                return
        due = self._next[1]
        wait_s = 0.0 if due is None else due - self._schedule.clock() - _EARLY_S
        if wait_s > 0:
            self._timer = asyncio.get_running_loop().call_later(wait_s, self._send)
        else:
            self._send()

    def _send(self) -> None:
        assert self._transport is not None
        assert self._next is not None
        if self._transport.is_closing():
            return
        (request, due), self._next = self._next, None
        self._sent_at = now = self._schedule.clock()
        self._since = now if due is None else min(due, now)
        self._waiting = True
        self._transport.write(request)

    def _lost(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._waiting:
            self._waiting = False
            self._schedule.count_unanswered()

    def _fail(self, error: Exception) -> None:
        self._failure = error
        self._end(fulfilled=False)

    def _end(self, *, fulfilled: bool) -> None:
        if not self._ended.done():
            self._ended.set_result(fulfilled)
