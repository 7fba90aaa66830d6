"""The client: send until it is safe, query page by page, follow what comes.

In: events as bytes, questions as keywords. Out: Answer, Page and the like. Errors: Rejected, Retryable.
"""

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

import msgspec

from parsec.api.responses import Answer
from parsec.client import requests
from parsec.client.paging import Paging
from parsec.client.requests import Order, Question
from parsec.client.responses import LetterPage, Page
from parsec.client.retries import Attempts, RetryPolicy, answered, refuse, settled
from parsec.client.tail import ENDED, Gap, Tailing
from parsec.client.transport import Connection, Response, url_and_headers
from parsec.core.errors import Retryable

P = ParamSpec("P")
T = TypeVar("T")

JSON = {"Content-Type": "application/json"}


def _asks(build: Callable[P, Question[T]]) -> "Callable[Concatenate[Client, P], T]":
    """A method with the parameters of a question, that gives its answer. Not repeated: a person waits for it.

    Raises Rejected when the question is refused, Retryable when the server cannot answer it now.
    """

    @wraps(build)
    def asking(self: "Client", /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self.ask(build(*args, **kwargs))

    return asking


class Client:
    """One connection to one Parsec; for one thread. Close it, or use it in a `with`."""

    def __init__(
        self,
        url: str | None = None,
        *,
        api_key: str | None = None,
        ca_file: str | None = None,
        timeout_s: float = 30.0,
        patience: RetryPolicy | None = None,
    ) -> None:
        """`url` and `api_key` default to PARSEC_URL and PARSEC_API_KEY. `timeout_s` bounds one wait for the socket;
        `ca_file` holds certificates to trust instead of the system's.

        Raises ValueError when `url` is no address, OSError when `ca_file` cannot be read.
        """
        self._url, self._headers = url_and_headers(url, api_key)
        self._ca_file = ca_file
        self._timeout_s = timeout_s
        self._patience = patience or RetryPolicy()
        self._connection = self._connect()

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Safe to call twice."""
        self._connection.close()

    def forget(self) -> None:
        """In a child after a fork: leaves the connection to the parent. The client is of no use afterwards."""
        self._connection.forget()

    def send(
        self, body: bytes, *, defaults: Mapping[str, str] | None = None, give_up_after_s: float | None = 60.0
    ) -> Answer:
        """Sends one request until it is answered for good. `body` has any shape that POST /ingest takes.

        `defaults` (tenant_id, source, severity) fill in what events lack. 429, 503 and broken connections are tried
        again, with the same bytes, after at least the server's Retry-After. Raises Rejected when the request as
        a whole is refused (key, size, encoding), Retryable when `give_up_after_s` is over, with None after one attempt:
        its fate is unknown.
        """
        path = requests.address("/ingest", defaults or {})

        def attempt() -> Answer:
            return settled(self._connection.request("POST", path, body, {**self._headers, **JSON}))

        return self._patiently(attempt, give_up_after_s)

    def ask(self, question: Question[T], give_up_after_s: float | None = None) -> T:
        """The answer to a question of parsec.client.requests; by default asked once. Raises Rejected, Retryable."""

        def attempt() -> T:
            return answered(question, self._connection.request("GET", question.path, None, self._headers))

        return self._patiently(attempt, give_up_after_s)

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

    def pages(
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
    ) -> Iterator[Page]:
        """Follows the cursors until `limit` events (None: all) or the end.

        With `give_up_after_s` a page that cannot be answered now is asked for again, so long. Raises as query.
        """
        paging = Paging(limit, cursor)
        while paging.more:
            asked = requests.events(
                tenant, q=q, start=start, end=end, limit=paging.size, cursor=paging.cursor, order=order, fields=fields
            )
            page = self.ask(asked, give_up_after_s)
            paging.took(len(page.events), page.cursor)
            yield page

    def dead_letter_pages(
        self,
        tenant: str | None = None,
        *,
        start: str | None = None,
        end: str | None = None,
        reason: str | None = None,
        limit: int | None = 100,
    ) -> Iterator[LetterPage]:
        """Follows the cursors until `limit` letters (None: all) or the end. Raises as query."""
        paging = Paging(limit)
        while paging.more:
            page = self.dead_letters(
                tenant, start=start, end=end, reason=reason, limit=paging.size, cursor=paging.cursor
            )
            paging.took(len(page.dead_letters), page.cursor)
            yield page

    def tail(
        self, tenant: str | None = None, *, q: str | None = None, give_up_after_s: float = float("inf")
    ) -> Generator[msgspec.Raw | Gap, None, None]:
        """Events as they are stored, from now on, on a connection of its own; a Gap where some were left out.

        A connection that breaks is replaced. Raises Rejected when the question is refused, Retryable when the first
        connection fails, or there was none for `give_up_after_s`.
        """
        tailing = Tailing(self._patience, give_up_after_s)
        path = requests.tail(tenant, q)
        while True:
            try:
                with closing(self._connect().stream(path, self._headers)) as pieces:
                    for piece in pieces:
                        if isinstance(piece, Response):
                            refuse(piece)
                            yield from tailing.open()
                        else:
                            yield from tailing.feed(piece)
                raise Retryable(ENDED, after_s=0.0)
            except Retryable as error:
                wait_s = tailing.broke(error)
            self._patience.sleep(wait_s)

    def _connect(self) -> Connection:
        return Connection(self._url, timeout_s=self._timeout_s, ca_file=self._ca_file)

    def _patiently(self, attempt: Callable[[], T], give_up_after_s: float | None) -> T:
        attempts = Attempts(self._patience, give_up_after_s)
        while True:
            try:
                return attempt()
            except Retryable as error:
                wait_s = attempts.wait_s(error)
            self._patience.sleep(wait_s)
