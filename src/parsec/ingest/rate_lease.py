"""Lease this process its part of shared rates, ahead of their use, so that no event waits for it.

In: the budgets that parsec.ingest.rate_limits is short of. Out: tokens for them, or `lease_failed`. Errors: none.
Next: parsec.ports.rate_leases.
"""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor

import structlog

from parsec.core.clock import Clock, SystemClock
from parsec.ingest.rate_limits import TenantLimits
from parsec.ports.rate_leases import Leases

MIN_PAUSE_S = 0.02
LEASE_REST = 4
"""Pause between two leases, as a multiple of the time of the last one: many tenants cannot keep the server busy."""

_log = structlog.get_logger(__name__)


class RateLease:
    """A part of the service. The event loop owns the limits; a thread waits for the leases."""

    name = "rate-leases"

    def __init__(
        self,
        limits: TenantLimits,
        leases: Leases,
        fail: Callable[[], None],
        clock: Clock = SystemClock(),  # noqa: B008 (it has no state)
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._limits = limits
        self._leases = leases
        self._fail = fail
        self._clock = clock
        self._sleep = sleep
        self._thread = ThreadPoolExecutor(1, "parsec-leases")
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def stop(self, _: float) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        self._thread.shutdown(wait=False, cancel_futures=True)
        self._leases.close()

    async def step(self) -> None:
        """One round of leases, if any budget is short."""
        wants = self._limits.wants()
        if not wants:
            return
        leased = await asyncio.get_running_loop().run_in_executor(self._thread, self._leases.lease, wants)
        if leased is None:
            self._limits.lease_failed()
        else:
            self._limits.leased(leased)

    async def _run(self) -> None:
        try:
            while True:
                began = self._clock.monotonic()
                await self.step()
                await self._sleep(max(MIN_PAUSE_S, LEASE_REST * (self._clock.monotonic() - began)))
        except Exception:  # noqa: BLE001 (the top of a part: log, stop the service)
            _log.exception("A part failed; the service stops.", part=self.name)
            self._fail()
