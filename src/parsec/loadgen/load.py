"""One run of a plan over its connections.

In: a Plan. Out: its Result. Errors: ValueError when the URL is no address, OSError when Parsec does not listen or
connections break again and again, Rejected as in parsec.loadgen.plan. Next: parsec.loadgen.plan.
"""

import asyncio
from collections.abc import Callable
from time import perf_counter

from parsec.loadgen.connection import LoadConnection
from parsec.loadgen.plan import Plan, Result, Schedule


class Load:
    """`result` grows while it runs."""

    def __init__(self, plan: Plan, clock: Callable[[], float] = perf_counter) -> None:
        """Raises ValueError when the plan's url is no address."""
        self.schedule = Schedule(plan, clock)
        self._connections: list[LoadConnection] = []

    @property
    def result(self) -> Result:
        return self.schedule.result

    async def run(self) -> Result:
        """Sends until the plan is fulfilled. Raises OSError, Rejected; `result` then has all that came before."""
        self.schedule.begin()
        self._connections = [LoadConnection(self.schedule) for _ in range(self.schedule.plan.connections)]
        running: list[asyncio.Task[None]] = []
        try:
            for connection in self._connections:
                await connection.open()
                running.append(asyncio.create_task(connection.run()))
            await asyncio.gather(*running)
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
            for connection in self._connections:
                connection.close()
            self.schedule.end()
        return self.result

    def abort_overdue(self) -> None:
        """Call it now and then: replaces connections with an overdue answer and counts their requests unanswered."""
        for connection in self._connections:
            connection.abort_overdue()
