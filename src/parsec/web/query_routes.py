"""GET /query/events: parameters to a question, rows to JSON.

In: query parameters. Out: `{"events":[...],"cursor":...,"complete_until":...,"missing":[]}`. Errors: 400 with the
parameter's name, 503 while the store does not answer. Questions run on a few threads of their own, so that a slow one
never holds up the event loop. Next: parsec.query.events.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from parsec.core.clock import Clock
from parsec.core.errors import Rejected, Retryable
from parsec.core.moment import text_of
from parsec.ports.store import Limits, StoreReader
from parsec.query.events import Question, ask
from parsec.query.timerange import timerange

PARAMETERS = ("tenant", "q", "from", "to", "limit", "cursor")
MAX_LIMIT = 10_000
DEFAULT_LIMIT = 100


class QueryRoutes:
    """The questions a person or a program may ask."""

    def __init__(
        self, store: StoreReader, limits: Limits, complete_until_ns: Callable[[], int], executor: Executor, clock: Clock
    ) -> None:
        self._store = store
        self._limits = limits
        self._complete_until_ns = complete_until_ns
        self._executor = executor
        self._clock = clock
        self._turns = Turns()

    def routes(self) -> list[Route]:
        return [Route("/query/events", self.events)]

    async def events(self, request: Request) -> Response:
        """Events of one tenant, newest first, a page at a time."""
        question = self._question(request)
        # Before the store is asked: what arrives meanwhile is not promised.
        complete_until_ns = self._complete_until_ns()
        loop = asyncio.get_running_loop()
        with self._turns.take(question.tenant):
            answer = await loop.run_in_executor(self._executor, ask, self._store, question, self._limits)
        body: dict[str, object] = {
            "events": answer.events,
            "cursor": answer.cursor,
            "complete_until": text_of(complete_until_ns),
            "missing": [],
        }
        return Response(msgspec.json.encode(body), media_type="application/json")

    def _question(self, request: Request) -> Question:
        given = request.query_params
        for name, value in given.multi_items():
            if name not in PARAMETERS:
                raise Rejected("unknown_parameter", f"There is {', '.join(PARAMETERS)}.", field=name)
            if given[name] != value:
                raise Rejected("invalid_parameter", "It is given twice, with different values.", field=name)
        tenant = given.get("tenant", "").strip().lower()
        if not tenant:
            raise Rejected("missing_parameter", "Say whose events: ?tenant=...", field="tenant")
        between = timerange(given.get("from"), given.get("to"), self._clock)
        return Question(tenant, between, _limit(given.get("limit")), given.get("cursor"), given.get("q", ""))


class Turns:
    """Who may ask now: few questions at once per tenant, so that one tenant's slow ones leave threads to the others."""

    def __init__(self, per_tenant: int = 2, in_all: int = 64) -> None:
        self._per_tenant = per_tenant
        self._in_all = in_all
        self._asking: Counter[str] = Counter()

    @contextmanager
    def take(self, tenant: str) -> Iterator[None]:
        """One question's time. Raises Retryable at once when there is no turn; used by the event loop only."""
        if self._asking[tenant] >= self._per_tenant or self._asking.total() >= self._in_all:
            raise Retryable("Too many questions at once; ask again.")
        self._asking[tenant] += 1
        try:
            yield
        finally:
            self._asking[tenant] -= 1
            if not self._asking[tenant]:
                del self._asking[tenant]


def _limit(text: str | None) -> int:
    if text is None:
        return DEFAULT_LIMIT
    if len(text) > 5 or not text.isascii() or not text.isdigit() or not 1 <= int(text) <= MAX_LIMIT:
        raise Rejected("invalid_parameter", f"limit must be a whole number from 1 to {MAX_LIMIT}.", field="limit")
    return int(text)
