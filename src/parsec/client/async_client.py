"""The client for asyncio: the same methods as Client, awaited; any number of tasks may share one.

In: events as bytes, questions as keywords. Out: Answer, Page and the like. Errors: Rejected, Retryable.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import aclosing
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

import msgspec

from parsec.api.address import parse_address
from parsec.api.responses import Answer
from parsec.client import requests
from parsec.client.async_transport import AsyncConnection, request_bytes
from parsec.client.client import JSON
from parsec.client.paging import Paging
from parsec.client.requests import Order, Question
from parsec.client.responses import LetterPage, Page
from parsec.client.retries import Attempts, RetryPolicy, answered, refuse, settled
from parsec.client.tail import ENDED, Gap, Tailing
from parsec.client.transport import Response, url_and_headers
from parsec.core.errors import Retryable

P = ParamSpec("P")
T = TypeVar("T")


def _asks(
    build: Callable[P, Question[T]],
) -> "Callable[Concatenate[AsyncClient, P], Coroutine[Any, Any, T]]":
    """As in parsec.client.client."""

    @wraps(build)
    async def asking(self: "AsyncClient", /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self.ask(build(*args, **kwargs))

    return asking


class AsyncClient:
    """As many connections to one Parsec as tasks ask at once. Close it, or use it in an `async with`."""

    def __init__(
        self,
        url: str | None = None,
        *,
        api_key: str | None = None,
        ca_file: str | None = None,
        timeout_s: float = 30.0,
        patience: RetryPolicy | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """As Client; `sleep` stands in for the one of `patience`."""
        url, self._headers = url_and_headers(url, api_key)
        self._address = parse_address(url)
        self._tls = self._address.tls_context(ca_file)
        self._timeout_s = timeout_s
        self._patience = patience or RetryPolicy()
        self._sleep = sleep
        self._idle: list[AsyncConnection] = []

    async def __aenter__(self) -> "AsyncClient":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes the connections that nobody uses just now. Safe to call twice."""
        while self._idle:
            self._idle.pop().close()
        await asyncio.sleep(0)  # a transport is gone a turn of the loop later

    async def send(
        self, body: bytes, *, defaults: Mapping[str, str] | None = None, give_up_after_s: float | None = 60.0
    ) -> Answer:
        """As Client.send."""
        path = requests.address("/ingest", defaults or {})

        async def attempt() -> Answer:
            return settled(await self._request("POST", path, body, {**self._headers, **JSON}))

        return await self._patiently(attempt, give_up_after_s)

    async def ask(self, question: Question[T], give_up_after_s: float | None = None) -> T:
        """As Client.ask."""

        async def attempt() -> T:
            return answered(question, await self._request("GET", question.path, b"", self._headers))

        return await self._patiently(attempt, give_up_after_s)

    query = _asks(requests.events)
    histogram = _asks(requests.histogram)
    aggregate = _asks(requests.aggregate)
    fields = _asks(requests.fields)
    values = _asks(requests.values)
    event = _asks(requests.event)
    context = _asks(requests.context)
    dead_letters = _asks(requests.dead_letters)
    dead_letter = _asks(requests.dead_letter)
    stats = _asks(requests.stats)
    audit = _asks(requests.audit)

    async def pages(
        self,
        tenant: str | None = None,
        *,
        q: str | None = None,
        start: str | None = None,
        end: str | None = None,
        limit: int | None = 100,
        cursor: str | None = None,
        order: Order = "newest",
        fields: Sequence[str] = (),
        give_up_after_s: float | None = None,
    ) -> AsyncIterator[Page]:
        """As Client.pages."""
        paging = Paging(limit, cursor)
        while paging.more:
            asked = requests.events(
                tenant, q=q, start=start, end=end, limit=paging.size, cursor=paging.cursor, order=order, fields=fields
            )
            page = await self.ask(asked, give_up_after_s)
            paging.took(len(page.events), page.cursor)
            yield page

    async def dead_letter_pages(
        self,
        tenant: str | None = None,
        *,
        start: str | None = None,
        end: str | None = None,
        reason: str | None = None,
        limit: int | None = 100,
    ) -> AsyncIterator[LetterPage]:
        """As Client.dead_letter_pages."""
        paging = Paging(limit)
        while paging.more:
            page = await self.dead_letters(
                tenant, start=start, end=end, reason=reason, limit=paging.size, cursor=paging.cursor
            )
            paging.took(len(page.dead_letters), page.cursor)
            yield page

    async def tail(
        self, tenant: str | None = None, *, q: str | None = None, give_up_after_s: float = float("inf")
    ) -> AsyncGenerator[msgspec.Raw | Gap, None]:
        """As Client.tail."""
        tailing = Tailing(self._patience, give_up_after_s)
        path = requests.tail(tenant, q)
        while True:
            try:
                async with aclosing(self._stream(path)) as pieces:
                    async for piece in pieces:
                        if isinstance(piece, Response):
                            refuse(piece)
                            for gap in tailing.open():
                                yield gap
                        else:
                            for found in tailing.feed(piece):
                                yield found
                raise Retryable(ENDED, after_s=0.0)
            except Retryable as error:
                wait_s = tailing.broke(error)
            await self._sleep(wait_s)

    async def _stream(self, path: str) -> AsyncGenerator[bytes | Response, None]:
        connection = await self._connect()
        try:
            async for piece in connection.stream(request_bytes(self._address, "GET", path, b"", self._headers)):
                yield piece
        finally:
            connection.close()

    async def _request(self, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> Response:
        request = request_bytes(self._address, method, path, body, headers)
        while True:
            connection = self._idle.pop() if self._idle else await self._connect()
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

    async def _connect(self) -> AsyncConnection:
        return await AsyncConnection.connect(self._address, self._tls, self._timeout_s)

    async def _patiently(self, attempt: Callable[[], Awaitable[T]], give_up_after_s: float | None) -> T:
        attempts = Attempts(self._patience, give_up_after_s)
        while True:
            try:
                return await attempt()
            except Retryable as error:
                wait_s = attempts.wait_s(error)
            await self._sleep(wait_s)
