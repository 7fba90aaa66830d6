"""The requests of a client that ask for something: paths, parameters and answers; no socket.

In: keywords, which are the fields of the structs in parsec.api.parameters. Out: a Request, or Pages of them, for Client
and AsyncClient to send. Errors: TypeError, ValueError for a wrong keyword; Rejected(not_parsec) from `decode`, when
the answer is not Parsec's. Next: parsec.client.client.
"""

from collections.abc import Callable, Mapping
from typing import Any, Generic, ParamSpec, TypeVar
from urllib.parse import quote, urlencode

import msgspec

from parsec.api import parameters
from parsec.api.endpoint import Endpoint, Q
from parsec.api.parameters import DeadLettersQuery, EventsQuery, NoQuery
from parsec.api.query import DeadLetterDetail, DeadLetterPage, EventPage
from parsec.core.errors import Rejected

P = ParamSpec("P")
T = TypeVar("T")
AnyPage = TypeVar("AnyPage", bound=EventPage | DeadLetterPage)

PAGE_EVENTS = 1_000
"""Per request: a page is held in memory, and each event may be 256 KiB."""


class Request(msgspec.Struct, Generic[T], frozen=True):
    """A GET, or with a body a POST. `path` includes the query string; `answer` is the struct of the answer."""

    path: str
    answer: type[T]
    body: bytes | None = None

    def decode(self, body: bytes) -> T:
        """Raises Rejected when the answer is not Parsec's."""
        try:
            return msgspec.json.decode(body, type=self.answer)
        except msgspec.DecodeError as error:
            raise Rejected("not_parsec", f"the answer is not from Parsec, check the URL: {error}") from error


def _request(endpoint: Endpoint[Any, T], query: msgspec.Struct) -> Request[T]:
    if getattr(query, "format", None) not in (None, "json"):
        raise ValueError("the client decodes JSON; leave `format` out")
    return Request(endpoint.address(query), endpoint.answer, b"" if endpoint.method == "post" else None)


def _requests(endpoint: Endpoint[Q, T], query: Callable[P, Q]) -> Callable[P, Request[T]]:
    """A function with the parameters of `query`, which makes requests to the endpoint."""

    def request(*args: P.args, **kwargs: P.kwargs) -> Request[T]:
        return _request(endpoint, query(*args, **kwargs))

    request.__doc__ = f"{endpoint.method.upper()} {endpoint.path}. Raises Rejected, Retryable.{_keywords(endpoint)}"
    return request


def _keywords(endpoint: Endpoint[Any, Any]) -> str:
    return "\n" + "".join(f"\n{each.keyword}: {each.spec.help}" for each in endpoint.parameters)


events = _requests(parameters.EVENTS, parameters.EventsQuery)
histogram = _requests(parameters.HISTOGRAM, parameters.HistogramQuery)
aggregate = _requests(parameters.AGGREGATE, parameters.AggregateQuery)
fields = _requests(parameters.FIELDS, parameters.ScopeQuery)
values = _requests(parameters.VALUES, parameters.ValuesQuery)
event = _requests(parameters.EVENT, parameters.EventQuery)
context = _requests(parameters.CONTEXT, parameters.ContextQuery)
dead_letters = _requests(parameters.DEAD_LETTERS, parameters.DeadLettersQuery)
audit = _requests(parameters.AUDIT, NoQuery)
keyless = _requests(parameters.KEYLESS, NoQuery)
repair = _requests(parameters.REPAIR, NoQuery)
repair_status = _requests(parameters.REPAIR_STATUS, NoQuery)
stats = _requests(parameters.STATS, NoQuery)
tail = _requests(parameters.TAIL, parameters.TailQuery)


def dead_letter(position: str, tenant: str | None = None) -> Request[DeadLetterDetail]:
    """The dead letter at this `log_id/partition/offset`, with its bytes. Rejected(not_found)."""
    tenant_query = f"?{urlencode({'tenant': tenant})}" if tenant else ""
    return Request(f"/deadletters/{quote(position)}{tenant_query}", DeadLetterDetail)


class EventPagesQuery(EventsQuery, frozen=True, kw_only=True):
    """`limit` counts events on all pages."""

    limit: int | None = 100
    give_up_after_s: float | None = None


class DeadLetterPagesQuery(DeadLettersQuery, frozen=True, kw_only=True):
    """`limit` counts dead letters on all pages."""

    limit: int | None = 100  # type: ignore[assignment]  # the base class counts those of one page, which has a limit
    give_up_after_s: float | None = None


class Pages(Generic[AnyPage]):
    """Requests that follow cursors: `request` is the next one, None at the end or once `limit` things came."""

    def __init__(self, endpoint: Endpoint[Any, AnyPage], query: EventPagesQuery | DeadLetterPagesQuery) -> None:
        self._endpoint = endpoint
        self._query = query
        self._left = query.limit
        self.give_up_after_s = query.give_up_after_s
        self.request: Request[AnyPage] | None = None
        self._prepare(query.cursor)

    def advance(self, page: AnyPage) -> None:
        """Takes the answer to `request`."""
        if self._left is not None:
            self._left -= len(page.events if isinstance(page, EventPage) else page.dead_letters)
        self.request = None
        if page.cursor is not None:
            self._prepare(page.cursor)

    def _prepare(self, cursor: str | None) -> None:
        size = PAGE_EVENTS if self._left is None else min(self._left, PAGE_EVENTS)
        if size > 0:
            self.request = _request(self._endpoint, msgspec.structs.replace(self._query, limit=size, cursor=cursor))


def _pages(
    endpoint: Endpoint[Any, AnyPage], query: Callable[P, EventPagesQuery | DeadLetterPagesQuery]
) -> Callable[P, Pages[AnyPage]]:
    """A function with the parameters of `query`, which makes requests for one page after the other."""

    def pages(*args: P.args, **kwargs: P.kwargs) -> Pages[AnyPage]:
        return Pages(endpoint, query(*args, **kwargs))

    retried = "Retries a page for `give_up_after_s`. `limit` counts over all pages; None means all."
    pages.__doc__ = f"Pages of GET {endpoint.path}. {retried} Raises Rejected, Retryable.{_keywords(endpoint)}"
    return pages


event_pages = _pages(parameters.EVENTS, EventPagesQuery)
dead_letter_pages = _pages(parameters.DEAD_LETTERS, DeadLetterPagesQuery)


def ingest_path(defaults: Mapping[str, str] | None) -> str:
    """The path of POST /ingest with what events may lack: tenant_id, source, severity."""
    return f"/ingest?{urlencode(defaults)}" if defaults else "/ingest"
