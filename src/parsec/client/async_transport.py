"""One kept-alive HTTP connection of an AsyncClient.

In: a request as bytes. Out: a Response, or the body in pieces as they come. Errors: Retryable when nothing or half an
answer came back; the request may then have been carried out or not.

1. One request at a time. A connection on which anything went wrong, or that the server will close, is not `reusable`.
2. At most MOST_WAITING bytes of a body, and what one read brings, wait for who reads them: then the socket is paused.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping
from typing import cast

import httptools
import msgspec

from parsec.api.address import Address
from parsec.client.transport import Response, in_words
from parsec.core.errors import Retryable

MOST_WAITING = 1 << 20


def request_bytes(address: Address, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> bytes:
    """A whole request of HTTP/1.1."""
    given = {"Host": address.authority, **headers, "Content-Length": str(len(body))}
    head = "".join(f"{name}: {value}\r\n" for name, value in given.items())
    return f"{method} {address.prefix}{path} HTTP/1.1\r\n{head}\r\n".encode() + body


class AsyncConnection(asyncio.Protocol):
    """Made by `connect`."""

    def __init__(self, url: str, timeout_s: float) -> None:
        self._url = url
        self._timeout_s = timeout_s
        self._transport: asyncio.Transport | None = None
        self._wake = asyncio.Event()
        self._lost: str | None = None
        self._used = False
        self._begin()

    @classmethod
    async def connect(cls, address: Address, tls: ssl.SSLContext | None, timeout_s: float) -> "AsyncConnection":
        """Raises Retryable."""
        try:
            async with asyncio.timeout(timeout_s):
                loop = asyncio.get_running_loop()
                _, made = await loop.create_connection(
                    lambda: cls(address.url, timeout_s), address.host, address.port, ssl=tls
                )
        except OSError as error:  # TimeoutError and ssl.SSLError are OSErrors
            words = "no connection in time" if isinstance(error, TimeoutError) else in_words(error)
            raise Retryable(f"{address.url}: {words}", after_s=0.0) from error
        return made

    @property
    def stale(self) -> bool:
        """It had answered before, and now nothing came: the server had closed it, and a fresh one must be tried."""
        return self._used and not self._heard

    @property
    def reusable(self) -> bool:
        return self._complete and self._stays and self._lost is None

    async def exchange(self, request: bytes) -> Response:
        """A request and its whole answer. Raises Retryable."""
        self._send(request)
        found = await self._head()
        body = b"".join([piece async for piece in self._pieces()])
        self._used = True
        return msgspec.structs.replace(found, body=body)

    async def stream(self, request: bytes) -> AsyncIterator[bytes | Response]:
        """As parsec.client.transport.Connection.stream."""
        self._send(request)
        found = await self._head()
        if found.status != 200:
            yield msgspec.structs.replace(found, body=b"".join([piece async for piece in self._pieces()]))
            return
        yield found
        async for piece in self._pieces():
            yield piece

    def close(self) -> None:
        """Safe to call twice."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's own class is not derived from asyncio's

    def data_received(self, data: bytes) -> None:
        self._heard = True
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._lose(f"the answer is not HTTP: {error}")
            self.close()
        if self._waiting > MOST_WAITING and self._transport is not None:
            self._transport.pause_reading()
        self._wake.set()

    def connection_lost(self, error: Exception | None) -> None:
        self._lose(str(error) if error else "the connection was closed before an answer came")
        self._wake.set()

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        self._status = self._parser.get_status_code()

    def on_body(self, body: bytes) -> None:
        self._body.append(body)
        self._waiting += len(body)

    def on_message_complete(self) -> None:
        self._complete = True
        self._stays = self._parser.should_keep_alive()  # known here only

    def _begin(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._headers: dict[str, str] = {}
        self._status = 0
        self._body: list[bytes] = []
        self._waiting = 0
        self._complete = self._stays = self._heard = False

    def _send(self, request: bytes) -> None:
        assert self._transport is not None
        self._begin()
        self._transport.write(request)

    async def _head(self) -> Response:
        while not self._status:
            await self._more()
        return Response(self._status, self._headers, b"")

    async def _pieces(self) -> AsyncIterator[bytes]:
        while True:
            if self._body:
                pieces, self._body, self._waiting = self._body, [], 0
                if self._transport is not None and not self._transport.is_closing():
                    self._transport.resume_reading()
                for piece in pieces:
                    yield piece
            elif self._complete:
                return
            else:
                await self._more()

    async def _more(self) -> None:
        """Until something came."""
        if self._lost is None:
            self._wake.clear()
            try:
                async with asyncio.timeout(self._timeout_s):
                    await self._wake.wait()
            except TimeoutError as error:
                raise Retryable(f"{self._url}: no answer in time", after_s=0.0) from error
        elif not (self._complete or self._body):
            raise Retryable(f"{self._url}: {self._lost}", after_s=0.0)

    def _lose(self, why: str) -> None:
        self._lost = self._lost or why
