"""GET /admin/audit: the ledger, recounted.

In: nothing. Out: per partition what the ledger says, what the store holds, and the difference. Errors: 503 while the
store does not answer. Next: parsec.query.audit.
"""

from collections.abc import Callable, Iterable

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from parsec.api.audit import Audit
from parsec.api.parameters import AUDIT
from parsec.core.clock import Clock
from parsec.ports.broker import Progress
from parsec.ports.store import QueryLimits, StoreReader
from parsec.query.audit import audit, today
from parsec.telemetry import Telemetry
from parsec.web.parameters import parameters
from parsec.web.query_executor import QueryExecutor
from parsec.web.responses import JsonResponse

_WHO = "/admin"
"""Asks in turn with other questions, under a name that no tenant can have."""


class AdminRoutes:
    """For whoever runs Parsec. `progress`: where each partition stands now."""

    def __init__(
        self,
        store: StoreReader,
        progress: Callable[[], Iterable[Progress]],
        asker: QueryExecutor,
        telemetry: Telemetry,
        clock: Clock,
    ) -> None:
        self._store = store
        self._progress = progress
        self._asker = asker
        self._telemetry = telemetry
        self._clock = clock

    def routes(self) -> list[Route]:
        return [Route("/admin/audit", self.audit)]

    async def audit(self, request: Request) -> Response:
        """Counts the store's rows and dead letters by position; takes about a second for each ten million."""
        parameters(request, AUDIT)
        progress, day = list(self._progress()), today(self._clock)

        def recount(limits: QueryLimits) -> Audit:
            # It reads all there is, by design.
            return audit(self._store, progress, day, msgspec.structs.replace(limits, max_rows_read=0, max_bytes_read=0))

        found = await self._asker.ask(request, _WHO, recount)
        for each in found.partitions:
            self._telemetry.audit_difference.labels(str(each.partition)).set(each.difference)
        return JsonResponse(found)
