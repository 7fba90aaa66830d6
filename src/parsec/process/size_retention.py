"""The bound on the store's bytes: while it is above, the oldest day of receipt goes (PARSEC_STORE_MAX_BYTES).

In: the sizes of the store's days, once a minute. Out: days dropped, counted and logged; why the bound cannot be kept.
Errors: none; what the store answers instead of dropping is told in /health, and tried again. Next: parsec.ports.store.

1. Each drop follows a question of its own, so that of several processes on one store none drops a day for bytes that
   another one has just made room for.
2. Today, and what a fast clock dated later, never goes: it is what is being stored.
3. What went is counted by what is left: also where an answer was lost.
"""

import threading

import msgspec
import structlog

from parsec.core.clock import Clock
from parsec.core.errors import ParsecError
from parsec.core.timestamp import DAY
from parsec.ports.store import DayPartitions, DaySize
from parsec.telemetry import Telemetry

_log = structlog.get_logger(__name__)

LOOK_EVERY_S = 60.0
REASON = "max_bytes"


class SizeRetention:
    """Used by one thread; `why` by any."""

    def __init__(self, days: DayPartitions, max_bytes: int, telemetry: Telemetry, clock: Clock) -> None:
        self._days = days
        self._max_bytes = max_bytes
        self._telemetry = telemetry
        self._clock = clock
        self._dropping: DaySize | None = None
        self._why: str | None = None
        telemetry.store_max_bytes.set(max_bytes)

    def keep(self, stop: threading.Event) -> None:
        """Until `stop`, in a thread of its own: looks at once, and then each minute."""
        try:
            self.look(stop)
            while not stop.wait(LOOK_EVERY_S):
                self.look(stop)
        finally:
            self._days.close()

    def why(self) -> str | None:
        """Why the store is above its bound and stays so; None while it is not. From any thread."""
        return self._why

    def look(self, stop: threading.Event | None = None) -> None:
        """Drops days until the rest is within the bound, or nothing is left that may go."""
        try:
            while stop is None or not stop.is_set():
                oldest = self._above()
                if oldest is None:
                    return
                self._dropping = oldest
                self._days.drop(oldest)
        except ParsecError as error:
            self._why = f"The store may be above PARSEC_STORE_MAX_BYTES: {error}"
            _log.warning("The store's bound cannot be looked after, and is tried again.", why=str(error))

    def _above(self) -> DaySize | None:
        """The day that has to go now."""
        days = self._days.sizes()
        size = sum(each.bytes for each in days)
        self._telemetry.store_bytes.set(size)
        gone = self._count(days)
        if size <= self._max_bytes:
            self._why = None
            return None
        oldest, today = days[0], self._clock.time_ns() // DAY
        if oldest.day >= today:
            why = (
                f"The store has {size} bytes, more than PARSEC_STORE_MAX_BYTES ({self._max_bytes}), and nothing in it "
                "is older than today, which never goes: give it more, or take less in (limits per tenant)."
            )
            if self._why is None:
                _log.error(why)
            self._why = why
            return None
        return oldest if gone else None

    def _count(self, days: list[DaySize]) -> bool:
        """What has become of the day that was dropped last. False: nothing of it went, so another try has time."""
        was, self._dropping = self._dropping, None
        if was is None:
            return True
        left = next((each for each in days if each.day == was.day), DaySize(was.day, 0, 0, 0))
        gone = DaySize(
            was.day,
            max(was.events - left.events, 0),
            max(was.dead_letters - left.dead_letters, 0),
            max(was.bytes - left.bytes, 0),
        )
        if not (gone.events or gone.dead_letters):
            return False
        self._telemetry.store_dropped.labels(REASON).inc(gone.events)
        self._telemetry.store_dropped_letters.labels(REASON).inc(gone.dead_letters)
        self._telemetry.store_dropped_bytes.labels(REASON).inc(gone.bytes)
        told = msgspec.structs.asdict(gone) | {"day": gone.name}
        _log.warning("The store was above PARSEC_STORE_MAX_BYTES; its oldest day is gone.", **told)
        return True
