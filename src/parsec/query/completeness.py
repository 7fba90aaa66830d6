"""What an answer may lack, in sentences, so that a partial answer never looks complete.

In: a tenant, the start of its time range. Out: a sentence for each kind of events that may be missing; none when the
answer is complete. Errors: those of the store. Next: parsec.query.sql.dead_letters.

By time of receipt, as the timestamps of missing events are unknown: an event received before a range begins is in it
only if its sender's clock was ahead.
"""

from collections.abc import Callable, Iterable

from parsec.api.status import SpoolLedger
from parsec.core.clock import Clock
from parsec.core.errors import Fatal
from parsec.core.timestamp import SECOND, text_of
from parsec.ports.store import QueryLimits, StoreReader
from parsec.query.sql.dead_letters import count_dead_letters
from parsec.query.sql.ledger import damaged_parts, former_days

LATE_S = 30.0
"""The store lags this far only in trouble or behind a large backlog."""
DAMAGE_EVERY_S = 60.0
FORMER_EVERY_S = 5.0
NO_LETTERS_S, MOST_REMEMBERED = 5.0, 10_000
_TO_DAYS, _TO_SECONDS = 10, 19
"""Characters of a time: fractions are written only where there are some."""


class CompletenessCheck:
    """From any thread. All that was durable before `until_ns` is stored; read it before the store is asked.

    `lost_until_ns`: events accepted before it were lost in the log. `spooled`: events that this process has accepted
    and Kafka does not have. `damage_changes` grows whenever parts of the store were detached or stored again. `absent`:
    what the store has lost of the events received since a time, in sentences.
    """

    def __init__(
        self, store: StoreReader, until_ns: Callable[[], int], lost_until_ns: Callable[[], int],
        spooled: Callable[[], int], clock: Clock, damage_changes: Callable[[], int] = lambda: 0,
        absent: Callable[[str], list[str]] = lambda _: [],
    ) -> None:  # fmt: skip
        self._store = store
        self.until_ns = until_ns
        self._lost_until_ns = lost_until_ns
        self._spooled = spooled
        self._clock = clock
        self.damage_changes = damage_changes
        self._absent = absent
        self._no_letters_until: dict[str, float] = {}
        self._damaged: list[tuple[str, int]] = []
        self._damage_checked_at = float("-inf")
        self._changes_checked = -1
        self._former_days = ["unknown"]
        self._former_checked_at = float("-inf")

    def missing(self, tenant: str, start_ns: int, until_ns: int, limits: QueryLimits) -> list[str]:
        """Asks the store, so not on the event loop."""
        missing: list[str] = []
        if self._clock.time_ns() - until_ns > LATE_S * SECOND:
            missing.append(f"Events accepted since {text_of(until_ns)} may be missing: they are not stored yet.")
        if self._spooled():
            missing.append("Events in this machine's spool are missing: Kafka does not have them yet.")
        lost_until_ns = self._lost_until_ns()
        if start_ns < lost_until_ns:
            missing.append(
                f"Events accepted before {text_of(lost_until_ns)} were lost in the log; their tenants are unknown."
            )
        if letters := self._dead_letters(tenant, start_ns, limits):
            what = "1 record became a dead letter" if letters == 1 else f"{letters} records became dead letters"
            missing.append(f"{what} since {text_of(start_ns)}: see GET /deadletters.")
        first_day = text_of(start_ns)[:_TO_DAYS]
        for day, parts in self._damaged_parts(limits):
            if len(day) != _TO_DAYS or day >= first_day:
                what = "1 damaged part of the store is" if parts == 1 else f"{parts} damaged parts of the store are"
                missing.append(f"Events received on {day} are missing: {what} detached.")
        if former := self._former_since(first_day, limits):
            days = f"on {former[0]}" if len(former) == 1 else f"from {former[0]} to {former[-1]}"
            missing.append(
                f"Events received {days} may be missing: an earlier version stored them, and they are being rewritten."
                " /health shows the progress."
            )
        return [*missing, *self._absent(text_of(start_ns))]

    def _former_since(self, day: str, limits: QueryLimits) -> list[str]:
        """Days whose events an upgrade has not rewritten yet; once there are none, there will be none."""
        if self._former_days and self._clock.monotonic() - self._former_checked_at >= FORMER_EVERY_S:
            try:
                self._former_days = former_days(self._store, limits)
            except Fatal:  # a server that does not let us read system.parts
                self._former_days = []
            self._former_checked_at = self._clock.monotonic()
        return [each for each in self._former_days if each >= day]

    def _dead_letters(self, tenant: str, start_ns: int, limits: QueryLimits) -> int:
        """Most tenants have none, which is remembered for a moment."""
        now = self._clock.monotonic()
        if now < self._no_letters_until.get(tenant, now):
            return 0
        rows, letters = count_dead_letters(self._store, tenant, start_ns, limits)
        if not rows:
            if len(self._no_letters_until) >= MOST_REMEMBERED:
                self._no_letters_until.clear()
            self._no_letters_until[tenant] = now + NO_LETTERS_S
        return letters

    def _damaged_parts(self, limits: QueryLimits) -> list[tuple[str, int]]:
        """Their number by day. What was found is remembered last: another thread must not take what was known before
        for it."""
        now, changes = self._clock.monotonic(), self.damage_changes()
        if now - self._damage_checked_at >= DAMAGE_EVERY_S or self._changes_checked != changes:
            try:
                self._damaged = damaged_parts(self._store, limits)
            except Fatal:  # a server that does not let us read system.detached_parts
                self._damaged = []
            self._damage_checked_at, self._changes_checked = now, changes
        return self._damaged


def missing_of_spools(spools: Iterable[SpoolLedger], since: str) -> list[str]:
    """What spools have lost of the events received since a time, a sentence for each of them."""
    missing = []
    for each in spools:
        later = [span for span in each.where if span.found_at[:_TO_SECONDS] >= since[:_TO_SECONDS]]
        if later:
            # Earlier gaps than those that are listed have no time of their own.
            lost = each.lost if len(later) == len(each.where) else sum(span.end - span.first for span in later)
            missing.append(
                f"{lost} events accepted before {later[-1].found_at} were lost in this machine's {each.spool} before "
                "Kafka had them; their tenants are unknown."
            )
    return missing
