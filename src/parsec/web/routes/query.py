"""GET /query/... and /deadletters: parameters to statements, rows to JSON.

In: the parameters that parsec.api.parameters declares. Out: the answers of parsec.api.query. Errors: 400 with the
parameter's name, 404 when there is no such event or dead letter, 503 while the store does not answer. Next:
parsec.query.sql.page.
"""

from collections.abc import Callable
from typing import TypedDict, TypeVar, cast

import msgspec
from starlette.convertors import Convertor, register_url_convertor
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from parsec.api import parameters
from parsec.api import query as answers
from parsec.core.clock import Clock
from parsec.core.errors import Fatal, Rejected, Retryable
from parsec.core.timestamp import text_of
from parsec.ports.store import QueryLimits, StoreReader
from parsec.query.completeness import CompletenessCheck
from parsec.query.language.fields import field_parameter
from parsec.query.language.parse import parse
from parsec.query.sql.aggregate import aggregate, parse_metric
from parsec.query.sql.dead_letters import DeadLetterPageRequest, dead_letter_page, find_dead_letter
from parsec.query.sql.facets import field_counts, value_counts
from parsec.query.sql.filter import Scope
from parsec.query.sql.histogram import GroupBy, histogram
from parsec.query.sql.lookup import find_context, find_event, latest_timestamp
from parsec.query.sql.page import Page, PageRequest, page
from parsec.query.timerange import EVER, TimeRange, timerange
from parsec.web.export import MEDIA_TYPES, PAGE_EVENTS, accepted_format, all_pages, one_page
from parsec.web.parameters import decrypted_cursor, encrypted_cursor, parse_parameters, tenant_of
from parsec.web.query_executor import QueryExecutor
from parsec.web.responses import JsonResponse


class _Text(Convertor[str]):
    """Any text in a path, with slashes and line breaks: an id may hold both, and `path` stops at a line break."""

    regex = "(?s:.*)"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("text", _Text())

MAX_ATTEMPTS = 5
"""Attempts at a query while parts of the store are detached or stored again."""
_CONTEXT = "/context"
_ENCODER = msgspec.json.Encoder()

T = TypeVar("T")


class _CompletenessFields(TypedDict):
    """The fields of Completeness."""

    complete_until: str
    missing: list[str]


class _TimeFields(TypedDict):
    """The time range of a RangeAnswer."""

    start: str
    end: str


class _RangeFields(_CompletenessFields, _TimeFields):
    """The fields of every RangeAnswer."""


