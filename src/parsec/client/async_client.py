"""The asyncio client: the methods of Client, awaited; any number of tasks may share one.

In: events as bytes, queries as keywords. Out: the decoded answers. Errors: Rejected, Retryable.
Next: parsec.client.async_transport.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import aclosing
from functools import wraps
from typing import Any, Concatenate

import msgspec

from parsec.api.ingest import IngestAnswer
from parsec.client import requests
from parsec.client.async_transport import AsyncConnection, request_bytes
from parsec.client.requests import AnyPage, P, Pages, Request, T
from parsec.client.retries import Attempts, RetryPolicy, ingest_answer, query_answer, raise_for_status
from parsec.client.tail import ENDED, Gap, Tail
from parsec.client.transport import Response, connection_options
from parsec.core.errors import Retryable


def _query(build: Callable[P, Request[T]]) -> "Callable[Concatenate[AsyncClient, P], Coroutine[Any, Any, T]]":
    @wraps(build)
    async def query(self: "AsyncClient", /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self.get(build(*args, **kwargs))

    return query


def _paged(build: Callable[P, Pages[AnyPage]]) -> "Callable[Concatenate[AsyncClient, P], AsyncIterator[AnyPage]]":
    @wraps(build)
    async def paged(self: "AsyncClient", /, *args: P.args, **kwargs: P.kwargs) -> AsyncIterator[AnyPage]:
        pages = build(*args, **kwargs)
        while pages.request is not None:
            page = await self.get(pages.request, pages.give_up_after_s)
            pages.advance(page)
            yield page

    return paged


class AsyncClient:
    """One Parsec, with a connection for each request in flight. Close it, or use it in an `async with`."""

    def __init__(
        self, url: str | None = None, *, api_key: str | None = None, ca_file: str | None = None,
        timeout_s: float = 30.0, retry: RetryPolicy | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:  # fmt: skip
        """As Client; `sleep` takes the place of the one in `retry`."""
        self._options = connection_options(url, api_key, ca_file, timeout_s)
        self._retry = retry or RetryPolicy()
        self._sleep = sleep
        self._idle: list[AsyncConnection] = []

    async def __aenter__(self) -> "AsyncClient":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes the idle connections. Safe to call twice."""
        while self._idle:
            self._idle.pop().close()
        await asyncio.sleep(0)  # a transport is gone a turn of the loop later

    async def send(
        self, body: bytes, *, defaults: Mapping[str, str] | None = None, give_up_after_s: float | None = 60.0
    ) -> IngestAnswer:
        """As Client.send."""
        path = requests.ingest_path(defaults)
        return await self._attempt(ingest_answer, path, body, give_up_after_s)

    async def get(self, request: Request[T], give_up_after_s: float | None = None) -> T:
        """As Client.get."""
        return await self._attempt(
            lambda found: query_answer(request, found), request.path, request.body, give_up_after_s
        )

    query = _query(requests.events)
    histogram = _query(requests.histogram)
    aggregate = _query(requests.aggregate)
    fields = _query(requests.fields)
    values = _query(requests.values)
    event = _query(requests.event)
    context = _query(requests.context)
    dead_letters = _query(requests.dead_letters)
    dead_letter = _query(requests.dead_letter)
    stats = _query(requests.stats)
    audit = _query(requests.audit)
    keyless = _query(requests.keyless)
    repair = _query(requests.repair)
    repair_status = _query(requests.repair_status)
    pages = _paged(requests.event_pages)
    dead_letter_pages = _paged(requests.dead_letter_pages)

    async def tail(
        self, tenant: str | None = None, *, q: str | None = None, give_up_after_s: float = float("inf")
    ) -> AsyncGenerator[msgspec.Raw | Gap, None]:
        """As Client.tail."""
        tail = Tail(self._retry, give_up_after_s)
        request = request_bytes(self._options, requests.tail(tenant, q=q).path)
        while True:
            try:
                async with aclosing(self._stream(request)) as pieces:
                    async for piece in pieces:
                        if isinstance(piece, Response):
                            raise_for_status(piece)
                            for gap in tail.open():
                                yield gap
                        else:
                            for found in tail.feed(piece):
                                yield found
                raise Retryable(ENDED, after_s=0.0)
            except Retryable as error:
                wait_s = tail.wait_s(error)
            await self._sleep(wait_s)

    async def _stream(self, request: bytes) -> AsyncGenerator[bytes | Response, None]:
        connection = await AsyncConnection.connect(self._options)
        try:
            async for piece in connection.stream(request):
                yield piece
        finally:
            connection.close()

    async def _attempt(
        self, read: Callable[[Response], T], path: str, body: bytes | None, give_up_after_s: float | None
    ) -> T:
        request = request_bytes(self._options, path, body)
        attempts = Attempts(self._retry, give_up_after_s)
        while True:
            try:
                return read(await self._exchange(request))
            except Retryable as error:
                wait_s = attempts.wait_s(error)
            await self._sleep(wait_s)

    async def _exchange(self, request: bytes) -> Response:
        while True:
            connection = self._idle.pop() if self._idle else await AsyncConnection.connect(self._options)
            try:
                return await connection.exchange(request)
            except Retryable:
                if not connection.stale:
                    raise
            finally:
                if connection.reusable:
                    self._idle.append(connection)
                else:
                    connection.close()
