"""One kept-alive HTTP connection of an AsyncClient.

In: a request as bytes. Out: a Response, or its body in pieces as they come. Errors: Retryable when the response is
missing or incomplete; the server may have acted on the request or not. Next: parsec.client.retries.

1. One request at a time. A connection after any fault, or that the server will close, is not `reusable`.
2. At most MAX_BUFFERED bytes of a body, plus one read, wait for the reader; then the socket is paused.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import cast

import httptools
import msgspec

from parsec.client.transport import JSON_HEADERS, ConnectionOptions, Response, describe
from parsec.core.errors import Retryable

MAX_BUFFERED = 1 << 20


def request_bytes(options: ConnectionOptions, path: str, body: bytes | None = None) -> bytes:
    """A whole HTTP/1.1 request: GET, or POST of a body."""
    headers = {"Host": options.address.authority, **options.headers}
    if body is not None:
        headers |= {**JSON_HEADERS, "Content-Length": str(len(body))}
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    method = "GET" if body is None else "POST"
    return f"{method} {options.address.prefix}{path} HTTP/1.1\r\n{lines}\r\n".encode() + (body or b"")


class AsyncConnection(asyncio.Protocol):
    """Made by `connect`."""

    def __init__(self, options: ConnectionOptions) -> None:
        self._options = options
        self._transport: asyncio.Transport | None = None
        self._wake = asyncio.Event()
        self._failure: str | None = None
        self._used = False
        self._begin()

    @classmethod
    async def connect(cls, options: ConnectionOptions) -> "AsyncConnection":
        """Raises Retryable."""
        address, loop = options.address, asyncio.get_running_loop()
        connection = cls(options)
        try:
            async with asyncio.timeout(options.timeout_s):
                await loop.create_connection(lambda: connection, address.host, address.port, ssl=options.tls)
        except OSError as error:  # TimeoutError and ssl.SSLError are OSErrors
            reason = "no connection in time" if isinstance(error, TimeoutError) else describe(error)
            raise connection._retryable(reason) from error
        return connection

    @property
    def stale(self) -> bool:
        """The server had closed it since its last response; try a fresh one."""
        return self._used and not self._received

    @property
    def reusable(self) -> bool:
        return self._complete and self._keep_alive and self._failure is None

    async def exchange(self, request: bytes) -> Response:
        """Sends a request and reads its whole response. Raises Retryable."""
        self._send(request)
        found = await self._whole(await self._head())
        self._used = True
        return found

    async def stream(self, request: bytes) -> AsyncIterator[bytes | Response]:
        """As parsec.client.transport.Connection.stream."""
        self._send(request)
        head = await self._head()
        if head.status != 200:
            yield await self._whole(head)
            return
        yield head
        async for piece in self._pieces():
            yield piece

    def close(self) -> None:
        """Safe to call twice."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's own class is not derived from asyncio's

    def data_received(self, data: bytes) -> None:
        self._received = True
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._fail(f"the answer is not HTTP; check the address: {error}")
            self.close()
        if self._buffered > MAX_BUFFERED and self._transport is not None:
            self._transport.pause_reading()
        self._wake.set()

    def connection_lost(self, error: Exception | None) -> None:
        self._fail(str(error) if error else "the connection was closed before an answer came")
        self._wake.set()

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        self._status = self._parser.get_status_code()

    def on_body(self, body: bytes) -> None:
        self._body.append(body)
        self._buffered += len(body)

    def on_message_complete(self) -> None:
        self._complete = True
        self._keep_alive = self._parser.should_keep_alive()  # known here only

    def _begin(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._headers: dict[str, str] = {}
        self._status = 0
        self._body: list[bytes] = []
        self._buffered = 0
        self._complete = self._keep_alive = self._received = False

    def _send(self, request: bytes) -> None:
        assert self._transport is not None
        self._begin()
        self._transport.write(request)

    async def _head(self) -> Response:
        while not self._status:
            await self._wait_for_data()
        return Response(self._status, self._headers, b"")

    async def _whole(self, head: Response) -> Response:
        return msgspec.structs.replace(head, body=b"".join([piece async for piece in self._pieces()]))

    async def _pieces(self) -> AsyncIterator[bytes]:
        while True:
            if self._body:
                pieces, self._body, self._buffered = self._body, [], 0
                if self._transport is not None and not self._transport.is_closing():
                    self._transport.resume_reading()
                for piece in pieces:
                    yield piece
            elif self._complete:
                return
            else:
                await self._wait_for_data()

    async def _wait_for_data(self) -> None:
        if self._failure is None:
            self._wake.clear()
            try:
                async with asyncio.timeout(self._options.timeout_s):
                    await self._wake.wait()
            except TimeoutError as error:
                raise self._retryable("no answer in time") from error
        elif not (self._complete or self._body):
            raise self._retryable(self._failure)

    def _fail(self, reason: str) -> None:
        self._failure = self._failure or reason

    def _retryable(self, reason: str) -> Retryable:
        return Retryable(f"{self._options.address.url}: {reason}", after_s=0.0)
