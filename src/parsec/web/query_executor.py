"""Queries run on threads of their own, so that a slow one never blocks the event loop.

In: a query as a function of its limits, and the request it belongs to. Out: its answer. Errors: those of the query;
Rejected(too_many_questions); ClientDisconnect when the client has gone. Next: parsec.ports.store.

Invariants, cited by tests
 1. A query is also cancelled in the store when its client disconnects.
 2. A tenant's slot is free again when its query has ended, not when the client has gone.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar

import msgspec
import structlog
from starlette.requests import ClientDisconnect, Request

from parsec.core.errors import ParsecError, Rejected
from parsec.ports.store import Cancellation, QueryLimits
from parsec.telemetry import Telemetry

_log = structlog.get_logger(__name__)

T = TypeVar("T")

CANCEL_THREADS = 2


class QueryExecutor:
    """Shared by all routes that query the store. A limit per tenant leaves threads to the other tenants."""

    def __init__(
        self, executor: Executor, limits: QueryLimits, telemetry: Telemetry, per_tenant: int = 2, in_total: int = 64
    ) -> None:
        self._executor = executor
        self._cancellers = ThreadPoolExecutor(CANCEL_THREADS, "parsec-cancel")
        self._limits = limits
        self._telemetry = telemetry
        self._per_tenant = per_tenant
        self._in_total = in_total
        self._running: Counter[str] = Counter()

    async def run(self, request: Request, tenant: str, query: Callable[[QueryLimits], T]) -> T:
        """The answer. Raises Rejected(too_many_questions) at once when no slot is free."""
        loop = asyncio.get_running_loop()
        cancellation = Cancellation()
        limits = msgspec.structs.replace(self._limits, cancellation=cancellation)
        job = self._submit(loop, tenant, query, limits)
        answer, gone = asyncio.wrap_future(job), asyncio.ensure_future(_disconnected(request))
        request.scope["given_up_with_client"] = True
        try:
            await asyncio.wait((answer, gone), return_when=asyncio.FIRST_COMPLETED)
            if not answer.done():
                raise ClientDisconnect
            return answer.result()
        finally:
            gone.cancel()
            if not job.done() and not job.cancel():
                self._telemetry.queries_cancelled.inc()
                self._cancellers.submit(_cancel, cancellation)
                answer.cancel()

    def close(self) -> None:
        """After the last query."""
        self._executor.shutdown(cancel_futures=True)
        self._cancellers.shutdown(cancel_futures=True)

    def _submit(
        self, loop: asyncio.AbstractEventLoop, tenant: str, query: Callable[[QueryLimits], T], limits: QueryLimits
    ) -> Future[T]:
        for count, most, owner in (
            (self._running[tenant], self._per_tenant, "this tenant"),
            (self._running.total(), self._in_total, "this process"),
        ):
            if count >= most:
                message = f"{most} queries of {owner} are running already. Try again when one has ended."
                raise Rejected("too_many_questions", message, status=503)

        def ended(_: object) -> None:
            with suppress(RuntimeError):  # the loop has ended, and its slots with it
                loop.call_soon_threadsafe(self._free_slot, tenant)

        self._running[tenant] += 1
        job = self._executor.submit(query, limits)
        job.add_done_callback(ended)
        return job

    def _free_slot(self, tenant: str) -> None:
        self._running[tenant] -= 1
        if not self._running[tenant]:
            del self._running[tenant]


async def _disconnected(request: Request) -> None:
    """Returns when the client has gone."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _cancel(cancellation: Cancellation) -> None:
    try:
        cancellation.cancel()
    except ParsecError as error:
        _log.warning("A query without a client could not be cancelled; its deadline ends it.", why=str(error))
