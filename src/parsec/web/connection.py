"""One client's connection. What most requests are, a small whole body of events, is answered without ASGI in between.

In: bytes. Out: bytes. Errors: none of its own; a request that is not plainly `POST /ingest` with a short body of known
length goes through uvicorn's protocol and parsec.web.app like any other. Next: parsec.web.ingest_routes.

1. A request takes the short way only if no other is open on its connection, so answers stay in order.
2. uvicorn sees the request in hand as `cycle`, whichever way it took: its shutdown and its queue of pipelined requests
   work for both.
3. No timer per request: `sweep`, once a second, ends what has taken too long. A body on ASGI's way has its own.
"""

import asyncio
from functools import partial
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from parsec.ingest.pipeline import Outcome
from parsec.web.ingest_routes import Heads, IngestRoute, answer_of, heads_of

SMALL_BODY_BYTES = 64 << 10
"""What uvicorn, too, holds of a body before anybody asks for it."""

_PATH = b"/ingest"
_PATH_AND_QUERY = b"/ingest?"


class _Exchange:
    """A request on the short way; to uvicorn it looks like its own kind."""

    __slots__ = ("body", "disconnected", "heads", "keep_alive", "message_event", "more_body", "query_string",
                 "response_complete", "response_started", "since")  # fmt: skip

    def __init__(
        self, query_string: bytes, heads: Heads, keep_alive: bool, since: float, message_event: asyncio.Event
    ) -> None:
        self.query_string = query_string
        self.heads = heads
        self.keep_alive = keep_alive
        self.since = since
        self.message_event = message_event
        self.body = bytearray()
        self.more_body = True
        self.disconnected = False
        self.response_started = False
        self.response_complete = False


class Connection(HttpToolsProtocol):
    """Made by uvicorn for each connection; `ingest` is the same route that ASGI requests reach."""

    def __init__(self, ingest: IngestRoute, **of_uvicorn: Any) -> None:
        super().__init__(**of_uvicorn)
        self._ingest = ingest
        self._exchange: _Exchange | None = None  # the last one on the short way
        self._nobody_waits = asyncio.Event()
        self._in_head = False
        self._waits_since: float | None = self.loop.time()  # for a request, or for the rest of its head

    def sweep(self, now: float, head_timeout_s: float, body_timeout_s: float) -> None:
        """Ends a connection that is idle, or that keeps a head or a small body on its way, for too long."""
        exchange = self._exchange
        if self._waits_since is not None:
            if now - self._waits_since >= (head_timeout_s if self._in_head else self.timeout_keep_alive):
                self.transport.close()
        elif exchange is not None and exchange.more_body and now - exchange.since >= body_timeout_s:
            exchange.keep_alive = exchange.more_body = False
            self._end(exchange, self._ingest.too_slow(body_timeout_s))

    # What the transport and the parser call.

    def connection_lost(self, exc: Exception | None) -> None:
        if self._exchange is not None:
            self._exchange.disconnected = True
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        self.url = b""
        self.headers = []
        self.expect_100_continue = False
        self._in_head = True
        self._waits_since = self.loop.time()

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._waits_since = None
        if self._is_short():
            heads = heads_of(self.headers)
            if heads.length is not None and heads.length <= SMALL_BODY_BYTES and heads.plain:
                keep_alive = self.parser.should_keep_alive()
                query_string = self.url[len(_PATH_AND_QUERY) :]
                self._exchange = _Exchange(query_string, heads, keep_alive, self.loop.time(), self._nobody_waits)
                self.cycle = self._exchange  # type: ignore[assignment]
                return
        url, headers, expects = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.url, self.expect_100_continue = url, expects
        self.headers = self.scope["headers"] = headers
        super().on_headers_complete()

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
        elif not exchange.response_complete:
            exchange.more_body = False
            body, exchange.body = bytes(exchange.body), bytearray()  # an idle connection keeps none
            self._ingest.whole(exchange.query_string, exchange.heads, body, partial(self._end, exchange))

    def _is_short(self) -> bool:
        return (
            (self.url == _PATH or self.url.startswith(_PATH_AND_QUERY))
            and (self.cycle is None or self.cycle.response_complete)
            and not self.expect_100_continue
            and self.parser.get_method() == b"POST"
            and self.parser.get_http_version() == "1.1"
        )

    def _end(self, exchange: _Exchange, outcome: Outcome) -> None:
        if exchange.disconnected or exchange.response_complete:
            return
        exchange.response_started = exchange.response_complete = True
        head = [STATUS_LINE[outcome.status]]
        for name, value in self.server_state.default_headers:
            head += (name, b": ", value, b"\r\n")
        if not exchange.keep_alive:
            head.append(b"connection: close\r\n")
        head.append(answer_of(outcome))
        self.transport.write(b"".join(head))
        if not exchange.keep_alive:
            self.transport.close()
        self.on_response_complete()

    def resume_writing(self) -> None:
        super().resume_writing()
        self.flow.resume_reading()

    def on_response_complete(self) -> None:
        """Like uvicorn's, but that the end of an idle connection is left to `sweep`."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        if not self.flow.write_paused:  # else nothing more is read from a client that does not read its answers
            self.flow.resume_reading()
        if self.pipeline:
            cycle, app = self.pipeline.pop()
            self._start_asgi_task(cycle, app)
        else:
            self._waits_since = self.loop.time()
