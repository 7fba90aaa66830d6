"""GET /deadletters: the records that could not become rows, and why.

In: the parameters that parsec.api.parameters declares. Out: a page of dead letters, or one with its bytes. Errors: 400
with the parameter's name, 404, 503 while the store does not answer. Next: parsec.query.sql.dead_letters.
"""

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from parsec.api.parameters import DEAD_LETTER, DEAD_LETTERS, NO_TENANT
from parsec.core.clock import Clock
from parsec.core.errors import Rejected
from parsec.ports.store import StoreReader
from parsec.query.sql.dead_letters import DeadLetterPageRequest, dead_letter_page, find_dead_letter
from parsec.query.timerange import timerange
from parsec.web.parameters import opened_cursor, parameters, sealed_cursor, tenant_of
from parsec.web.query_executor import QueryExecutor
from parsec.web.responses import JsonResponse


class DeadLetterRoutes:
    """A list, and one dead letter."""

    def __init__(self, store: StoreReader, executor: QueryExecutor, clock: Clock) -> None:
        self._store = store
        self._executor = executor
        self._clock = clock

    def routes(self) -> list[Route]:
        return [
            Route("/deadletters", self.list),
            Route("/deadletters/{log_id}/{partition}/{offset}", self.show),
        ]

    async def list(self, request: Request) -> Response:
        """A page, the newest first; without `from`, of all that are kept."""
        asked = parameters(request, DEAD_LETTERS)
        question = DeadLetterPageRequest(
            tenant_of(request, asked.tenant, NO_TENANT),
            timerange("0" if asked.start is None else asked.start, asked.end, self._clock),
            asked.limit,
            asked.reason or "",
            opened_cursor(request, asked.cursor),
        )
        page = await self._executor.run(
            request, question.tenant, lambda limits: dead_letter_page(self._store, question, limits)
        )
        return JsonResponse(msgspec.structs.replace(page, cursor=sealed_cursor(request, page.cursor)))

    async def show(self, request: Request) -> Response:
        """One dead letter with its bytes; 404 also for one of another tenant."""
        asked = parameters(request, DEAD_LETTER)
        tenant, place = tenant_of(request, asked.tenant, NO_TENANT), (asked.log_id, asked.partition, asked.offset)
        found = await self._executor.run(
            request, tenant, lambda limits: find_dead_letter(self._store, tenant, *place, limits)
        )
        if found is None:
            raise Rejected("not_found", "This tenant has no dead letter at this position.", status=404)
        return JsonResponse(found)
