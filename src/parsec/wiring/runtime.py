"""The few things that all sides of a process share: clocks, metrics, its phase, and how parts run and fail.

In: the running event loop. Out: threads and timers as parts of the service. Next: parsec.wiring.log.
"""

import asyncio
import threading
from collections.abc import Callable, Mapping
from typing import TypeAlias

import msgspec

from parsec.adapters.redis.link import RedisAddress
from parsec.core.clock import Clock, Random, SystemClock, SystemRandom
from parsec.core.lifecycle import Lifecycle
from parsec.loading import host_and_port
from parsec.service import LoopTurn, ThreadPart, Ticker
from parsec.settings import Settings
from parsec.telemetry import Telemetry
from parsec.web.routes.health import Check
from parsec.wiring.process_limits import ProcessLimits

Checks: TypeAlias = Mapping[str, Callable[[], Check]]
"""Health checks by the name that /health shows."""


REDIS_PREFIX = "parsec:"
"""Of all keys in Redis. REDIS_DB separates two installations on one server."""


class Runtime(msgspec.Struct, frozen=True):
    """One per process. `fail` stops the process with an error; `yield_gil` gives the event loop its turn."""

    life: Lifecycle
    fail: Callable[[], None]
    clock: Clock
    random: Random
    telemetry: Telemetry
    yield_gil: Callable[[], None]
    limits: ProcessLimits

    def thread(self, name: str, run: Callable[[threading.Event], None]) -> ThreadPart:
        """A thread; `run` returns soon after the event is set."""
        stop = threading.Event()
        return ThreadPart(name, lambda: run(stop), lambda _: stop.set(), self.fail, self.clock)

    def ticker(self, name: str, interval_s: float, tick: Callable[[], None]) -> Ticker:
        """A quick function that the event loop calls every `interval_s` seconds."""
        return Ticker(name, interval_s, tick, self.fail)


def new_runtime(life: Lifecycle, fail: Callable[[], None], limits: ProcessLimits) -> Runtime:
    """Real clocks and fresh metrics, on the running event loop."""
    turn = LoopTurn(asyncio.get_running_loop())
    return Runtime(life, fail, SystemClock(), SystemRandom(), Telemetry(), turn, limits)


def redis_address(settings: Settings) -> RedisAddress:
    """Where Redis is; only with REDIS_ADDR."""
    return RedisAddress(
        *host_and_port(settings.redis_addr), settings.redis_username, settings.redis_password, settings.redis_tls,
        settings.redis_db,
    )  # fmt: skip
