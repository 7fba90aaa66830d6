"""GET /query/tail: events as they are stored, as server-sent events.

In: a tenant, an expression. Out: one event's JSON per message, `event: gap` with how many were missed by a reader that
is too slow, comments while nothing happens, `event: end` when Parsec stops or the key ends. Errors: 400 with the
parameter's name, 429 while there are too many readers, 503 while Parsec stops. Next: parsec.query.tail.subscriptions.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from parsec.api.parameters import TAIL
from parsec.query.tail.subscriptions import Subscription, Subscriptions, Taken
from parsec.telemetry import Telemetry
from parsec.web.parameters import parameters, tenant_of

TAIL_CHUNK_BYTES = 64 << 10
HEARTBEAT_S = 10.0
"""So often something is sent, so that both sides notice when the other is gone."""

DELIVERED_BYTES_PER_S = 32 << 20
"""To all readers together: sending takes the event loop's time, which ingest needs. Beyond it readers miss events."""

_HEADERS = {"X-Accel-Buffering": "no"}


class TailRoutes:
    """One address. A reader holds a connection, and no thread."""

    def __init__(self, tails: Subscriptions, telemetry: Telemetry, heartbeat_s: float = HEARTBEAT_S) -> None:
        self._tails = tails
        self._telemetry = telemetry
        self._heartbeat_s = heartbeat_s
        self._free_at = 0.0  # by the event loop's time: when all that was sent is paid for

    def routes(self) -> list[Route]:
        return [Route("/query/tail", self.tail)]

    async def tail(self, request: Request) -> Response:
        """What is stored from now on."""
        asked = parameters(request, TAIL)
        loop, came = asyncio.get_running_loop(), asyncio.Event()
        tail = self._tails.open(tenant_of(request, asked.tenant), asked.q or "", lambda: _wake(loop, came))
        request.scope["endless"] = True  # a stop does not wait for it to be read
        self._telemetry.tails.inc()
        return _Stream(self._messages(tail, came, request.scope["still"]), lambda: self._left(tail))

    def _left(self, tail: Subscription) -> None:
        self._tails.leave(tail)
        self._telemetry.tails.dec()

    async def _messages(
        self, tail: Subscription, came: asyncio.Event, still: Callable[[], bool]
    ) -> AsyncIterator[bytes]:
        yield b"retry: 1000\n: from now on\n\n"
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(came.wait(), self._heartbeat_s)
            if not came.is_set() and still():
                yield b": nothing new\n\n"
                continue
            came.clear()
            while True:
                if not still():
                    yield _ended("The API key has ended.")
                    return
                taken = tail.take(TAIL_CHUNK_BYTES)
                self._count(taken)
                if body := _body(taken):
                    yield body
                    await self._pause(len(body))
                if taken.ended:
                    return
                if not taken.messages:
                    break

    async def _pause(self, sent_bytes: int) -> None:
        now = asyncio.get_running_loop().time()
        self._free_at = max(self._free_at, now) + sent_bytes / DELIVERED_BYTES_PER_S
        await asyncio.sleep(self._free_at - now)

    def _count(self, taken: Taken) -> None:
        for fate, count in (("sent", len(taken.messages)), ("skipped", taken.skipped), ("unchecked", taken.unchecked)):
            if count:
                self._telemetry.tail_events.labels(fate).inc(count)


class _Stream(StreamingResponse):
    """Calls `left` when the answer ends, however it ends."""

    def __init__(self, content: AsyncIterator[bytes], left: Callable[[], None]) -> None:
        super().__init__(content, headers=_HEADERS, media_type="text/event-stream")
        self._left = left

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._left()


def _body(taken: Taken) -> bytes:
    parts = []
    if taken.skipped or taken.unchecked:
        parts.append(b'event: gap\ndata: {"skipped":%d,"unchecked":%d}\n\n' % (taken.skipped, taken.unchecked))
    if taken.messages:
        parts.append(b"data: " + b"\n\ndata: ".join(taken.messages) + b"\n\n")
    if taken.ended:
        parts.append(_ended("Parsec is stopping."))
    return b"".join(parts)


def _ended(why: str) -> bytes:
    return b'event: end\ndata: {"why":"%b"}\n\n' % why.encode()


def _wake(loop: asyncio.AbstractEventLoop, came: asyncio.Event) -> None:
    try:
        loop.call_soon_threadsafe(came.set)
    except RuntimeError:
        return  # the loop has ended, and its readers with it
