"""One client's connection. A small uncompressed body of events, as most requests are, is answered without ASGI.

In: bytes. Out: bytes. Errors: none of its own; a request that is not plainly `POST /ingest` with a short body of known
length goes through uvicorn's protocol and parsec.web.app like any other. Next: parsec.web.routes.ingest.

1. A request takes the fast path only if no other is open on its connection, so that answers stay in order.
2. uvicorn sees the request in hand as `cycle`, whichever path it took: its shutdown and its queue of pipelined requests
   work for both.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from parsec.ingest.pipeline import Outcome
from parsec.web.http1.connection_limiter import ConnectionLimiter
from parsec.web.http1.limits import LimitedConnection
from parsec.web.http1.refusals import BODY_TOO_SLOW, Refusal
from parsec.web.routes.ingest import IngestHeaders, IngestRoute, ingest_headers, response_of

SMALL_BODY_BYTES = 64 << 10
"""uvicorn, too, holds so much of a body before an application asks for it."""

_PATH = b"/ingest"
_PATH_AND_QUERY = b"/ingest?"


class _Exchange:
    """A request on the fast path. To uvicorn it looks like a cycle of its own."""

    more_body = True
    disconnected = False
    response_started = False
    response_complete = False

    def __init__(self, connection: "FastPathConnection", headers: IngestHeaders, message_event: asyncio.Event) -> None:
        self.connection = connection
        self.headers = headers
        self.query_string = connection.url[len(_PATH_AND_QUERY) :]
        self.keep_alive = connection.parser.should_keep_alive()
        self.since = connection.loop.time()
        self.message_event = message_event
        self.body = bytearray()

    def answer(self, outcome: Outcome) -> None:
        if not self.disconnected and not self.response_complete:
            self.response_started = self.response_complete = True
            self.connection.respond(outcome, keep_alive=self.keep_alive)


class FastPathConnection(LimitedConnection):
    """Made by uvicorn for each connection. `ingest` is the route that ASGI requests reach, too."""

    def __init__(self, ingest: IngestRoute, limiter: ConnectionLimiter, **uvicorn_arguments: Any) -> None:
        super().__init__(limiter, **uvicorn_arguments)
        self._ingest = ingest
        self._exchange: _Exchange | None = None  # the last one on the fast path
        self._unused_event = asyncio.Event()

    # What the transport and the parser call.

    def connection_lost(self, exc: Exception | None) -> None:
        if self._exchange is not None:
            self._exchange.disconnected = True
        super().connection_lost(exc)

    def on_headers_complete(self) -> None:
        version = self.parser.get_http_version()
        if not self._begin_request(version):
            return
        cycle = self.cycle
        if version == "1.1" and self._asks_to_ingest() and (cycle is None or cycle.response_complete):
            headers = ingest_headers(self.headers)
            headers.address = self.client[0] if self.client else ""
            is_small = headers.length is not None and headers.length <= SMALL_BODY_BYTES
            if is_small and headers.is_plain and self.parser.get_method() == b"POST":
                self._exchange = _Exchange(self, headers, self._unused_event)
                self.cycle = self._exchange  # type: ignore[assignment]
                return
        self._begin_asgi(version)

    def on_body(self, body: bytes) -> None:
        exchange = self._exchange
        if exchange is None or self.cycle is not exchange:  # type: ignore[comparison-overlap]
            super().on_body(body)
        else:
            exchange.body += body

    def on_message_complete(self) -> None:
        exchange = self._exchange
        if exchange is None or self.cycle is not exchange:  # type: ignore[comparison-overlap]
            super().on_message_complete()
        elif exchange.more_body:
            exchange.more_body = False
            body, exchange.body = bytes(exchange.body), bytearray()  # an idle connection keeps none
            self._ingest.ingest_whole(exchange.query_string, exchange.headers, body, exchange.answer)

    def respond(self, outcome: Outcome, *, keep_alive: bool) -> None:
        """To the exchange in hand."""
        answer = [STATUS_LINE[outcome.status]]
        for name, value in self.server_state.default_headers:
            answer += (name, b": ", value, b"\r\n")
        if not keep_alive:
            answer.append(b"connection: close\r\n")
        answer.append(response_of(outcome))
        self.transport.write(b"".join(answer))
        if not keep_alive:
            self.transport.close()
        if self.pipeline or self._in_head or self._discarding or self.flow.write_paused or self.transport.is_closing():
            self.on_response_complete()
        else:  # the usual case of it
            self.server_state.total_requests += 1
            self.flow.resume_reading()
            self._idle_since = self.loop.time()

    def _asks_to_ingest(self) -> bool:
        return self.url == _PATH or self.url.startswith(_PATH_AND_QUERY)

    def _body_is_slow(self, now: float) -> bool:
        exchange = self._exchange
        if exchange is None or self.cycle is not exchange:  # type: ignore[comparison-overlap]
            return super()._body_is_slow(now)
        return exchange.more_body and self._is_too_slow(now - exchange.since, len(exchange.body))

    def _waited_s(self) -> float:
        exchange = self._exchange
        if exchange is None or self.cycle is not exchange or not exchange.more_body:  # type: ignore[comparison-overlap]
            return super()._waited_s()
        return self.loop.time() - exchange.since

    def _refuse(self, refusal: Refusal, answer: bytes | None = None) -> None:
        if refusal is BODY_TOO_SLOW and self._asks_to_ingest():
            answer = b"connection: close\r\n" + self._ingest.too_slow(self._waited_s())
        super()._refuse(refusal, answer)
