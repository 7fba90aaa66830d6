"""uvicorn's protocol with an end that clients can follow: a refusal comes after the answers that are due, and arrives.

In: what uvicorn's protocol takes. Out: its answers, and last a refusal (parsec.web.http1.refusals) or nothing.
Next: parsec.web.http1.limits.

1. A refusal is the last answer on its connection; nothing behind the request it is about is parsed.
2. After it the connection stays half open for a moment: closing it at once would reset it, and a client that is
   still sending would not read why.
3. A client that ends its side gets the answers to what it asked as a whole, unless the store is asked already; what
   is not whole is given up.
"""

from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from parsec.web.http1.connection_limiter import ConnectionLimiter, address_of
from parsec.web.http1.refusals import Refusal

LINGER_S = 2.0
"""For a refused client to read why."""


class ClosingConnection(HttpToolsProtocol):
    """One client's connection, from the gate to its end."""

    def __init__(self, gate: ConnectionLimiter, **of_uvicorn: Any) -> None:
        super().__init__(**of_uvicorn)
        self._gate = gate
        self._address = ""
        self._let_in = False
        self._gives_way = False
        self._served: RequestResponseCycle | None = None  # by the application, the last one
        self._deaf = False  # what still comes is thrown away
        self._last_words: bytes | None = None  # a refusal that waits for the answers before it
        self._ended_at: float | None = None  # when the last words were said
        self._client_ended = False
        self._server_stops = False
        self._in_head = False
        self._waits_since: float | None = self.loop.time()  # for a request, or for the rest of its head

    def waited_s(self, now: float) -> float:
        """How long for a whole head; see parsec.web.http1.connection_limiter."""
        return 0.0 if self._waits_since is None else now - self._waits_since

    def give_way(self) -> None:
        self._deaf = self._gives_way = True
        self._waits_since = None
        self.transport.close()

    def shutdown(self) -> None:
        self._server_stops = True
        if self._ended_at is not None:
            self.transport.close()
        else:
            super().shutdown()

    # What the transport calls.

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._address = address_of(self.client)
        refusal = self._gate.enter(self._address, self.connections, self.loop.time())  # type: ignore[arg-type]
        self._let_in = refusal is None
        if refusal is not None:
            self._refuse(refusal)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._served is not None and not self._served.response_complete:  # perhaps not the last one that came
            self._served.disconnected = True
            self._served.message_event.set()
        self.pipeline.clear()
        super().connection_lost(exc)
        if self._let_in:
            self._gate.leave(self._address, gave_way=self._gives_way)
        else:
            self._gate.leave_refused()

    def eof_received(self) -> bool | None:  # type: ignore[override]
        """True keeps our side open. A client that ends while it gets an answer, or while the store works on it
        (parsec.web.query_executor), is taken to have left."""
        served = self._served
        left = (
            served is not None
            and not served.response_complete
            and (served.response_started or served.scope.get("given_up_with_client", False))
        )
        if self._deaf or left or self.scheme == "https":
            return None
        self._client_ended = self._deaf = True
        self._waits_since = None
        return self._abandon_unfinished() or None

    # What uvicorn calls.

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._served = cycle
        super()._start_asgi_task(cycle, app)

    def on_response_complete(self) -> None:
        """Like uvicorn's, but that the end of an idle connection is left to a sweep."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        if not self.flow.write_paused:
            self.flow.resume_reading()
        if self.pipeline:
            cycle, app = self.pipeline.pop()
            self._start_asgi_task(cycle, app)
        elif self._last_words is not None:
            self._end()
        elif self._client_ended:
            self.transport.close()
        elif not self._in_head:
            self._waits_since = self.loop.time()

    # What comes after a request that is not served.

    def _refuse(self, refusal: Refusal, answer: bytes | None = None) -> None:
        """`answer`: from its headers on, where it is not to be the refusal's own."""
        self._gate.count(refusal.code)
        self._deaf = True
        self._in_head = False
        self._waits_since = None
        self._last_words = b"".join([*self._head_of_answer(refusal.status), answer or refusal.on_wire()])
        if not self._abandon_unfinished():
            self._end()

    def _head_of_answer(self, status: int) -> list[bytes]:
        """The status line and what stands in every answer."""
        head = [STATUS_LINE[status]]
        for name, value in self.server_state.default_headers:
            head += (name, b": ", value, b"\r\n")
        return head

    def _abandon_unfinished(self) -> bool:
        """Takes a request whose body will not be complete out of hand. True: others are still to be answered."""
        cycle = self.cycle
        if cycle is None or cycle.response_complete:
            return False
        if not cycle.more_body:
            return True
        if cycle.response_started:  # it is answered without its body, and that ends the connection
            cycle.keep_alive = False
            self._last_words = None
            return True
        waits = bool(self.pipeline) and self.pipeline[0][0] is cycle
        if waits:
            self.pipeline.popleft()
        cycle.disconnected = cycle.response_started = cycle.response_complete = True
        cycle.message_event.set()
        return waits

    def _end(self) -> None:
        """Says the last words and leaves the client a moment to read them."""
        words, self._last_words = self._last_words, None
        if words is not None:
            self.transport.write(words)
        self._ended_at = self.loop.time()
        patient = self._let_in or self._gate.may_read_why()
        if patient and self.transport.can_write_eof() and not self._server_stops:
            self.transport.write_eof()
            self.flow.resume_reading()
        else:
            self.transport.close()
