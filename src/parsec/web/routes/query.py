"""GET /query/...: parameters to a question, rows to JSON.

In: query parameters. Out: an object with the answer, `complete_until` and `missing`. Errors: 400 with the parameter's
name, 404 for an event that is not there, 503 while the store does not answer. Next: parsec.query.sql.page.
"""

from collections.abc import Callable
from typing import TypedDict, TypeVar, cast

import msgspec
from starlette.convertors import Convertor, register_url_convertor
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from parsec.api.query import (
    COMPLETE_UNTIL_HEADER,
    CURSOR_HEADER,
    MISSING_HEADER,
    AggregateAnswer,
    Completeness,
    EventAnswer,
    EventContext,
    EventPage,
    FieldList,
    Histogram,
    ValueList,
)
from parsec.core.clock import Clock
from parsec.core.errors import Rejected
from parsec.core.timestamp import text_of
from parsec.ports.store import QueryLimits, StoreReader
from parsec.query.language.fields import named
from parsec.query.language.parse import parse
from parsec.query.sql import facets, lookup
from parsec.query.sql.aggregate import MOST_GROUPS, aggregate, metric
from parsec.query.sql.facets import MOST_VALUES
from parsec.query.sql.filter import Scope
from parsec.query.sql.histogram import histogram
from parsec.query.sql.keyset_page import Order
from parsec.query.sql.page import Page, Question, page
from parsec.query.timerange import EVER
from parsec.web.completeness import CompletenessCheck
from parsec.web.export import MEDIA_TYPES, PAGE_EVENTS, Format, accepted, chunks, whole
from parsec.web.parameters import DEFAULT_LIMIT, MAX_LIMIT, Parameters
from parsec.web.query_executor import QueryExecutor


class _Text(Convertor[str]):
    """Any text in an address, slashes and line breaks, too: an id may hold both, and `path` stops at the latter."""

    regex = "(?s:.*)"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("text", _Text())

DEFAULT_TOP = 10
MOST_AROUND = 1_000
WEEK_S = 604_800
_CONTEXT = "/context"
_SCOPE = ("tenant", "q", "from", "to")

T = TypeVar("T")

_ENCODER = msgspec.json.Encoder()


class _Known(TypedDict):
    """The fields of Completeness."""

    complete_until: str
    missing: list[str]


