"""GET /health, /livez, /readyz: the state of each part, judged by its progress.

In: named checks. Out: parsec.api.status; /health shows every check, /readyz says whether to send requests here, /livez
whether to restart the process. Errors: none; no check blocks.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Protocol

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from parsec.api.status import HealthAnswer, HealthStatus, LivenessAnswer, ReadinessAnswer
from parsec.core.clock import Clock
from parsec.core.lifecycle import Lifecycle
from parsec.ingest.channel import Channel
from parsec.keys.key import Caller
from parsec.ports.broker import KafkaHealth
from parsec.web.responses import JsonResponse


class Check(msgspec.Struct, frozen=True, omit_defaults=True):
    """The state of one part. `alive` False: only a restart can help."""

    status: HealthStatus
    why: str = ""
    alive: bool = True
    details: Mapping[str, Any] = {}


class Health:
    """The checks of this process, made for each request."""

    def __init__(self, life: Lifecycle, checks: Mapping[str, Callable[[], Check]], clock: Clock) -> None:
        self._life = life
        self._checks = checks
        self._clock = clock

    def routes(self) -> list[Route]:
        return [Route("/health", self.health), Route("/livez", self.livez), Route("/readyz", self.readyz)]

    async def health(self, request: Request) -> Response:
        """503 when unhealthy. The reasons are for admin keys."""
        checks = self._results()
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
        return JsonResponse(body, 503 if status == "unhealthy" else 200)

    async def livez(self, request: Request) -> Response:
        """503 when only a restart can help a part."""
        dead = {name: check.why for name, check in self._results().items() if not check.alive}
        return JsonResponse(
            LivenessAnswer(not dead, dead if _trusted(request) else msgspec.UNSET), 503 if dead else 200
        )

    async def readyz(self, request: Request) -> Response:
        """503 while starting, stopping, or when a part is unhealthy."""
        why = self.not_ready()
        return JsonResponse(ReadinessAnswer(not why, why if _trusted(request) else msgspec.UNSET), 503 if why else 200)

    def not_ready(self) -> dict[str, str]:
        """The reasons not to send requests here; empty when there are none."""
        why = {name: check.why for name, check in self._results().items() if check.status == "unhealthy"}
        if self._life.phase != "ready":
            why["life"] = f"The process is {self._life.phase}."
        return why

    def _results(self) -> dict[str, Check]:
        return {name: check() for name, check in self._checks.items()}


def _trusted(request: Request) -> bool:
    """Reasons may name files and hosts, so only an admin key sees them."""
    caller: Caller = request.scope["caller"]
    return caller.may("admin")


def _worst(checks: Mapping[str, Check]) -> HealthStatus:
    found = {check.status for check in checks.values()}
    return "unhealthy" if "unhealthy" in found else "degraded" if "degraded" in found else "healthy"


STALL_AFTER_S = 30.0
"""A stage without progress for so long is not ready: no insert, publish or query of a sound process takes longer."""
BEYOND_HELP = 10
"""A stage that is silent for this many times the limit does not recover without a restart."""


class Stage(Protocol):
    """A thread with work. Its progress decides about readiness, its silence about a restart."""

    def stalled_for(self) -> float:
        """Seconds with work but without progress; 0 when idle or in progress."""

    def silent_for(self) -> float:
        """Seconds inside one call; a thread that retries is not silent."""


def channel_check(channel: Channel) -> Callable[[], Check]:
    """Degraded while the channel is full."""

    def check() -> Check:
        details = {"buffered": channel.buffered_events, "capacity": channel.max_events}
        if channel.has_room():
            return Check("healthy", details=details)
        return Check("degraded", "The channel is full; requests get 429.", details=details)

    return check


def reason_check(why: Callable[[], str | None], status: HealthStatus) -> Callable[[], Check]:
    """`status` while there is a reason."""

    def check() -> Check:
        reason = why()
        return Check("healthy") if reason is None else Check(status, reason)

    return check


PUBLISH_DOUBT_S = 10.0
"""How long a failed publish makes a process without a spool unready. Then requests try again, because nothing else
notices that Kafka acknowledges again."""


def kafka_check(
    health: Callable[[], KafkaHealth], refuses: Callable[[], str | None], spooled: Callable[[], int],
    spool_refuses: Callable[[], str | None] | None,
) -> Callable[[], Check]:  # fmt: skip
    """Degraded while events go to the spool, wait in it, or could not go there; unhealthy while nothing can be made
    durable, or while an operator must act before Kafka accepts events again: the spool only bridges what passes by
    itself. `spool_refuses` None: there is no spool."""

    def check() -> Check:
        now, waiting = health(), spooled()
        age_s = now.last_ack_age_s
        details = {
            "connected": now.connected,
            "last_ack_age_s": None if age_s is None else round(age_s, 3),
            "spooled": waiting,
        }
        no_spool = "there is no spool (PARSEC_SPOOL)" if spool_refuses is None else spool_refuses()
        status, why = _kafka_status(now, refuses(), waiting, no_spool, spool_is_off=spool_refuses is None)
        return Check(status, why, details=details)

    return check


def _kafka_status(
    now: KafkaHealth, refusal: str | None, waiting: int, no_spool: str | None, *, spool_is_off: bool
) -> tuple[HealthStatus, str]:
    if refusal is not None:
        return "unhealthy", refusal
    if now.why is not None and no_spool is not None:
        recent = not now.connected or now.needs_help or (now.last_failure_age_s or 0.0) < PUBLISH_DOUBT_S
        return "unhealthy" if recent else "degraded", f"Events are refused: {now.why}, and {no_spool}."
    if now.needs_help:
        return "unhealthy", f"{now.why}. Until then events are kept on this machine."
    if now.why is not None:
        return "degraded", f"Events are kept on this machine: {now.why}."
    if no_spool is not None and not spool_is_off:
        return "degraded", f"Events would be refused if Kafka became unavailable: {no_spool}."
    if waiting:
        return "degraded", "Events kept on this machine are being sent to Kafka."
    return "healthy", ""


def stage_check(name: str, stage: Stage, stall_after_s: float = STALL_AFTER_S) -> Callable[[], Check]:
    """Unhealthy when the stage has work and makes no progress."""

    def check() -> Check:
        stalled_s = stage.stalled_for()
        if stalled_s <= stall_after_s:
            return Check("healthy")
        why = f"The {name} has work and has made no progress for {stalled_s:.0f} s."
        return Check("unhealthy", why, alive=stage.silent_for() <= BEYOND_HELP * stall_after_s)

    return check
