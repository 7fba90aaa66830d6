"""Limit every connection: size and form of request heads, deadlines, minimum rates, pipelining.

In: bytes. Out: requests for the application, or a refusal and the end of the connection.
Memory per connection: a head (`MAX_HEAD_BYTES` and a chunk), uvicorn's 64 KiB of body, unread answers.
Next: parsec.web.http1.fast_path.

1. The parser gets bytes in chunks, which bounds its memory for a head: it does not report how much it holds.
2. There is no timer per request: `sweep`, once a second, closes what takes too long.
3. Time in which we do not read from a client does not count against it.
4. A head that another server might parse differently is refused (`_fault`). The parser (llhttp, strict) itself refuses
   two lengths, a length with chunks, folded lines, space before a colon, bare CR or LF, NUL and bad chunk sizes.
"""

from collections.abc import Sequence
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from parsec.web.http1.allowed_hosts import AllowedHosts
from parsec.web.http1.close import LINGER_S, ClosingConnection
from parsec.web.http1.connection_limiter import ConnectionLimiter
from parsec.web.http1.refusals import (
    ANSWER_UNREAD,
    BODY_TOO_SLOW,
    EXPECTATION,
    HEAD_TOO_LARGE,
    HEAD_TOO_SLOW,
    HOST_NOT_ALLOWED,
    HTTP_VERSION,
    MAX_HEADERS,
    NO_HOST,
    TOO_MANY_PIPELINED,
    TRANSFER_ENCODING,
    URL_TOO_LONG,
    Refusal,
    malformed,
)

CHUNK_BYTES = 16 << 10
MAX_PIPELINED = 32
"""Requests of one connection that wait for the answer to an earlier one."""
RATE_CHECK_AFTER_S = 5.0
"""The rate of a body is checked from then on."""
MAX_OVERHEAD_BYTES = 16 << 10
"""Of chunk sizes, extensions and trailers, beyond eight times the bytes of the body."""


_OTHER_VERSION = ("Invalid HTTP version", "Pause on PRI/Upgrade")
"""The parser's errors for versions that it does not know, and for the preface of HTTP/2."""


class StopParsing(Exception):
    """Raised in a callback to end the parser, after the refusal is sent."""