class QueryRoutes:
    """The questions a person or a program may ask."""

    def __init__(self, store: StoreReader, missing: CompletenessCheck, asker: QueryExecutor, clock: Clock) -> None:
        self._store = store
        self._missing = missing
        self._asker = asker
        self._clock = clock

    def routes(self) -> list[Route]:
        return [
            Route("/query/events", self.events),
            Route("/query/histogram", self.histogram),
            Route("/query/aggregate", self.aggregate),
            Route("/query/fields", self.fields),
            Route("/query/fields/{name:text}/values", self.values),
            Route("/query/events/{id:text}/context", self.context),
            Route("/query/events/{id:text}", self.event),
        ]

    async def events(self, request: Request) -> Response:
        """Events of one tenant, a page at a time."""
        given = Parameters(request, (*_SCOPE, "order", "fields", "limit", "cursor", "format"))
        question = Question(
            given.tenant(),
            given.between(self._clock),
            given.whole("limit", DEFAULT_LIMIT, 1, MAX_LIMIT),
            given.cursor(),
            given.text("q") or "",
            cast("Order", given.one_of("order", "newest", "oldest")),
            tuple(name.strip() for name in (given.text("fields") or "").split(",") if name.strip()),
        )
        form = accepted(request.headers.get("accept", ""))
        if given.text("format") is not None:
            form = cast("Format", given.one_of("format", *MEDIA_TYPES))
        if form != "json":
            return await self._lines(request, form, question, given)

        def answer(limits: QueryLimits, known: _Known) -> EventPage:
            found = page(self._store, question, limits)
            return EventPage([_json(each) for each in found.events], given.sealed(found.cursor), **known)

        return await self._answered(request, Scope(question.tenant, question.between), answer)

    async def _lines(self, request: Request, form: Format, question: Question, given: Parameters) -> Response:
        """With a limit one page, whose cursor stands in the head; else all there is, page after page."""
        limited, until_ns = given.text("limit") is not None, self._missing.until_ns()
        first = question if limited else msgspec.structs.replace(question, limit=PAGE_EVENTS)

        async def ask_page(of: Question) -> Page:
            return await self._asker.ask(request, of.tenant, lambda limits: page(self._store, of, limits))

        def begin(limits: QueryLimits) -> tuple[Page, list[str]]:
            missing = self._missing.of(first.tenant, first.between.start_ns, until_ns, limits)
            return page(self._store, first, limits), missing

        found, missing = await self._asker.ask(request, first.tenant, begin)
        headers = {
            COMPLETE_UNTIL_HEADER: text_of(until_ns),
            MISSING_HEADER: msgspec.json.encode(missing).decode(),
        }
        if not limited:
            body = chunks(form, found, first, ask_page)
            return StreamingResponse(body, headers=headers, media_type=MEDIA_TYPES[form])
        if found.cursor is not None:
            headers[CURSOR_HEADER] = given.sealed(found.cursor) or ""
        return Response(whole(form, found, first), headers=headers, media_type=MEDIA_TYPES[form])

    async def histogram(self, request: Request) -> Response:
        """How many events in each stretch of time."""
        given = Parameters(request, (*_SCOPE, "interval", "by"))
        scope = self._scope(given)
        by, step = given.text("by"), given.whole("interval", 0, 0, 52 * WEEK_S)
        field = None if by is None else named(by, "by")

        def answer(limits: QueryLimits, known: _Known) -> Histogram:
            return Histogram(*histogram(self._store, scope, limits, interval_s=step or None, by=field), **known)

        return await self._answered(request, scope, answer)

    async def aggregate(self, request: Request) -> Response:
        """Figures about events, in groups."""
        given = Parameters(request, (*_SCOPE, "top"), repeatable=("metric", "by"))
        scope, top = self._scope(given), given.whole("top", DEFAULT_TOP, 1, MOST_GROUPS)
        metrics = [metric(text) for text in given.all("metric") or ["count"]]
        by = [named(name, "by") for name in given.all("by")]
        return await self._answered(
            request,
            scope,
            lambda limits, known: AggregateAnswer(aggregate(self._store, scope, metrics, by, top, limits), **known),
        )

    async def fields(self, request: Request) -> Response:
        """Which fields events have, and how many events have each."""
        scope = self._scope(Parameters(request, _SCOPE))
        return await self._answered(
            request, scope, lambda limits, known: FieldList(facets.names(self._store, scope, limits), **known)
        )

    async def values(self, request: Request) -> Response:
        """Which values a field has, the most frequent first."""
        given = Parameters(request, (*_SCOPE, "limit"))
        scope, field = self._scope(given), named(request.path_params["name"], "name")
        most = given.whole("limit", DEFAULT_LIMIT, 1, MOST_VALUES)
        return await self._answered(
            request,
            scope,
            lambda limits, known: ValueList(facets.values(self._store, scope, field, most, limits), **known),
        )

    async def event(self, request: Request) -> Response:
        """The newest event with an id."""
        return await self._event(request, request.path_params["id"])

    async def _event(self, request: Request, event_id: str) -> Response:
        tenant = Parameters(request, ("tenant",)).tenant()

        def answer(limits: QueryLimits, known: _Known) -> EventAnswer:
            return EventAnswer(_json(_there(lookup.event(self._store, tenant, event_id, limits))), **known)

        return await self._answered(request, Scope(tenant, EVER), answer)

    async def context(self, request: Request) -> Response:
        """What the same source said just before and just after an event, all oldest first."""
        if not request.scope["raw_path"].endswith(_CONTEXT.encode()):  # its slash is escaped: it belongs to the id
            return await self._event(request, request.path_params["id"] + _CONTEXT)
        given = Parameters(request, ("tenant", "before", "after"))
        tenant, counts = (
            given.tenant(),
            (given.whole("before", 10, 0, MOST_AROUND), given.whole("after", 10, 0, MOST_AROUND)),
        )

        def answer(limits: QueryLimits, known: _Known) -> EventContext:
            before, event, after = _there(
                lookup.surroundings(self._store, tenant, request.path_params["id"], counts, limits)
            )
            return EventContext([_json(one) for one in before], _json(event), [_json(one) for one in after], **known)

        return await self._answered(request, Scope(tenant, EVER), answer)

    def _scope(self, given: Parameters) -> Scope:
        return Scope(given.tenant(), given.between(self._clock), parse(given.text("q") or ""))

    async def _answered(
        self, request: Request, scope: Scope, answer: Callable[[QueryLimits, _Known], Completeness]
    ) -> Response:
        # Read before the store is asked: the answer promises nothing about what arrives meanwhile.
        until_ns = self._missing.until_ns()

        def body(limits: QueryLimits) -> bytes:
            missing = self._missing.of(scope.tenant, scope.between.start_ns, until_ns, limits)
            return _ENCODER.encode(answer(limits, {"complete_until": text_of(until_ns), "missing": missing}))

        return Response(await self._asker.ask(request, scope.tenant, body), media_type="application/json")


def _json(event: dict[str, object]) -> msgspec.Raw:
    return msgspec.Raw(_ENCODER.encode(event))


def _there(found: T | None) -> T:
    if found is None:
        raise Rejected("not_found", "This tenant has no event with this id.", status=404)
    return found
