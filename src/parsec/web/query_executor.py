"""Questions on threads of their own, so that a slow one never holds up the event loop.

In: a question as a function of its limits, and the request it came with. Out: its answer. Errors: those of the
question; Rejected(too_many_questions); ClientDisconnect when nobody waits for the answer any more.

Invariants, cited by tests
 1. A question whose client has left is stopped in the store, too.
 2. A tenant's turn ends when the question has ended, not when its client has left.
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
    """Shared by all routes that ask the store: few questions at once per tenant, so that others find a thread."""

    def __init__(
        self, executor: Executor, limits: QueryLimits, telemetry: Telemetry, per_tenant: int = 2, in_all: int = 64
    ) -> None:
        self._executor = executor
        self._cancellers = ThreadPoolExecutor(CANCEL_THREADS, "parsec-cancel")
        self._limits = limits
        self._telemetry = telemetry
        self._per_tenant = per_tenant
        self._in_all = in_all
        self._asking: Counter[str] = Counter()

    async def ask(self, request: Request, tenant: str, question: Callable[[QueryLimits], T]) -> T:
        """The answer. Raises Rejected(too_many_questions) at once when there is no turn."""
        loop = asyncio.get_running_loop()
        cancellation = Cancellation()
        job = self._begin(
            loop, tenant, lambda: question(msgspec.structs.replace(self._limits, cancellation=cancellation))
        )
        answer, left = asyncio.wrap_future(job), asyncio.ensure_future(_left(request))
        request.scope["given_up_with_client"] = True
        try:
            await asyncio.wait((answer, left), return_when=asyncio.FIRST_COMPLETED)
            if not answer.done():
                raise ClientDisconnect
            return answer.result()
        finally:
            left.cancel()
            if not job.done() and not job.cancel():
                self._telemetry.queries_cancelled.inc()
                self._cancellers.submit(_cancel, cancellation)
                answer.cancel()

    def close(self) -> None:
        """Once nobody asks any more."""
        self._executor.shutdown(cancel_futures=True)
        self._cancellers.shutdown(cancel_futures=True)

    def _begin(self, loop: asyncio.AbstractEventLoop, tenant: str, question: Callable[[], T]) -> Future[T]:
        for count, most, whose in (
            (self._asking[tenant], self._per_tenant, "this tenant"),
            (self._asking.total(), self._in_all, "this process"),
        ):
            if count >= most:
                message = f"{most} questions of {whose} are being answered already; ask again when one has ended."
                raise Rejected("too_many_questions", message, status=503)

        def ended(_: object) -> None:
            with suppress(RuntimeError):  # the loop has ended, and its turns with it
                loop.call_soon_threadsafe(self._end, tenant)

        self._asking[tenant] += 1
        job = self._executor.submit(question)
        job.add_done_callback(ended)
        return job

    def _end(self, tenant: str) -> None:
        self._asking[tenant] -= 1
        if not self._asking[tenant]:
            del self._asking[tenant]


async def _left(request: Request) -> None:
    """Returns when the client has gone."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _cancel(cancellation: Cancellation) -> None:
    try:
        cancellation.cancel()
    except ParsecError as error:
        _log.warning("A question that nobody waits for could not be stopped; its deadline will.", why=str(error))
