"""GET /deadletters: what could not become a row, and why.

In: query parameters. Out: `{"dead_letters":[...],"cursor":...}`, or one letter with its bytes. Errors: 400 with the
parameter's name, 404, 503 while the store does not answer. Next: parsec.query.dead_letters.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from typing import TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from parsec.core.clock import Clock
from parsec.core.errors import Rejected
from parsec.ports.store import Limits, StoreReader
from parsec.query.dead_letters import DeadQuestion, letter, letters
from parsec.query.timerange import timerange
from parsec.web.query_routes import DEFAULT_LIMIT, MAX_LIMIT, Turns

T = TypeVar("T")


class DeadLetterRoutes:
    """A list, and one letter."""

    def __init__(self, store: StoreReader, limits: Limits, executor: Executor, clock: Clock) -> None:
        self._store = store
        self._limits = limits
        self._executor = executor
        self._clock = clock
        self._turns = Turns()

    def routes(self) -> list[Route]:
        return [
            Route("/deadletters", self.list),
            Route("/deadletters/{log_id}/{partition}/{offset}", self.show),
        ]

    async def list(self, request: Request) -> Response:
        """The newest first, a page at a time, from all that is kept unless `from` says otherwise."""
        given = _given(request, ("tenant", "from", "to", "reason", "limit", "cursor"))
        between = timerange(given.get("from", "0"), given.get("to"), self._clock)
        limit = _whole(given.get("limit", str(DEFAULT_LIMIT)), "limit", 1, MAX_LIMIT)
        question = DeadQuestion(_tenant(given), between, limit, given.get("reason", ""), given.get("cursor"))
        page = await self._ask(question.tenant, lambda: letters(self._store, question, self._limits))
        return _json(page)

    async def show(self, request: Request) -> Response:
        """One letter with its bytes; 404 also for a letter of another tenant."""
        tenant = _tenant(_given(request, ("tenant",)))
        path = request.path_params
        place = (
            path["log_id"],
            _whole(path["partition"], "partition", 0, 2**32 - 1),
            _whole(path["offset"], "offset", 0, 2**64 - 1),
        )
        found = await self._ask(tenant, lambda: letter(self._store, tenant, *place, self._limits))
        if found is None:
            raise Rejected("not_found", "There is no dead letter of this tenant at this position.", status=404)
        return _json(found)

    async def _ask(self, tenant: str, question: Callable[[], T]) -> T:
        with self._turns.take(tenant):
            return await asyncio.get_running_loop().run_in_executor(self._executor, question)


def _given(request: Request, known: tuple[str, ...]) -> dict[str, str]:
    given: dict[str, str] = {}
    for name, value in request.query_params.multi_items():
        if name not in known:
            raise Rejected("unknown_parameter", f"There is {', '.join(known)}.", field=name)
        if given.setdefault(name, value) != value:
            raise Rejected("invalid_parameter", "It is given twice, with different values.", field=name)
    return given


def _tenant(given: dict[str, str]) -> str:
    tenant = given.get("tenant", "").strip().lower()
    if not tenant:
        message = "Say whose dead letters: ?tenant=..., or - for those that do not tell theirs."
        raise Rejected("missing_parameter", message, field="tenant")
    return tenant


def _whole(text: str, name: str, least: int, most: int) -> int:
    if len(text) > 20 or not text.isascii() or not text.isdigit() or not least <= int(text) <= most:
        raise Rejected("invalid_parameter", f"{name} must be a whole number from {least} to {most}.", field=name)
    return int(text)


def _json(body: object) -> Response:
    return Response(msgspec.json.encode(body), media_type="application/json")
