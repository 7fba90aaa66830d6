"""What an answer may lack, in sentences, so that a partial one never looks whole.

In: a tenant, the beginning of its question's range, up to when everything is stored. Out: a sentence for each thing
that may be missing; none when the answer is whole. Errors: those of the store. Next: parsec.process.watermark.

By time of receipt, as nobody can tell the timestamps of what is not there: an event that was received before a range
begins lies in it only if its clock was ahead.
"""

from collections.abc import Callable

from parsec.core.clock import Clock
from parsec.core.errors import Fatal
from parsec.core.timestamp import SECOND, text_of
from parsec.ports.store import QueryLimits, StoreReader
from parsec.process.watermark import Watermark

LATE_S = 30.0
"""So far behind the store is only while something is wrong, or much waits."""
LOOK_S = 60.0
"""So often the store is asked for damaged parts."""
REMEMBERED_S, MOST_REMEMBERED = 5.0, 10_000

_LETTERS = (
    "SELECT count(), uniqExactIf((log_id, partition, offset), time >= fromUnixTimestamp64Nano({start:Int64}, 'UTC'))"
    " FROM dead_letters WHERE tenant_id = {tenant:String}"
)
_DAMAGED = (
    "SELECT partition_id, count() FROM system.detached_parts WHERE database = currentDatabase() AND table = 'events'"
    " AND startsWith(reason, 'broken') GROUP BY partition_id ORDER BY partition_id"
)


class CompletenessCheck:
    """`spooled`: events that this process has taken in and Kafka does not have. For any number of threads."""

    def __init__(self, store: StoreReader, completeness: Watermark, spooled: Callable[[], int], clock: Clock) -> None:
        self._store = store
        self._completeness = completeness
        self._spooled = spooled
        self._clock = clock
        self._none_until: dict[str, float] = {}
        self._damaged: list[tuple[str, int]] = []
        self._looked_at = float("-inf")

    def until_ns(self) -> int:
        """Everything durable before this moment is stored. Asked for before the question."""
        return self._completeness.until_ns()

    def of(self, tenant: str, start_ns: int, until_ns: int, limits: QueryLimits) -> list[str]:
        """On the thread that asks the store."""
        told: list[str] = []
        if self._clock.time_ns() - until_ns > LATE_S * SECOND:
            told.append(f"What was accepted since {text_of(until_ns)} may be missing: it is not stored yet.")
        if self._spooled():
            told.append("Events that are kept on this machine are missing: Kafka does not have them yet.")
        lost_until_ns = self._completeness.lost_until_ns()
        if start_ns < lost_until_ns:
            told.append(f"Events accepted before {text_of(lost_until_ns)} were lost in the log; nobody can tell whose.")
        if letters := self._dead_letters(tenant, start_ns, limits):
            told.append(f"{letters} records became dead letters since {text_of(start_ns)}: GET /deadletters.")
        told += [
            f"{parts} damaged parts of the store, received on {day}, were set aside."
            for day, parts in self._damaged_parts(limits)
            if not day.isdigit() or day >= text_of(start_ns)[:10].replace("-", "")
        ]
        return told

    def _dead_letters(self, tenant: str, start_ns: int, limits: QueryLimits) -> int:
        """Most tenants have none, which is remembered for a moment."""
        now = self._clock.monotonic()
        if now < self._none_until.get(tenant, now):
            return 0
        ((letters, since),) = self._store.select(
            _LETTERS, {"tenant": tenant, "start": start_ns}, limits, tuple[int, int]
        )
        if len(self._none_until) >= MOST_REMEMBERED:
            self._none_until.clear()
        if not letters:
            self._none_until[tenant] = now + REMEMBERED_S
        return since

    def _damaged_parts(self, limits: QueryLimits) -> list[tuple[str, int]]:
        now = self._clock.monotonic()
        if now - self._looked_at >= LOOK_S:
            self._looked_at = now
            try:
                self._damaged = self._store.select(_DAMAGED, {}, limits, tuple[str, int])
            except Fatal:  # a server that does not let us look
                self._damaged = []
        return self._damaged
