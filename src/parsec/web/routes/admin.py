"""GET /admin/audit: recount the ledger. GET and POST /admin/repair: what the store lacks, and have it stored again.

In: nothing. Out: for each partition the ledger's counts, the store's, and the difference; the status of the repair.
Errors: 503 while the store does not answer. Next: parsec.query.audit, parsec.process.comparison.
"""

from collections.abc import Callable, Iterable, Sequence

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from parsec.api.audit import Audit
from parsec.api.parameters import AUDIT, REPAIR_STATUS
from parsec.api.status import SpoolLedger
from parsec.core.clock import Clock
from parsec.ports.broker import Progress
from parsec.ports.store import QueryLimits, StoreReader
from parsec.process.comparison import StoreComparison
from parsec.query.audit import audit, today
from parsec.telemetry import Telemetry
from parsec.web.parameters import parse_parameters
from parsec.web.query_executor import QueryExecutor
from parsec.web.responses import JsonResponse, problem

_SLOT = "/admin"
"""Takes a slot among the queries of the tenants, under a name that no tenant can have."""


class AdminRoutes:
    """For the operator of Parsec. `progress`: the position of each partition now. `comparison`: None where this process
    reads no partition."""

    def __init__(
        self, store: StoreReader, progress: Callable[[], Iterable[Progress]], executor: QueryExecutor,
        telemetry: Telemetry, clock: Clock, comparison: StoreComparison | None,
        lost_in_spools: Callable[[], Sequence[SpoolLedger]],
    ) -> None:  # fmt: skip
        self._store = store
        self._progress = progress
        self._executor = executor
        self._telemetry = telemetry
        self._clock = clock
        self._comparison = comparison
        self._lost_in_spools = lost_in_spools

    def routes(self) -> list[Route]:
        return [
            Route("/admin/audit", self.audit),
            Route("/admin/repair", self.repair, methods=["GET", "HEAD", "POST"]),
        ]

    async def repair(self, request: Request) -> Response:
        """The status; POST begins a repair, which goes on after the answer."""
        parse_parameters(request, REPAIR_STATUS)
        if self._comparison is None:
            return problem(404, "not_found", "This process stores no events: ask one with the role `process`.")
        if request.method == "POST":
            return JsonResponse(self._comparison.recheck(check_parts=True))
        return JsonResponse(self._comparison.status())

    async def audit(self, request: Request) -> Response:
        """Counts the store's rows and dead letters by position: about a second for ten million of them."""
        parse_parameters(request, AUDIT)
        progress, day = list(self._progress()), today(self._clock)

        def recount(limits: QueryLimits) -> Audit:
            # It must read everything.
            return audit(self._store, progress, day, msgspec.structs.replace(limits, max_rows_read=0, max_bytes_read=0))

        found = await self._executor.run(request, _SLOT, recount)
        for each in found.partitions:
            self._telemetry.audit_difference.labels(str(each.partition)).set(each.difference)
        return JsonResponse(msgspec.structs.replace(found, spools=self._lost_in_spools()))
