"""Close connections so that clients read every answer: uvicorn's protocol with refusals and half-closed connections.

In: the callbacks of the transport and of uvicorn. Out: uvicorn's answers, and last a refusal
(parsec.web.http1.refusals) or nothing. Next: parsec.web.http1.limits.

1. A refusal is the last answer on its connection; nothing after the refused request is parsed.
2. After a refusal the connection stays half open for a moment: closing it at once would reset it, and a client that
   is still sending would not read the answer.
3. A client that closes its sending side gets the answers to its whole requests, except to queries that the store
   already works on; incomplete requests are dropped.
"""

from typing import Any

import structlog
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from parsec.web.http1.connection_limiter import ConnectionLimiter, address_of
from parsec.web.http1.refusals import Refusal

_log = structlog.get_logger(__name__)

LINGER_S = 2.0
"""How long a refused client may take to read the answer."""


class ClosingConnection(HttpToolsProtocol):
    """One client's connection, from the connection limiter to its end."""

    def __init__(self, limiter: ConnectionLimiter, **uvicorn_arguments: Any) -> None:
        super().__init__(**uvicorn_arguments)
        self._limiter = limiter
        self._address = ""
        self._admitted = False
        self._evicted = False
        self._served: RequestResponseCycle | None = None  # the last one given to the application
        self._discarding = False  # further input is dropped
        self._refusal: bytes | None = None  # waits for the answers before it
        self._lingering_since: float | None = None  # when the refusal was sent
        self._client_half_closed = False
        self._shutting_down = False
        self._in_head = False
        self.url = b""  # uvicorn sets it with the first request; a connection may be refused before that
        self._idle_since: float | None = self.loop.time()  # without a whole request head

    def idle_s(self, now: float) -> float:
        """See parsec.web.http1.connection_limiter.Evictable."""
        return 0.0 if self._idle_since is None else now - self._idle_since

    def evict(self) -> None:
        self._discarding = self._evicted = True
        self._idle_since = None
        self.transport.close()

    def shutdown(self) -> None:
        self._shutting_down = True
        if self._lingering_since is not None:
            self.transport.close()
        else:
            super().shutdown()

    # Called by the transport.

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._address = address_of(self.client)
        refusal = self._limiter.admit(self._address, self.connections, self.loop.time())  # type: ignore[arg-type]
        self._admitted = refusal is None
        if refusal is not None:
            self._refuse(refusal)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._served is not None and not self._served.response_complete:  # not `cycle` while requests are pipelined
            self._served.disconnected = True
            self._served.message_event.set()
        self.pipeline.clear()
        super().connection_lost(exc)
        if self._admitted:
            self._limiter.release(self._address, evicted=self._evicted)
        else:
            self._limiter.release_refused()

    def eof_received(self) -> bool | None:  # type: ignore[override]
        """True keeps our side open. A client that half-closes during an answer, or while the store works on its query
        (parsec.web.query_executor), counts as disconnected."""
        served = self._served
        left = (
            served is not None
            and not served.response_complete
            and (served.response_started or served.scope.get("given_up_with_client", False))
        )
        if self._discarding or left or self.scheme == "https":
            return None
        self._client_half_closed = self._discarding = True
        self._idle_since = None
        return self._abandon_incomplete() or None

    # Called by uvicorn.

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._served = cycle
        super()._start_asgi_task(cycle, app)

    def on_response_complete(self) -> None:
        """Like uvicorn's, but without a keep-alive timer for each request: `sweep` closes idle connections."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        if not self.flow.write_paused:
            self.flow.resume_reading()
        if self.pipeline:
            cycle, app = self.pipeline.pop()
            self._start_asgi_task(cycle, app)
        elif self._refusal is not None:
            self._finish()
        elif self._client_half_closed:
            self.transport.close()
        elif not self._in_head:
            self._idle_since = self.loop.time()

    # Refusals.

    def _refuse(self, refusal: Refusal, answer: bytes | None = None) -> None:
        """`answer`: headers and body to send instead of the refusal's own."""
        self._limiter.count(refusal.code)
        if answer is None and self._limiter.logs_refusals:
            self._log_refusal(refusal)
        self._discarding = True
        self._in_head = False
        self._idle_since = None
        head = [b"%b: %b\r\n" % header for header in self.server_state.default_headers]
        self._refusal = b"".join([STATUS_LINE[refusal.status], *head, answer or refusal.on_wire()])
        if not self._abandon_incomplete():
            self._finish()

    def _log_refusal(self, refusal: Refusal) -> None:
        """Like the line of an answered request; the method and the path may not be known yet."""
        _log.debug(
            "Request answered.",
            method=self.parser.get_method().decode() if self.url else "",
            route="/ingest" if self.url.partition(b"?")[0] == b"/ingest" else "unknown",
            status=refusal.status,
            code=refusal.code,
            ms=round(self._waited_s() * 1000, 1),
            tenant="",
        )

    def _waited_s(self) -> float:
        """Since the refused request began."""
        return self.idle_s(self.loop.time())

    def _abandon_incomplete(self) -> bool:
        """Drop a request whose body will never be complete. True: earlier requests still wait for answers."""
        cycle = self.cycle
        if cycle is None or cycle.response_complete:
            return False
        if not cycle.more_body:
            return True
        if cycle.response_started:  # its answer ends the connection
            cycle.keep_alive = False
            self._refusal = None
            return True
        waits = bool(self.pipeline) and self.pipeline[0][0] is cycle
        if waits:
            self.pipeline.popleft()
        cycle.disconnected = cycle.response_started = cycle.response_complete = True
        cycle.message_event.set()
        return waits

    def _finish(self) -> None:
        """Send the refusal and give the client a moment to read it."""
        refusal, self._refusal = self._refusal, None
        if refusal is not None:
            self.transport.write(refusal)
        self._lingering_since = self.loop.time()
        may_linger = self._admitted or self._limiter.may_linger()
        if may_linger and self.transport.can_write_eof() and not self._shutting_down:
            self.transport.write_eof()
            self.flow.resume_reading()
        else:
            self.transport.close()
