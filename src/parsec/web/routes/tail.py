"""GET /query/tail: new events as they are stored, as server-sent events.

In: a tenant, an expression. Out: one event's JSON per message, `event: gap` where events are missing, comments while
nothing happens, `event: end` when Parsec stops or the API key ends. Errors: 400 with the parameter's name, 429 when too
many tails are open, 503 while Parsec stops. Next: parsec.query.tail.subscriptions.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from parsec.api.parameters import TAIL
from parsec.api.query import TailEnd, TailGap
from parsec.query.tail.subscriptions import Subscription, Subscriptions, Taken
from parsec.telemetry import Telemetry
from parsec.web.parameters import parse_parameters, tenant_of

TAIL_CHUNK_BYTES = 64 << 10
HEARTBEAT_S = 10.0
"""A comment at least this often lets both sides notice that the other is gone."""

SENT_BYTES_PER_S = 32 << 20
"""To all readers together: sending takes time of the event loop, which ingest needs. Above it readers miss events."""

_HEADERS = {"X-Accel-Buffering": "no"}  # proxies pass each message on at once
_ENCODER = msgspec.json.Encoder()


class TailRoutes:
    """A reader takes a connection, but no thread."""

    def __init__(self, subscriptions: Subscriptions, telemetry: Telemetry, heartbeat_s: float = HEARTBEAT_S) -> None:
        self._subscriptions = subscriptions
        self._telemetry = telemetry
        self._heartbeat_s = heartbeat_s
        self._send_at = 0.0  # by the event loop's time: not earlier, or more than SENT_BYTES_PER_S is sent

    def routes(self) -> list[Route]:
        return [Route("/query/tail", self.tail)]

    async def tail(self, request: Request) -> Response:
        """Events that are stored from now on."""
        asked = parse_parameters(request, TAIL)
        loop, new = asyncio.get_running_loop(), asyncio.Event()
        subscription = self._subscriptions.open(
            tenant_of(request, asked.tenant), asked.q or "", lambda: _wake(loop, new)
        )
        request.scope["endless"] = True  # a stop does not wait for its end
        self._telemetry.tails.inc()
        messages = self._messages(subscription, new, request.scope["is_still_valid"])
        return _EventStream(messages, lambda: self._close(subscription))

    def _close(self, subscription: Subscription) -> None:
        self._subscriptions.remove(subscription)
        self._telemetry.tails.dec()

    async def _messages(
        self, subscription: Subscription, new: asyncio.Event, key_holds: Callable[[], bool]
    ) -> AsyncIterator[bytes]:
        yield b"retry: 1000\n: from now on\n\n"
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(new.wait(), self._heartbeat_s)
            if not new.is_set() and key_holds():
                yield b": nothing new\n\n"
                continue
            new.clear()
            while True:
                if not key_holds():
                    yield _message("end", TailEnd("The API key was revoked or has expired."))
                    return
                taken = subscription.take(TAIL_CHUNK_BYTES)
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
        self._send_at = max(self._send_at, now) + sent_bytes / SENT_BYTES_PER_S
        await asyncio.sleep(self._send_at - now)

    def _count(self, taken: Taken) -> None:
        for fate, count in (("sent", len(taken.messages)), ("skipped", taken.skipped), ("unchecked", taken.unchecked)):
            if count:
                self._telemetry.tail_events.labels(fate).inc(count)


class _EventStream(StreamingResponse):
    """Calls `close` when the answer ends, however it ends."""

    def __init__(self, content: AsyncIterator[bytes], close: Callable[[], None]) -> None:
        super().__init__(content, headers=_HEADERS, media_type="text/event-stream")
        self._close = close

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._close()


def _body(taken: Taken) -> bytes:
    parts = []
    if taken.skipped or taken.unchecked:
        parts.append(_message("gap", TailGap(taken.skipped, taken.unchecked)))
    if taken.messages:
        parts.append(b"data: " + b"\n\ndata: ".join(taken.messages) + b"\n\n")
    if taken.ended:
        parts.append(_message("end", TailEnd("Parsec is stopping.")))
    return b"".join(parts)


def _message(event: str, data: TailGap | TailEnd) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (event.encode(), _ENCODER.encode(data))


def _wake(loop: asyncio.AbstractEventLoop, new: asyncio.Event) -> None:
    with suppress(RuntimeError):  # the loop has ended, and its readers with it
        loop.call_soon_threadsafe(new.set)
