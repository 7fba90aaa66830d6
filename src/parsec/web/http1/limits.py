"""Bounds on what a client may do to its connection, whatever it asks for: size and shape of heads, deadlines, rates.

In: bytes. Out: requests for the application, or a refusal and the end of the connection.
Memory of a connection: a head (`MAX_HEAD_BYTES` and a piece), uvicorn's 64 KiB of body, answers not taken yet.
Next: parsec.web.http1.fast_path.

1. Bytes go to the parser in pieces, so that what it holds of a head is bounded although it does not say how much it is.
2. No timer per request: `sweep`, once a second, ends what takes too long.
3. A client is not blamed for the time in which we do not read from it.
"""

from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from parsec.web.http1 import request_head
from parsec.web.http1.close import LINGER_S, ClosingConnection
from parsec.web.http1.connection_limiter import ConnectionLimiter
from parsec.web.http1.refusals import (
    ANSWER_NOT_TAKEN,
    BODY_TOO_SLOW,
    HEAD_TOO_LARGE,
    HEAD_TOO_SLOW,
    TOO_MANY_PIPELINED,
    URL_TOO_LONG,
    Refusal,
    malformed,
)

PIECE_BYTES = 16 << 10
MOST_PIPELINED = 32
"""Requests of one connection that wait for the answer to one before them."""
SLOW_AFTER_S = 5.0
"""A body's rate is looked at from then on."""
MOST_OVERHEAD_BYTES = 16 << 10
"""Of chunk sizes, extensions and trailers beyond eight times what they carry."""


class Stop(Exception):
    """Ends the parser from within a callback; what is to be said has been."""


