"""The requests of a client that ask for something: where they go, and how their answers are decoded; no socket.

In: keywords. Out: a Request, or Pages of them, for Client and AsyncClient to send. Errors: none here; `decode` raises
Rejected(not_parsec) when the answer is not Parsec's. Next: parsec.client.client.

`start` is inclusive, `end` exclusive, both RFC 3339, epoch or relative as `-2h`; the default is the last hour.
`q` is an expression of docs/query-language.md; None selects all events. `tenant` is needed unless the key names it.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Generic, Literal, TypeVar
from urllib.parse import quote, urlencode

import msgspec

from parsec.api.audit import Audit
from parsec.api.query import (
    AggregateAnswer,
    DeadLetterDetail,
    DeadLetterPage,
    EventAnswer,
    EventContext,
    EventPage,
    FieldList,
    Histogram,
    ValueList,
)
from parsec.core.errors import Rejected

Order = Literal["newest", "oldest"]
T = TypeVar("T")
AnyPage = TypeVar("AnyPage", bound=EventPage | DeadLetterPage)

PAGE_EVENTS = 1_000
"""Per request: a page is held in memory, and each event may be 256 KiB."""


class Request(msgspec.Struct, Generic[T], frozen=True):
    """A GET. `path` includes the query string; `decode` raises Rejected when the answer is not Parsec's."""

    path: str
    decode: Callable[[bytes], T]


class Pages(Generic[AnyPage]):
    """Requests that follow cursors: `request` is the next one, None at the end or once `limit` things came."""

    def __init__(
        self,
        page: Callable[[int, str | None], Request[AnyPage]],
        limit: int | None,
        cursor: str | None = None,
        give_up_after_s: float | None = None,
    ) -> None:
        """`page` makes the request for so many things from a cursor on; `limit` None means all."""
        self._page = page
        self._left = limit
        self.give_up_after_s = give_up_after_s
        self.request: Request[AnyPage] | None = None
        self._prepare(cursor)

    def advance(self, page: AnyPage) -> None:
        """After the answer to `request`."""
        if self._left is not None:
            self._left -= len(page.events if isinstance(page, EventPage) else page.dead_letters)
        self.request = None
        if page.cursor is not None:
            self._prepare(page.cursor)

    def _prepare(self, cursor: str | None) -> None:
        size = PAGE_EVENTS if self._left is None else min(self._left, PAGE_EVENTS)
        if size > 0:
            self.request = self._page(size, cursor)


def events(
    tenant: str | None = None,
    *,
    q: str | None = None,
    start: str | None = None,
    end: str | None = None,
    limit: int = 100,
    cursor: str | None = None,
    order: Order = "newest",
    fields: Sequence[str] = (),
) -> Request[EventPage]:
    """One page of events, newest first by default; `fields` selects fields of each event, all when empty."""
    more = {"order": None if order == "newest" else order, "fields": ",".join(fields) or None}
    return _get(EventPage, "/query/events", _scope(tenant, q, start, end), limit=limit, cursor=cursor, **more)


def event_pages(
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
) -> Pages[EventPage]:
    """Pages of events up to `limit` (None: all), by following the cursors.

    Retries a page that cannot be answered now for `give_up_after_s`. Raises as `query`.
    """

    def page(size: int, at: str | None) -> Request[EventPage]:
        return events(tenant, q=q, start=start, end=end, limit=size, cursor=at, order=order, fields=fields)

    return Pages(page, limit, cursor, give_up_after_s)


def histogram(
    tenant: str | None = None,
    *,
    q: str | None = None,
    start: str | None = None,
    end: str | None = None,
    interval_s: int | None = None,
    by: str | None = None,
) -> Request[Histogram]:
    """Counts of events per interval, and per value of the field `by`."""
    return _get(Histogram, "/query/histogram", _scope(tenant, q, start, end), by=by, interval=interval_s)


def aggregate(
    tenant: str | None = None,
    *,
    metrics: Sequence[str] = ("count",),
    by: Sequence[str] = (),
    q: str | None = None,
    start: str | None = None,
    end: str | None = None,
    top: int | None = None,
) -> Request[AggregateAnswer]:
    """Metrics such as `count`, `distinct(source)`, `p95(metadata.ms)`, for the `top` groups by up to three fields."""
    return _get(AggregateAnswer, "/query/aggregate", _scope(tenant, q, start, end), metric=metrics, by=by, top=top)


