"""GET /deadletters: what could not become a row, and why.

In: query parameters. Out: `{"dead_letters":[...],"cursor":...}`, or one letter with its bytes. Errors: 400 with the
parameter's name, 404, 503 while the store does not answer. Next: parsec.query.sql.dead_letters.
"""

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from parsec.core.clock import Clock
from parsec.core.errors import Rejected
from parsec.ports.store import StoreReader
from parsec.query.sql.dead_letters import DeadQuestion, letter, letters
from parsec.web.parameters import DEFAULT_LIMIT, MAX_LIMIT, Parameters, whole
from parsec.web.query_executor import QueryExecutor
from parsec.web.responses import JsonResponse

NOBODYS = "-"
"""The tenant of letters that do not tell whose they are."""


class DeadLetterRoutes:
    """A list, and one letter."""

    def __init__(self, store: StoreReader, asker: QueryExecutor, clock: Clock) -> None:
        self._store = store
        self._asker = asker
        self._clock = clock

    def routes(self) -> list[Route]:
        return [
            Route("/deadletters", self.list),
            Route("/deadletters/{log_id}/{partition}/{offset}", self.show),
        ]

    async def list(self, request: Request) -> Response:
        """The newest first, a page at a time, from all that is kept unless `from` says otherwise."""
        given = Parameters(request, ("tenant", "from", "to", "reason", "limit", "cursor"))
        question = DeadQuestion(
            given.tenant(untold=NOBODYS),
            given.between(self._clock, start="0"),
            given.whole("limit", DEFAULT_LIMIT, 1, MAX_LIMIT),
            given.text("reason") or "",
            given.cursor(),
        )
        page = await self._asker.ask(request, question.tenant, lambda limits: letters(self._store, question, limits))
        return JsonResponse(msgspec.structs.replace(page, cursor=given.sealed(page.cursor)))

    async def show(self, request: Request) -> Response:
        """One letter with its bytes; 404 also for a letter of another tenant."""
        tenant = Parameters(request, ("tenant",)).tenant(untold=NOBODYS)
        path = request.path_params
        place = (
            path["log_id"],
            whole(path["partition"], "partition", 0, 2**32 - 1),
            whole(path["offset"], "offset", 0, 2**64 - 1),
        )
        found = await self._asker.ask(request, tenant, lambda limits: letter(self._store, tenant, *place, limits))
        if found is None:
            raise Rejected("not_found", "There is no dead letter of this tenant at this position.", status=404)
        return JsonResponse(found)