class LimitedConnection(ClosingConnection):
    """One client's connection."""

    def __init__(self, gate: ConnectionLimiter, **of_uvicorn: Any) -> None:
        super().__init__(gate, **of_uvicorn)
        self._limits = gate.limits
        self._piece_bytes = 0
        self._head_bytes = 0  # of the head in hand, but for its first piece
        self._in_body = False  # of a request on ASGI's way
        self._body_since = 0.0
        self._body_bytes = 0  # of all bodies so far
        self._body_began_at = 0  # in that count
        self._overhead_bytes = 0
        self._keep_alive_after_body = False
        self._not_taken: tuple[float, int] | None = None  # since when so many bytes of answers wait for the client

    def sweep(self, now: float) -> None:
        """Ends a connection that is idle, or that keeps a head, a body or answers on their way for too long."""
        if self.transport.is_closing() or self.flow.write_paused:
            self._sweep_answers(now)
        elif self._ended_at is not None:
            if now - self._ended_at >= LINGER_S:
                self.transport.close()
        elif self._waits_since is not None:
            if self._in_head and now - self._waits_since >= self._limits.head_timeout_s:
                self._refuse(HEAD_TOO_SLOW)
            elif not self._in_head and now - self._waits_since >= self.timeout_keep_alive:
                self.transport.close()
        elif self._body_is_slow(now):
            self._refuse(BODY_TOO_SLOW)

    # What the transport calls.

    def data_received(self, data: bytes) -> None:
        if len(data) <= PIECE_BYTES:
            self._feed(data)
            return
        whole = memoryview(data)
        for at in range(0, len(data), PIECE_BYTES):
            self._feed(whole[at : at + PIECE_BYTES])

    def pause_writing(self) -> None:
        super().pause_writing()
        if not self._client_ended:
            self.flow.pause_reading()  # from a client that does not read its answers nothing more is read

    def resume_writing(self) -> None:
        super().resume_writing()
        self._not_taken = None
        self.flow.resume_reading()

    # What the parser calls.

    def on_message_begin(self) -> None:
        self.url = b""
        self.headers = []
        self._in_head = True
        self._head_bytes = -self._piece_bytes
        self._waits_since = self.loop.time()

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head:  # else it stands behind the body, where nothing is believed
            self.headers.append((name.lower(), value))

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        if self._in_head:  # the parser has given up on a request that will be read again
            return
        self._in_body = False
        super().on_message_complete()
        if self._keep_alive_after_body and not self.cycle.response_started and not self._server_stops:
            self.cycle.keep_alive = True

    def _begin_request(self, version: str) -> bool:
        """The head is complete, whichever way the request takes. False: it will be read again. Raises Stop."""
        if self.parser.should_upgrade():
            return False
        self._in_head = False
        self._waits_since = None
        refusal = request_head.fault(version, self.url, self.headers, self._limits.max_url_bytes)
        if refusal is None and self._head_bytes >= 0:  # it came in several pieces
            size = request_head.size_of(self.url, self.headers)
            refusal = HEAD_TOO_LARGE if size > self._limits.max_head_bytes else None
        if refusal is None and self._limits.requests_per_address:
            refusal = self._gate.ask(self._address, self.loop.time())
        if refusal is not None:
            self._refuse_new(refusal)
        return True

    def _begin_asgi(self, version: str) -> None:
        """Hands a request to the application. Raises Stop."""
        if len(self.pipeline) >= MOST_PIPELINED:
            self._refuse_new(TOO_MANY_PIPELINED)
        url, headers = self.url, self.headers
        super().on_message_begin()
        self.url = url
        self.headers = self.scope["headers"] = headers
        self.expect_100_continue = version == "1.1" and any(name == b"expect" for name, _ in headers)
        super().on_headers_complete()
        self._in_body = True
        self._body_since = self.loop.time()
        self._body_began_at = self._body_bytes
        self._overhead_bytes = -self._piece_bytes
        # Told no instead of "100 Continue", a client may send its body or leave it out: nobody can tell what follows.
        self._keep_alive_after_body = self.expect_100_continue and self.cycle.keep_alive
        if self.expect_100_continue:
            self.cycle.keep_alive = False

    # What uvicorn calls.

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._body_since = self.loop.time()  # while it waited for its turn its body was not read
        super()._start_asgi_task(cycle, app)

    # The rest.

    def _feed(self, piece: bytes | memoryview) -> None:
        if self._deaf:
            return
        size = self._piece_bytes = len(piece)
        body_bytes = self._body_bytes
        try:
            self.parser.feed_data(piece)
        except httptools.HttpParserUpgrade as upgrade:
            self._ignore_upgrade(piece[upgrade.args[0] :])
            return
        except httptools.HttpParserError as error:
            if not self._deaf:
                self._refuse(malformed(f"This is no valid HTTP request: {error}."))
        if self._deaf:
            return
        if self._in_head:
            self._head_grew(size)
        elif self._in_body:
            self._body_grew(size, self._body_bytes - body_bytes)

    def _head_grew(self, size: int) -> None:
        self._head_bytes += size
        if len(self.url) > self._limits.max_url_bytes:
            self._refuse(URL_TOO_LONG)
        elif self._head_bytes > self._limits.max_head_bytes:
            self._refuse(HEAD_TOO_LARGE)

    def _body_grew(self, size: int, carried: int) -> None:
        self._overhead_bytes = max(0, self._overhead_bytes + size - 8 * carried)
        if self._overhead_bytes > MOST_OVERHEAD_BYTES:
            self._refuse(malformed("The chunks of the body carry more around them than in them."))

    def _refuse_new(self, refusal: Refusal) -> None:
        """Of a request that is not in hand yet. Raises Stop."""
        self._refuse(refusal)
        raise Stop

    def _ignore_upgrade(self, rest: bytes | memoryview) -> None:
        """Reads the request again as if it did not offer another protocol: the parser gave up on its body, but clients
        that offer one with every request (Java's) send it all the same."""
        method = self.parser.get_method()
        if method == b"CONNECT":
            self._refuse(malformed("There is no way through here to other servers."))
            return
        head = [b"%b %b HTTP/1.1\r\n" % (method, self.url)]
        for name, value in self.headers:
            if name == b"connection":
                value = b", ".join(token for token in value.split(b",") if token.strip().lower() != b"upgrade")
            if name not in (b"upgrade", b"http2-settings"):
                head += (name, b": ", value, b"\r\n")
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self.data_received(b"".join([*head, b"\r\n", rest]))

    def _body_is_slow(self, now: float) -> bool:
        if not self._in_body or self.flow.read_paused or self.cycle.response_started:
            return False
        return self._is_too_slow(now - self._body_since, self._body_bytes - self._body_began_at)

    def _is_too_slow(self, elapsed_s: float, body_bytes: int) -> bool:
        """Whether a body that is not complete after so long has taken too long."""
        limits = self._limits
        return elapsed_s >= limits.body_timeout_s or (
            elapsed_s >= SLOW_AFTER_S and body_bytes < limits.min_rate * elapsed_s
        )

    def _sweep_answers(self, now: float) -> None:
        """Cuts a client that takes its answers slower than the least rate for too long."""
        size, limits = self.transport.get_write_buffer_size(), self._limits
        if self._not_taken is None or size <= self._not_taken[1] - limits.min_rate * limits.send_timeout_s:
            self._not_taken = (now, size)
        elif now - self._not_taken[0] >= limits.send_timeout_s:
            self._gate.count(ANSWER_NOT_TAKEN)
            self.transport.abort()
