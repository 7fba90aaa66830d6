"""The blocking client: sends events until they are safe, queries page by page, follows new events.

In: events as bytes, queries as keywords. Out: the decoded answers. Errors: Rejected, Retryable.
Next: parsec.client.transport.
"""

from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing
from functools import wraps
from typing import Concatenate

import msgspec

from parsec.api.ingest import IngestAnswer
from parsec.client import requests
from parsec.client.requests import AnyPage, P, Pages, Request, T
from parsec.client.retries import Attempts, RetryPolicy, ingest_answer, query_answer, raise_for_status
from parsec.client.tail import ENDED, Gap, Tail
from parsec.client.transport import Connection, Response, connection_options
from parsec.core.errors import Retryable


def _query(build: Callable[P, Request[T]]) -> "Callable[Concatenate[Client, P], T]":
    """A method that sends the request that `build` makes, once: it does not keep a person waiting.

    Raises Rejected when the query is refused, Retryable when the server cannot answer it now.
    """

    @wraps(build)
    def query(self: "Client", /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self.get(build(*args, **kwargs))

    return query


def _paged(build: Callable[P, Pages[AnyPage]]) -> "Callable[Concatenate[Client, P], Iterator[AnyPage]]":
    """A method that yields one page after the other."""

    @wraps(build)
    def paged(self: "Client", /, *args: P.args, **kwargs: P.kwargs) -> Iterator[AnyPage]:
        pages = build(*args, **kwargs)
        while pages.request is not None:
            page = self.get(pages.request, pages.give_up_after_s)
            pages.advance(page)
            yield page

    return paged


class Client:
    """One connection to one Parsec; for one thread. Close it, or use it in a `with`."""

    def __init__(
        self, url: str | None = None, *, api_key: str | None = None, ca_file: str | None = None,
        timeout_s: float = 30.0, retry: RetryPolicy | None = None,
    ) -> None:  # fmt: skip
        """`url` and `api_key` default to PARSEC_URL and PARSEC_API_KEY. `timeout_s` bounds one wait for the socket;
        `ca_file` holds certificates to trust instead of the system's.

        Raises ValueError when `url` is no address, OSError when `ca_file` cannot be read.
        """
        self._options = connection_options(url, api_key, ca_file, timeout_s)
        self._retry = retry or RetryPolicy()
        self._connection = Connection(self._options)

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Safe to call twice."""
        self._connection.close()

    def abandon(self) -> None:
        """In a child after a fork: leaves the connection to the parent. The client is of no use afterwards."""
        self._connection.abandon()

    def send(
        self, body: bytes, *, defaults: Mapping[str, str] | None = None, give_up_after_s: float | None = 60.0
    ) -> IngestAnswer:
        """Sends one request until it has a final answer. `body` has any shape that POST /ingest takes.

        `defaults` (tenant_id, source, severity) fill in missing fields. 429, 500 to 504 and broken connections are
        retried with the same bytes, after at least the server's Retry-After. Raises Rejected when the request as a
        whole is refused (key, size, encoding), Retryable after `give_up_after_s` (None: after one attempt): then its
        fate is unknown.
        """
        path = requests.ingest_path(defaults)
        return self._attempt(ingest_answer, path, body, give_up_after_s)

    def get(self, request: Request[T], give_up_after_s: float | None = None) -> T:
        """The answer to a request of parsec.client.requests; by default one attempt. Raises Rejected, Retryable."""
        path, body = request.path, request.body
        return self._attempt(lambda found: query_answer(request, found), path, body, give_up_after_s)

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

    def tail(
        self, tenant: str | None = None, *, q: str | None = None, give_up_after_s: float = float("inf")
    ) -> Generator[msgspec.Raw | Gap, None, None]:
        """Events as they are stored, from now on, on a connection of its own; a Gap where some are missing.

        A broken connection is replaced. Raises Rejected when the query is refused, Retryable when the first
        connection fails, or none succeeds for `give_up_after_s`.
        """
        tail = Tail(self._retry, give_up_after_s)
        path = requests.tail(tenant, q=q).path
        while True:
            try:
                with closing(Connection(self._options).stream(path)) as pieces:
                    for piece in pieces:
                        if isinstance(piece, Response):
                            raise_for_status(piece)
                            yield from tail.open()
                        else:
                            yield from tail.feed(piece)
                raise Retryable(ENDED, after_s=0.0)
            except Retryable as error:
                wait_s = tail.wait_s(error)
            self._retry.sleep(wait_s)

    def _attempt(
        self, read: Callable[[Response], T], path: str, body: bytes | None, give_up_after_s: float | None
    ) -> T:
        attempts = Attempts(self._retry, give_up_after_s)
        while True:
            try:
                return read(self._connection.request(path, body))
            except Retryable as error:
                wait_s = attempts.wait_s(error)
            self._retry.sleep(wait_s)
