"""Questions on threads of their own, so that a slow one never holds up the event loop.

In: a question as a function. Out: its answer. Errors: those of the question; Retryable when too many are asked at once.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from typing import TypeVar

from parsec.core.errors import Retryable

T = TypeVar("T")


class Asker:
    """Shared by all routes that ask the store: few questions at once per tenant, so that others find a thread."""

    def __init__(self, executor: Executor, per_tenant: int = 2, in_all: int = 64) -> None:
        self._executor = executor
        self._per_tenant = per_tenant
        self._in_all = in_all
        self._asking: Counter[str] = Counter()

    async def ask(self, tenant: str, question: Callable[[], T]) -> T:
        """The answer. Raises Retryable at once when there is no turn."""
        with self._turn(tenant):
            return await asyncio.get_running_loop().run_in_executor(self._executor, question)

    @contextmanager
    def _turn(self, tenant: str) -> Iterator[None]:
        if self._asking[tenant] >= self._per_tenant or self._asking.total() >= self._in_all:
            raise Retryable("Too many questions at once; ask again.")
        self._asking[tenant] += 1
        try:
            yield
        finally:
            self._asking[tenant] -= 1
            if not self._asking[tenant]:
                del self._asking[tenant]
