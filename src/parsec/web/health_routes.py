"""GET /health, /livez, /readyz: judged by progress, not by existence.

In: named checks. Out: /health tells all of them; /readyz says whether to send traffic here; /livez whether to restart.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from parsec.core.clock import Clock
from parsec.core.life import Life
from parsec.keys.caller import Caller
from parsec.web.json_answer import JsonAnswer

Status = Literal["healthy", "degraded", "unhealthy"]


class Check(msgspec.Struct, frozen=True, omit_defaults=True):
    """The state of one part. `alive` False: only a restart can help."""

    status: Status
    why: str = ""
    alive: bool = True
    details: Mapping[str, Any] = {}


class HealthAnswer(msgspec.Struct, frozen=True):
    """`checks`: each part with its `status`, `why` unless it is healthy, and more. Neither they nor `phase` without
    the key of an admin, where there are keys."""

    status: Status
    timestamp: str
    phase: str | msgspec.UnsetType = msgspec.UNSET
    checks: dict[str, dict[str, Any]] | msgspec.UnsetType = msgspec.UNSET


class Alive(msgspec.Struct, frozen=True):
    """`why`: the parts beyond help."""

    alive: bool
    why: dict[str, str] | msgspec.UnsetType = msgspec.UNSET


class Ready(msgspec.Struct, frozen=True):
    """`why`: the parts that are not ready; `life`: the process itself starts or stops."""

    ready: bool
    why: dict[str, str] | msgspec.UnsetType = msgspec.UNSET


class Health:
    """The checks of this process, asked anew at each call; none of them blocks."""

    def __init__(self, life: Life, checks: Mapping[str, Callable[[], Check]], clock: Clock) -> None:
        self._life = life
        self._checks = checks
        self._clock = clock

    def routes(self) -> list[Route]:
        return [Route("/health", self.health), Route("/livez", self.livez), Route("/readyz", self.readyz)]

    async def health(self, request: Request) -> Response:
        """503 when unhealthy; whoever may see figures is told why."""
        checks = {name: check() for name, check in self._checks.items()}
        status = _worst(checks)
        trusted = _trusted(request)
        body = HealthAnswer(
            status,
            datetime.fromtimestamp(self._clock.time_ns() / 1e9, UTC).isoformat().replace("+00:00", "Z"),
            self._life.phase if trusted else msgspec.UNSET,
            {name: {"status": c.status, **({"why": c.why} if c.why else {}), **c.details} for name, c in checks.items()}
            if trusted
            else msgspec.UNSET,
        )
        return JsonAnswer(body, 503 if status == "unhealthy" else 200)

    async def livez(self, request: Request) -> Response:
        """503 when a part is beyond help, so that a supervisor restarts the process."""
        dead = {name: check.why for name, check in self._asked() if not check.alive}
        return JsonAnswer(Alive(not dead, dead if _trusted(request) else msgspec.UNSET), 503 if dead else 200)

    async def readyz(self, request: Request) -> Response:
        """503 while starting, stopping, or when a part is unhealthy."""
        why = self.not_ready()
        return JsonAnswer(Ready(not why, why if _trusted(request) else msgspec.UNSET), 503 if why else 200)

    def not_ready(self) -> dict[str, str]:
        """Why requests should not be sent here; empty: they should."""
        why = {name: check.why for name, check in self._asked() if check.status == "unhealthy"}
        if self._life.phase != "ready":
            why["life"] = f"The process is {self._life.phase}."
        return why

    def _asked(self) -> list[tuple[str, Check]]:
        return [(name, check()) for name, check in self._checks.items()]


def _trusted(request: Request) -> bool:
    """Reasons may name files and addresses: for operators only."""
    caller: Caller = request.scope["caller"]
    return caller.may("admin")


def _worst(checks: Mapping[str, Check]) -> Status:
    found = {check.status for check in checks.values()}
    return "unhealthy" if "unhealthy" in found else "degraded" if "degraded" in found else "healthy"
