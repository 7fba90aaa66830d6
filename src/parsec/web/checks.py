"""The checks behind /health: one function per part, none of which blocks.

In: the parts. Out: a `Check` each. Next: parsec.web.health_routes.
"""

from collections.abc import Callable
from typing import Protocol

from parsec.ingest.channel import Channel
from parsec.web.health_routes import Check

BEYOND_HELP = 10
"""A stage that hangs this many times longer than the limit will not come back by itself."""


class Stage(Protocol):
    """A thread that works on something. Progress decides whether to send traffic, silence whether to restart."""

    def stalled_for(self) -> float:
        """Seconds for which it has had work and made no progress; 0 when idle or moving."""

    def silent_for(self) -> float:
        """Seconds for which it has been inside one call; a thread that tries again and again is not silent."""


def channel_check(channel: Channel) -> Callable[[], Check]:
    """Degraded while full: requests are answered 429."""

    def check() -> Check:
        details = {"buffered": channel.buffered_events, "capacity": channel.max_events}
        if channel.has_room():
            return Check("healthy", details=details)
        return Check("degraded", "The channel is full; requests are answered 429.", details=details)

    return check


def log_check(refuses: Callable[[], str | None]) -> Callable[[], Check]:
    """Unhealthy while nothing can be made durable."""

    def check() -> Check:
        why = refuses()
        return Check("healthy") if why is None else Check("unhealthy", why)

    return check


def bound_check(why: Callable[[], str | None]) -> Callable[[], Check]:
    """Degraded while the store is larger than it may be and nothing can be done about it here."""

    def check() -> Check:
        reason = why()
        return Check("healthy") if reason is None else Check("degraded", reason)

    return check


class Contact(Protocol):
    """Whether Kafka answers, why not, and how many seconds ago it acknowledged something; None: nothing yet.

    `needs_help`: only a person can change what `why` says.
    """

    @property
    def connected(self) -> bool: ...
    @property
    def why(self) -> str | None: ...
    @property
    def last_ack_age_s(self) -> float | None: ...
    @property
    def needs_help(self) -> bool: ...


def kafka_check(
    contact: Callable[[], Contact], refuses: Callable[[], str | None], spooled: Callable[[], int]
) -> Callable[[], Check]:
    """Degraded while events go to the spool or wait in it; unhealthy while nothing can be made durable, or while
    somebody has to do something before Kafka takes events again, for a spool only bridges what passes."""

    def check() -> Check:
        now, waiting = contact(), spooled()
        age_s = now.last_ack_age_s
        details = {
            "connected": now.connected,
            "last_ack_age_s": None if age_s is None else round(age_s, 3),
            "spooled": waiting,
        }
        refusal = refuses()
        if refusal is not None:
            return Check("unhealthy", refusal, details=details)
        if now.needs_help:
            return Check("unhealthy", f"{now.why}. Until then events are kept on this machine.", details=details)
        if now.why is not None:
            return Check("degraded", f"Events are kept on this machine: {now.why}.", details=details)
        if waiting:
            return Check("degraded", "Events kept on this machine are on their way to Kafka.", details=details)
        return Check("healthy", details=details)

    return check


def stage_check(name: str, stage: Stage, stall_after_s: float) -> Callable[[], Check]:
    """Unhealthy when the stage has work and makes no progress."""

    def check() -> Check:
        stalled_s = stage.stalled_for()
        if stalled_s <= stall_after_s:
            return Check("healthy")
        why = f"The {name} has work and has made no progress for {stalled_s:.0f} s."
        return Check("unhealthy", why, alive=stage.silent_for() <= BEYOND_HELP * stall_after_s)

    return check