def fields(
    tenant: str | None = None, *, q: str | None = None, start: str | None = None, end: str | None = None
) -> Request[FieldList]:
    """The fields of events, and how many events have each."""
    return _get(FieldList, "/query/fields", _scope(tenant, q, start, end))


def values(
    field: str,
    tenant: str | None = None,
    *,
    q: str | None = None,
    start: str | None = None,
    end: str | None = None,
    limit: int = 100,
) -> Request[ValueList]:
    """The values of a field, the most frequent first."""
    return _get(ValueList, f"/query/fields/{quote(field, safe='')}/values", _scope(tenant, q, start, end), limit=limit)


def event(id: str, tenant: str | None = None) -> Request[EventAnswer]:  # noqa: A002  the name of the field
    """The newest event with this id. Rejected(not_found) when there is none."""
    return _get(EventAnswer, f"/query/events/{quote(id, safe='')}", {"tenant": tenant})


def context(
    id: str,  # noqa: A002  the name of the field
    tenant: str | None = None,
    *,
    before: int = 10,
    after: int = 10,
) -> Request[EventContext]:
    """The events of the same source just before and after an event, oldest first. Rejected(not_found)."""
    path = f"/query/events/{quote(id, safe='')}/context"
    return _get(EventContext, path, {"tenant": tenant}, before=before, after=after)


def dead_letters(
    tenant: str | None = None,
    *,
    start: str | None = None,
    end: str | None = None,
    reason: str | None = None,
    limit: int = 100,
    cursor: str | None = None,
) -> Request[DeadLetterPage]:
    """One page of dead letters, newest first; by default of all times. `tenant` "-": those without a tenant."""
    scope = {"tenant": tenant, "from": start, "to": end}
    return _get(DeadLetterPage, "/deadletters", scope, reason=reason, limit=limit, cursor=cursor)


def dead_letter_pages(
    tenant: str | None = None,
    *,
    start: str | None = None,
    end: str | None = None,
    reason: str | None = None,
    limit: int | None = 100,
) -> Pages[DeadLetterPage]:
    """Pages of dead letters up to `limit` (None: all), by following the cursors. Raises as `dead_letters`."""

    def page(size: int, at: str | None) -> Request[DeadLetterPage]:
        return dead_letters(tenant, start=start, end=end, reason=reason, limit=size, cursor=at)

    return Pages(page, limit)


def dead_letter(position: str, tenant: str | None = None) -> Request[DeadLetterDetail]:
    """The dead letter at this `log_id/partition/offset`, with its bytes. Rejected(not_found)."""
    return _get(DeadLetterDetail, f"/deadletters/{quote(position)}", {"tenant": tenant})


def audit() -> Request[Audit]:
    """The recount of the ledger (docs/api.md). Takes about a second for each ten million events."""
    return _get(Audit, "/admin/audit", {})


def stats() -> Request[dict[str, Any]]:
    """The counts of GET /stats, as in docs/api.md."""
    return Request("/stats", _decode_stats)


def tail(tenant: str | None, q: str | None) -> str:
    """The path of live events: a response without an end."""
    return path_with("/query/tail", {"tenant": tenant, "q": q})


def path_with(path: str, parameters: Mapping[str, str | int | Sequence[str] | None]) -> str:
    """A path with a query string of the parameters that are not None."""
    given = urlencode({name: value for name, value in parameters.items() if value is not None}, doseq=True)
    return f"{path}?{given}" if given else path


def _scope(tenant: str | None, q: str | None, start: str | None, end: str | None) -> dict[str, str | None]:
    return {"tenant": tenant, "q": q, "from": start, "to": end}


def _get(
    into: type[T], path: str, scope: Mapping[str, str | None], **more: str | int | Sequence[str] | None
) -> Request[T]:
    return Request(path_with(path, {**scope, **more}), partial(_decode, into=into))


def _decode(body: bytes, into: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=into)
    except msgspec.DecodeError as error:
        raise Rejected("not_parsec", f"the answer is not Parsec's, check the address: {error}") from error


def _decode_stats(body: bytes) -> dict[str, Any]:
    found = _decode(body, dict[str, Any])
    if not isinstance(found.get("producer"), dict):
        raise Rejected("not_parsec", "the answer is not Parsec's, check the address: it lacks `producer`")
    return found