class LimitedConnection(ClosingConnection):
    """One client's connection, within limits."""

    def __init__(self, limiter: ConnectionLimiter, **uvicorn_arguments: Any) -> None:
        super().__init__(limiter, **uvicorn_arguments)
        self._limits = limiter.limits
        self._hosts = limiter.hosts
        self._chunk_bytes = 0
        self._head_bytes = 0  # of the current head, without its first chunk
        self._in_body = False  # of a request that takes the ASGI path
        self._body_since = 0.0
        self._body_bytes = 0  # of all bodies of the connection
        self._body_began_at = 0  # in `_body_bytes`
        self._overhead_bytes = 0
        self._keep_alive_after_body = False
        self._unread: tuple[float, int] | None = None  # since when, and how many bytes of answers

    def sweep(self, now: float) -> None:
        """Close a connection that is idle, or whose head, body or answer takes too long."""
        if self.transport.is_closing() or self.flow.write_paused:
            self._sweep_answers(now)
        elif self._lingering_since is not None:
            if now - self._lingering_since >= LINGER_S:
                self.transport.close()
        elif self._idle_since is not None:
            if self._in_head and now - self._idle_since >= self._limits.head_timeout_s:
                self._refuse(HEAD_TOO_SLOW)
            elif not self._in_head and now - self._idle_since >= self.timeout_keep_alive:
                self.transport.close()
        elif self._body_is_slow(now):
            self._refuse(BODY_TOO_SLOW)

    # Called by the transport.

    def data_received(self, data: bytes) -> None:
        if len(data) <= CHUNK_BYTES:
            self._feed(data)
            return
        whole = memoryview(data)
        for at in range(0, len(data), CHUNK_BYTES):
            self._feed(whole[at : at + CHUNK_BYTES])

    def pause_writing(self) -> None:
        super().pause_writing()
        if not self._client_half_closed:
            self.flow.pause_reading()  # read nothing from a client that does not read its answers

    def resume_writing(self) -> None:
        super().resume_writing()
        self._unread = None
        self.flow.resume_reading()

    # Called by the parser.

    def on_message_begin(self) -> None:
        self.url = b""
        self.headers = []
        self._in_head = True
        self._head_bytes = -self._chunk_bytes
        self._idle_since = self.loop.time()

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head:  # trailers, after the body, are ignored
            self.headers.append((name.lower(), value))

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        if self._in_head:  # the parser gave up; the request will be parsed again
            return
        self._in_body = False
        super().on_message_complete()
        if self._keep_alive_after_body and not self.cycle.response_started and not self._shutting_down:
            self.cycle.keep_alive = True

    def _begin_request(self, version: str) -> bool:
        """Check a complete head. False: it will be parsed again, without an upgrade. Raises StopParsing."""
        if self.parser.should_upgrade():
            return False
        self._in_head = False
        refusal = _fault(version, self.url, self.headers, self._limits.max_url_bytes, self._hosts)
        if refusal is None and self._head_bytes >= 0:  # it came in several chunks
            size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
            refusal = HEAD_TOO_LARGE if size > self._limits.max_head_bytes else None
        if refusal is None and self._limits.requests_per_address:
            refusal = self._limiter.admit_request(self._address, self.loop.time())
        if refusal is not None:
            self._refuse_new(refusal)
        self._idle_since = None
        return True

    def _begin_asgi(self, version: str) -> None:
        """Pass a request to the application. Raises StopParsing."""
        if len(self.pipeline) >= MAX_PIPELINED:
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
        self._overhead_bytes = -self._chunk_bytes
        # After an error instead of "100 Continue" a client may or may not send its body, so the connection must close.
        self._keep_alive_after_body = self.expect_100_continue and self.cycle.keep_alive
        if self.expect_100_continue:
            self.cycle.keep_alive = False

    # Called by uvicorn.

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._body_since = self.loop.time()  # while it was pipelined its body was not read
        super()._start_asgi_task(cycle, app)

    # Limits.

    def _feed(self, chunk: bytes | memoryview) -> None:
        if self._discarding:
            return
        size = self._chunk_bytes = len(chunk)
        body_bytes = self._body_bytes
        try:
            self.parser.feed_data(chunk)
        except httptools.HttpParserUpgrade as upgrade:
            self._ignore_upgrade(chunk[upgrade.args[0] :])
            return
        except httptools.HttpParserError as error:
            if not self._discarding:
                other = str(error) in _OTHER_VERSION
                self._refuse(HTTP_VERSION if other else malformed(f"Not a valid HTTP request: {error}."))
        if self._discarding:
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
        if self._overhead_bytes > MAX_OVERHEAD_BYTES:
            self._refuse(malformed("The chunks of the body are too small for their overhead. Send larger chunks."))

    def _refuse_new(self, refusal: Refusal) -> None:
        """Refuse a request that has just begun. Raises StopParsing."""
        self._refuse(refusal)
        raise StopParsing

    def _ignore_upgrade(self, rest: bytes | memoryview) -> None:
        """Parse the request again without its offer to upgrade: the parser stops at such an offer, but some clients
        (Java's) make one with every request and send a body, too."""
        method = self.parser.get_method()
        if method == b"CONNECT":
            self._refuse(malformed("CONNECT is not supported: Parsec is not a proxy."))
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

    def _waited_s(self) -> float:
        return self.loop.time() - self._body_since if self._in_body else super()._waited_s()

    def _body_is_slow(self, now: float) -> bool:
        if not self._in_body or self.flow.read_paused or self.cycle.response_started:
            return False
        return self._is_too_slow(now - self._body_since, self._body_bytes - self._body_began_at)

    def _is_too_slow(self, elapsed_s: float, body_bytes: int) -> bool:
        """Whether an incomplete body of so many bytes is past its deadline or below the minimum rate."""
        limits = self._limits
        return elapsed_s >= limits.body_timeout_s or (
            elapsed_s >= RATE_CHECK_AFTER_S and body_bytes < limits.min_rate * elapsed_s
        )

    def _sweep_answers(self, now: float) -> None:
        """Disconnect a client that reads its answers below the minimum rate for too long."""
        size, limits = self.transport.get_write_buffer_size(), self._limits
        if self._unread is None or size <= self._unread[1] - limits.min_rate * limits.send_timeout_s:
            self._unread = (now, size)
        elif now - self._unread[0] >= limits.send_timeout_s:
            self._limiter.count(ANSWER_UNREAD)
            self.transport.abort()


_Headers = Sequence[tuple[bytes, bytes]]
_CHECKED = frozenset({b"host", b"transfer-encoding", b"expect"})


def _fault(
    version: str, url: bytes, headers: _Headers, max_url_bytes: int, allowed: AllowedHosts | None
) -> Refusal | None:
    """Called for every request: passes over the headers once, and looks closely at few of them."""
    if version not in ("1.1", "1.0"):
        return HTTP_VERSION
    if len(url) > max_url_bytes:
        return URL_TOO_LONG
    if len(headers) > MAX_HEADERS:
        return HEAD_TOO_LARGE
    hosts, host, rare = 0, b"", False
    for name, value in headers:
        if name in _CHECKED:
            if name != b"host":
                rare = True
            else:
                host = value
                hosts += 1
    if rare and (fault := _fault_of_rare(version, headers)) is not None:
        return fault
    if hosts == 1 and (allowed is None or (host in allowed.remembered and url.startswith(b"/"))):
        return None
    return _fault_of_host(version, url, headers, allowed)


def _fault_of_host(version: str, url: bytes, headers: _Headers, allowed: AllowedHosts | None) -> Refusal | None:
    """The slow path, for a host that was not seen before."""
    given = [value for name, value in headers if name == b"host"]
    if len(given) > 1 or (not given and version != "1.0"):
        return NO_HOST
    # A program of HTTP/1.0 may send none; a browser, which is what PARSEC_ALLOWED_HOSTS is for, always does.
    host = given[0] if given else b"localhost"
    return None if allowed is None or allowed.allow(host, url, headers) else HOST_NOT_ALLOWED


def _fault_of_rare(version: str, headers: _Headers) -> Refusal | None:
    """The slow path, for requests with a rare header."""
    given = {wanted: [value.strip().lower() for name, value in headers if name == wanted] for wanted in _CHECKED}
    if given[b"transfer-encoding"] and (version == "1.0" or given[b"transfer-encoding"] != [b"chunked"]):
        return TRANSFER_ENCODING
    if version == "1.1" and set(given[b"expect"]) - {b"100-continue"}:
        return EXPECTATION
    return None
