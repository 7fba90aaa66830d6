"""What all sides of a process share while it is put together, and where they add what runs.

In: loaded settings. Out: parts in order of start, checks of health, routes. Next: parsec.wiring.processor.
"""

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path

from parsec.adapters.redis.link import RedisAddress
from parsec.core.clock import SystemClock, SystemRandom
from parsec.core.lifecycle import Lifecycle
from parsec.keys.keyring import Keyring
from parsec.loading import Loaded, host_and_port
from parsec.service import LoopTurn, Part, ThreadPart, Ticker
from parsec.settings import Settings
from parsec.telemetry import Telemetry
from parsec.web.http1.tls import Tls
from parsec.web.routes.health import Check, Health
from parsec.wiring.log import Loop


class Assembly:
    """One process that is being put together. `fail` stops it.

    Raises ParsecError when keys or certificates cannot be read: before anything is opened.
    """

    def __init__(self, loaded: Loaded, life: Lifecycle, fail: Callable[[], None]) -> None:
        self.loaded = loaded
        self.settings = loaded.settings
        self.fail = fail
        self.clock = SystemClock()
        self.random = SystemRandom()
        self.telemetry = Telemetry()
        self.ring = Keyring(self.settings.keys_path, self.clock)
        self.tls = _tls(self.settings)
        self.turn = LoopTurn(asyncio.get_running_loop())
        self.parts: list[Part] = []
        self.checks: dict[str, Callable[[], Check]] = {}
        self.health = Health(life, self.checks, self.clock)
        self.routes = self.health.routes()

    def thread(self, loop: Loop) -> ThreadPart:
        """A loop of its own until it is told to stop."""
        stop = threading.Event()
        return ThreadPart(loop.name, lambda: loop.run(stop), lambda _: stop.set(), self.fail, self.clock)

    def ticker(self, name: str, interval_s: float, tick: Callable[[], None]) -> Ticker:
        """Something quick on the event loop, again and again."""
        return Ticker(name, interval_s, tick, self.fail)

    def redis(self) -> RedisAddress:
        """Where Redis is, if it is anywhere."""
        settings = self.settings
        return RedisAddress(
            *host_and_port(settings.redis_addr),
            settings.redis_username,
            settings.redis_password,
            settings.redis_tls,
            settings.redis_db,
        )


def _tls(settings: Settings) -> Tls | None:
    return Tls(Path(settings.tls_certificate), Path(settings.tls_key)) if settings.tls_certificate else None