class QueryRoutes:
    """Queries about stored events and dead letters."""

    def __init__(
        self, store: StoreReader, completeness: CompletenessCheck, executor: QueryExecutor, clock: Clock
    ) -> None:
        self._store = store
        self._completeness = completeness
        self._executor = executor
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
            Route("/deadletters", self.dead_letters),
            Route("/deadletters/{log_id}/{partition}/{offset}", self.dead_letter),
        ]

    async def events(self, request: Request) -> Response:
        """Events of one tenant: a page as JSON, or one or all pages as JSON lines or CSV."""
        asked = parse_parameters(request, parameters.EVENTS)
        wanted = PageRequest(
            tenant_of(request, asked.tenant), timerange(asked.start, asked.end, self._clock),
            asked.limit or parameters.DEFAULT_LIMIT, decrypted_cursor(request, asked.cursor), asked.q or "",
            asked.order, tuple(asked.fields),
        )  # fmt: skip
        form = asked.format or accepted_format(request.headers.get("accept", ""))
        if form != "json":
            return await self._lines(request, form, wanted, all_of_them=asked.limit is None)

        def answer(limits: QueryLimits, known: _RangeFields) -> answers.EventPage:
            found = page(self._store, wanted, limits)
            # A cursor holds the range that its first page resolved.
            known = {**known, **_range_fields(found.time_range)}
            return answers.EventPage(_as_json(found.events), encrypted_cursor(request, found.cursor), **known)

        return await self._range_answered(request, Scope(wanted.tenant, wanted.time_range), answer)

    async def _lines(
        self, request: Request, form: parameters.Format, wanted: PageRequest, *, all_of_them: bool
    ) -> Response:
        """One page with the next cursor in a header, or all pages, one after the other."""
        until_ns = self._completeness.until_ns()
        first = msgspec.structs.replace(wanted, limit=PAGE_EVENTS) if all_of_them else wanted

        def begin(limits: QueryLimits) -> tuple[Page, list[str], int]:
            def ask() -> tuple[Page, list[str], int]:
                changes = self._completeness.damage_changes()
                missing = self._completeness.missing(first.tenant, first.time_range.start_ns, until_ns, limits)
                return page(self._store, first, limits), missing, changes

            return self._undamaged(ask)

        found, missing, changes = await self._executor.run(request, first.tenant, begin)

        async def fetch_page(of: PageRequest) -> Page:
            return await self._executor.run(request, of.tenant, lambda limits: following(of, limits))

        def following(of: PageRequest, limits: QueryLimits) -> Page:
            found = page(self._store, of, limits)
            if self._completeness.damage_changes() != changes:  # the header with `missing` has been sent
                raise Fatal("a part of the store was detached meanwhile; repeat the query")
            return found

        headers = {
            answers.COMPLETE_UNTIL_HEADER: text_of(until_ns),
            answers.MISSING_HEADER: _ENCODER.encode(missing).decode(),
        }
        if all_of_them:
            body = all_pages(form, found, first, fetch_page)
            return StreamingResponse(body, headers=headers, media_type=MEDIA_TYPES[form])
        if found.cursor is not None:
            headers[answers.CURSOR_HEADER] = encrypted_cursor(request, found.cursor) or ""
        return Response(one_page(form, found, first), headers=headers, media_type=MEDIA_TYPES[form])

    async def histogram(self, request: Request) -> Response:
        """Counts of events per interval."""
        asked = parse_parameters(request, parameters.HISTOGRAM)
        scope = self._scope(request, asked)
        groups = None if asked.by is None else GroupBy(field_parameter(asked.by, "by"), asked.limit_groups)

        def answer(limits: QueryLimits, known: _RangeFields) -> answers.Histogram:
            found = histogram(self._store, scope, limits, interval_s=asked.interval_s or None, groups=groups)
            return answers.Histogram(*found, **known)

        return await self._range_answered(request, scope, answer)

    async def aggregate(self, request: Request) -> Response:
        """Metrics of events, in groups."""
        asked = parse_parameters(request, parameters.AGGREGATE)
        scope, metrics = self._scope(request, asked), [parse_metric(text) for text in asked.metrics]
        by = [field_parameter(name, "by") for name in asked.by]

        def answer(limits: QueryLimits, known: _RangeFields) -> answers.AggregateAnswer:
            return answers.AggregateAnswer(aggregate(self._store, scope, metrics, by, asked.top, limits), **known)

        return await self._range_answered(request, scope, answer)

    async def fields(self, request: Request) -> Response:
        """The fields of events, and the number of events that have each."""
        scope = self._scope(request, parse_parameters(request, parameters.FIELDS))
        return await self._range_answered(
            request, scope, lambda limits, known: answers.FieldList(field_counts(self._store, scope, limits), **known)
        )

    async def values(self, request: Request) -> Response:
        """The values of a field, the most frequent first."""
        asked = parse_parameters(request, parameters.VALUES)
        scope, field = self._scope(request, asked), field_parameter(asked.field, "name")

        def answer(limits: QueryLimits, known: _RangeFields) -> answers.ValueList:
            return answers.ValueList(value_counts(self._store, scope, field, asked.limit, limits), **known)

        return await self._range_answered(request, scope, answer)

    async def event(self, request: Request) -> Response:
        """The newest event with an id."""
        return await self._event(request, parse_parameters(request, parameters.EVENT))

    async def _event(self, request: Request, asked: parameters.EventQuery) -> Response:
        tenant = tenant_of(request, asked.tenant)

        def answer(limits: QueryLimits, known: _CompletenessFields) -> answers.EventAnswer:
            (event,) = _as_json([_found(find_event(self._store, tenant, asked.id, limits))])
            return answers.EventAnswer(event, **known)

        return await self._answered(request, Scope(tenant, EVER), answer)

    async def context(self, request: Request) -> Response:
        """The events of the same source just before and after an event, oldest first."""
        if not request.scope["raw_path"].endswith(_CONTEXT.encode()):  # its slash is escaped: it belongs to the id
            asked_event = parse_parameters(request, parameters.EVENT)
            return await self._event(request, msgspec.structs.replace(asked_event, id=asked_event.id + _CONTEXT))
        asked = parse_parameters(request, parameters.CONTEXT)
        tenant, counts = tenant_of(request, asked.tenant), (asked.before, asked.after)

        def answer(limits: QueryLimits, known: _CompletenessFields) -> answers.EventContext:
            before, event, after = _found(find_context(self._store, tenant, asked.id, counts, limits))
            (middle,) = _as_json([event])
            return answers.EventContext(_as_json(before), middle, _as_json(after), **known)

        return await self._answered(request, Scope(tenant, EVER), answer)

    async def dead_letters(self, request: Request) -> Response:
        """A page, the newest first; without `from`, of all that are kept."""
        asked = parse_parameters(request, parameters.DEAD_LETTERS)
        wanted = DeadLetterPageRequest(
            tenant_of(request, asked.tenant, parameters.NO_TENANT),
            timerange("0" if asked.start is None else asked.start, asked.end, self._clock),
            asked.limit,
            asked.reason or "",
            decrypted_cursor(request, asked.cursor),
        )
        page = await self._executor.run(
            request, wanted.tenant, lambda limits: dead_letter_page(self._store, wanted, limits)
        )
        return JsonResponse(msgspec.structs.replace(page, cursor=encrypted_cursor(request, page.cursor)))

    async def dead_letter(self, request: Request) -> Response:
        """One dead letter with its bytes; 404 also for one of another tenant."""
        asked = parse_parameters(request, parameters.DEAD_LETTER)
        tenant, place = (
            tenant_of(request, asked.tenant, parameters.NO_TENANT),
            (asked.log_id, asked.partition, asked.offset),
        )
        found = await self._executor.run(
            request, tenant, lambda limits: find_dead_letter(self._store, tenant, *place, limits)
        )
        if found is None:
            raise Rejected("not_found", "This tenant has no dead letter at this position.", status=404)
        return JsonResponse(found)

    def _scope(self, request: Request, asked: parameters.ScopeQuery | parameters.ValuesQuery) -> Scope:
        between = timerange(asked.start, asked.end, self._clock)
        return Scope(tenant_of(request, asked.tenant), between, parse(asked.q or ""))

    async def _range_answered(
        self, request: Request, scope: Scope, answer: Callable[[QueryLimits, _RangeFields], answers.RangeAnswer]
    ) -> Response:
        """An answer with its time range and, if it is empty, the time of the tenant's latest event."""

        def with_range(limits: QueryLimits, known: _CompletenessFields) -> answers.RangeAnswer:
            found = answer(limits, {**known, **_range_fields(scope.time_range)})
            if not answers.found_nothing(found):
                return found
            latest_ns = latest_timestamp(self._store, scope.tenant, limits)
            return msgspec.structs.replace(found, latest_event=None if latest_ns is None else text_of(latest_ns))

        return await self._answered(request, scope, with_range)

    async def _answered(
        self, request: Request, scope: Scope, answer: Callable[[QueryLimits, _CompletenessFields], answers.Completeness]
    ) -> Response:
        # Read before the store is asked: the answer promises nothing about what arrives meanwhile.
        until_ns = self._completeness.until_ns()

        def body(limits: QueryLimits) -> bytes:
            def ask() -> bytes:
                missing = self._completeness.missing(scope.tenant, scope.time_range.start_ns, until_ns, limits)
                return _ENCODER.encode(answer(limits, {"complete_until": text_of(until_ns), "missing": missing}))

            return self._undamaged(ask)

        return Response(await self._executor.run(request, scope.tenant, body), media_type="application/json")

    def _undamaged(self, ask: Callable[[], T]) -> T:
        """The answer. The query is repeated if a damaged part was detached meanwhile, so that `missing` reports it.

        Raises Retryable after MAX_ATTEMPTS.
        """
        for _ in range(MAX_ATTEMPTS):
            changes = self._completeness.damage_changes()
            answer = ask()
            if self._completeness.damage_changes() == changes:
                return answer
        raise Retryable("the store is detaching damaged parts")


def _range_fields(time_range: TimeRange) -> _TimeFields:
    return {"start": text_of(time_range.start_ns), "end": text_of(time_range.end_ns)}


def _as_json(events: list[dict[str, object]]) -> list[msgspec.Raw]:
    """Events for an answer. The encoder takes them as they are, four times as fast as if each were encoded before."""
    return cast("list[msgspec.Raw]", events)


def _found(found: T | None) -> T:
    if found is None:
        raise Rejected("not_found", "This tenant has no event with this id.", status=404)
    return found
