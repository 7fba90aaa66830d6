"""Size retention: while the store is larger than PARSEC_STORE_MAX_BYTES, its oldest day of receipt is dropped.

In: the sizes of the store's days, once a minute. Out: dropped days, counted and logged; the reason when none may go.
Errors: none; an error of the store appears in /health, and the next minute tries again. Next: parsec.ports.store.

1. The sizes are read again before each drop, so that of several processes with one store none drops a day after another
   one has already made room.
2. Today's events, and those that a fast clock dated later, are never dropped: they are being stored.
3. Dropped events are counted by what is left, so that a lost answer does not matter.
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

CHECK_EVERY_S = 60.0
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

    def run(self, stop: threading.Event) -> None:
        """The thread's body: checks at once, then every minute until `stop`."""
        try:
            self.check(stop)
            while not stop.wait(CHECK_EVERY_S):
                self.check(stop)
        finally:
            self._days.close()

    def why(self) -> str | None:
        """The reason why the store stays above its limit; None while it does not. From any thread."""
        return self._why

    def check(self, stop: threading.Event | None = None) -> None:
        """Drops the oldest days until the rest is within the limit, or only today is left."""
        try:
            while stop is None or not stop.is_set():
                oldest = self._day_to_drop()
                if oldest is None:
                    return
                self._dropping = oldest
                self._days.drop(oldest)
        except ParsecError as error:
            self._why = f"The store may be larger than PARSEC_STORE_MAX_BYTES: {error}"
            _log.warning("The size of the store could not be checked. This will be retried.", why=str(error))

    def _day_to_drop(self) -> DaySize | None:
        days = self._days.sizes()
        size = sum(each.bytes for each in days)
        self._telemetry.store_bytes.set(size)
        dropped = self._count_dropped(days)
        if size <= self._max_bytes:
            self._why = None
            return None
        oldest, today = days[0], self._clock.time_ns() // DAY
        if oldest.day >= today:
            why = (
                f"The store has {size} bytes, more than PARSEC_STORE_MAX_BYTES ({self._max_bytes}), all of today, "
                "which is never dropped. Raise PARSEC_STORE_MAX_BYTES, or limit what tenants send."
            )
            if self._why is None:
                _log.error(why)
            self._why = why
            return None
        return oldest if dropped else None

    def _count_dropped(self, days: list[DaySize]) -> bool:
        """Counts what has gone of the day dropped last. False: nothing, so that the next try may wait a minute."""
        before, self._dropping = self._dropping, None
        if before is None:
            return True
        left = next((each for each in days if each.day == before.day), DaySize(before.day, 0, 0, 0))
        gone = DaySize(
            before.day,
            max(before.events - left.events, 0),
            max(before.dead_letters - left.dead_letters, 0),
            max(before.bytes - left.bytes, 0),
        )
        if not (gone.events or gone.dead_letters):
            return False
        self._telemetry.store_dropped.labels(REASON).inc(gone.events)
        self._telemetry.store_dropped_letters.labels(REASON).inc(gone.dead_letters)
        self._telemetry.store_dropped_bytes.labels(REASON).inc(gone.bytes)
        fields = msgspec.structs.asdict(gone) | {"day": gone.name}
        _log.warning("The store was larger than PARSEC_STORE_MAX_BYTES. Its oldest day was dropped.", **fields)
        return True
