"""The checks behind /health: one function per part, none of which blocks.

In: the parts. Out: a `Check` each. Next: parsec.web.health_routes.
"""

from collections.abc import Callable
from typing import Protocol

from parsec.ingest.channel import Channel
from parsec.ports.broker import LogWriter
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


def log_check(writer: LogWriter) -> Callable[[], Check]:
    """Unhealthy while nothing can be made durable."""

    def check() -> Check:
        why = writer.refuses()
        return Check("healthy") if why is None else Check("unhealthy", why)

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
