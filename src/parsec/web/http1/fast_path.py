"""One client's connection. What most requests are, a small whole body of events, is answered without ASGI in between.

In: bytes. Out: bytes. Errors: none of its own; a request that is not plainly `POST /ingest` with a short body of known
length goes through uvicorn's protocol and parsec.web.app like any other. Next: parsec.web.routes.ingest.

1. A request takes the short way only if no other is open on its connection, so answers stay in order.
2. uvicorn sees the request in hand as `cycle`, whichever way it took: its shutdown and its queue of pipelined requests
   work for both.
"""

import asyncio
from functools import partial
from typing import Any

from parsec.ingest.response import Outcome
from parsec.web.http1.connection_limiter import ConnectionLimiter
from parsec.web.http1.limits import LimitedConnection
from parsec.web.http1.refusals import BODY_TOO_SLOW, Refusal
from parsec.web.routes.ingest import IngestHeaders, IngestRoute, answer_of, heads_of

SMALL_BODY_BYTES = 64 << 10
"""What uvicorn, too, holds of a body before anybody asks for it."""

_PATH = b"/ingest"
_PATH_AND_QUERY = b"/ingest?"


class _Exchange:
    """A request on the short way; to uvicorn it looks like its own kind."""

    __slots__ = ("body", "disconnected", "heads", "keep_alive", "message_event", "more_body", "query_string",
                 "response_complete", "response_started", "since")  # fmt: skip

    def __init__(
        self, query_string: bytes, heads: IngestHeaders, keep_alive: bool, since: float, message_event: asyncio.Event
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


class FastPathConnection(LimitedConnection):
    """Made by uvicorn for each connection; `ingest` is the same route that ASGI requests reach."""

    def __init__(self, ingest: IngestRoute, limiter: ConnectionLimiter, **uvicorn_arguments: Any) -> None:
        super().__init__(limiter, **uvicorn_arguments)
        self._ingest = ingest
        self._exchange: _Exchange | None = None  # the last one on the short way
        self._nobody_waits = asyncio.Event()

    # What the transport and the parser call.

    def connection_lost(self, exc: Exception | None) -> None:
        if self._exchange is not None:
            self._exchange.disconnected = True
        super().connection_lost(exc)

    def on_headers_complete(self) -> None:
        version = self.parser.get_http_version()
        if not self._begin_request(version):
            return
        if version == "1.1" and self._is_short():
            heads = heads_of(self.headers)
            if heads.length is not None and heads.length <= SMALL_BODY_BYTES and heads.plain and heads.plain_client:
                keep_alive = self.parser.should_keep_alive()
                query_string = self.url[len(_PATH_AND_QUERY) :]
                self._exchange = _Exchange(query_string, heads, keep_alive, self.loop.time(), self._nobody_waits)
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
            self._ingest.whole(exchange.query_string, exchange.heads, body, partial(self._answer, exchange))

    def _is_short(self) -> bool:
        return (
            self._asks_to_ingest()
            and (self.cycle is None or self.cycle.response_complete)
            and self.parser.get_method() == b"POST"
        )

    def _asks_to_ingest(self) -> bool:
        return self.url == _PATH or self.url.startswith(_PATH_AND_QUERY)

    def _body_is_slow(self, now: float) -> bool:
        exchange = self._exchange
        if exchange is None or self.cycle is not exchange:  # type: ignore[comparison-overlap]
            return super()._body_is_slow(now)
        return exchange.more_body and self._is_too_slow(now - exchange.since, len(exchange.body))

    def _refuse(self, refusal: Refusal, answer: bytes | None = None) -> None:
        if refusal is BODY_TOO_SLOW and self._asks_to_ingest():
            answer = b"connection: close\r\n" + answer_of(self._ingest.too_slow())
        super()._refuse(refusal, answer)

    def _answer(self, exchange: _Exchange, outcome: Outcome) -> None:
        if exchange.disconnected or exchange.response_complete:
            return
        exchange.response_started = exchange.response_complete = True
        head = self._head_of_answer(outcome.status)
        if not exchange.keep_alive:
            head.append(b"connection: close\r\n")
        head.append(answer_of(outcome))
        self.transport.write(b"".join(head))
        if not exchange.keep_alive:
            self.transport.close()
        self.on_response_complete()
