"""Compare the store with the ledger, have the difference stored again, and report it until it is gone.

In: a function that recounts the store (parsec.query.audit). Out: gaps for parsec.process.repair; `status` for /health,
answers and metrics; log lines. Errors: none; a store that does not answer is asked again a minute later.
Next: parsec.process.repair.

It runs at the start, when `recheck` is called, when a partition is assigned, and each hour, on a thread of its own.
"""

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec
import structlog

from parsec.api.repair import RepairPhase, RepairStatus, StoreGap
from parsec.core.clock import Clock
from parsec.core.errors import ParsecError
from parsec.ports.broker import Progress
from parsec.ports.store import LedgerCheckpoint
from parsec.process.repair import Repair
from parsec.telemetry import Telemetry

_log = structlog.get_logger(__name__)

TICK_S = 0.2
REPAIR_REPORT_S = 10.0
COMPARE_RETRY_S = 60.0
COMPARE_EVERY_S = 3600.0
COMPARE_REST = 100
"""A comparison that takes long is repeated less often: it takes a hundredth of the time at most."""
MOST_LOGGED = 5
NOT_COMPARED = "Events may be missing: since its start Parsec has not yet compared the store with the ledger."

Compare = Callable[[Iterable[Progress], bool], Sequence[StoreGap]]
"""As parsec.query.store_gaps.store_gaps, of a progress and `also_unknown`."""
Checkpoints = Callable[[Progress, int], Sequence[LedgerCheckpoint]]
"""As parsec.query.store_gaps.first_checkpoints, of a progress and the first offset that the log has."""


class StoreWatch(msgspec.Struct, frozen=True):
    """What the comparison depends on. `compare` recounts the store, `checkpoints` makes those of a ledger anew;
    `progress`: of the partitions of this process; `damage_changes` grows whenever parts of the store were detached.

    `ready`: False while rows of the store are on the move. `wanted` is set when something of the store may have gone.
    `check_parts` reads all parts of the store and detaches damaged ones, until its event is set. `keep_log`:
    LogReader.keep_committed. `on_whole` is called when nothing is missing, with the `damage_changes` from before.
    """

    compare: Compare
    checkpoints: Checkpoints
    progress: Callable[[], Mapping[int, Progress]]
    damage_changes: Callable[[], int]
    ready: Callable[[], bool]
    wanted: threading.Event
    check_parts: Callable[[threading.Event], None]
    keep_log: Callable[[bool], None]
    on_whole: Callable[[int], None]


class StoreComparison:
    """`run` is the body of a thread; `recheck`, `status`, `why` and `missing` are for any."""

    def __init__(self, watch: StoreWatch, repair: Repair, telemetry: Telemetry, clock: Clock) -> None:
        self._watch = watch
        watch.keep_log(True)
        self._repair = repair
        self._telemetry = telemetry
        self._clock = clock
        self._due_at = float("inf")
        self._not_before = float("-inf")
        self._compared: set[tuple[str, int]] = set()
        self._phase: RepairPhase = "waiting"
        self._gaps: Sequence[StoreGap] = ()
        self._lost: Sequence[StoreGap] = ()
        self._began_at = 0.0
        self._check_parts = self._is_wanted = self._unknown_is_lost = False
        self._problem: str | None = None

    def recheck(self, *, check_parts: bool = False) -> RepairStatus:
        """Compares soon, since something of the store may be gone; with `check_parts` after all parts were read."""
        self._check_parts = self._check_parts or check_parts
        self._not_before = float("-inf")
        self._watch.wanted.set()
        return self.status()

    def status(self) -> RepairStatus:
        """What is missing now."""
        missing, again = sum(gap.missing for gap in self._gaps), 0
        if self._phase in ("storing", "idle"):
            again = self._repair.stored_again
        took_s = max(self._clock.monotonic() - self._began_at, 0.1)
        rate = int(again / took_s)
        waits = self._phase == "idle" and self._watch.wanted.is_set()
        phase = "waiting" if waits else self._phase
        problem = self._problem or self._repair.problem
        return RepairStatus(phase, missing, again, rate, self._gaps, self._lost, problem)

    def why(self) -> str | None:
        """The reason to be degraded."""
        now = self.status()
        if now.gaps:
            some_may_have_expired = not all(gap.first_checkpoint for gap in now.gaps)
            count = f"{'Up to ' if some_may_have_expired else ''}{now.missing:,}"
            return (
                f"{count} events that were stored are missing from the store. They are being stored again from the "
                f"log: {now.stored_again:,} so far, {now.per_second:,} a second."
                f"{f' It waits: {now.problem}' if now.problem else ''}"
            )
        if now.lost:
            return (
                f"{now.lost_events:,} events are lost from the store, and the log no longer has them. Restore a backup "
                "of the store, or wait until they would have expired: see `parsec audit`."
            )
        return None

    def missing(self, start: str) -> list[str]:
        """What answers lack of the events received since `start`, in UTC: a sentence each for what is being stored
        again, and for what the log no longer has. One says that the first comparison is not done."""
        now = self.status()
        if not (now.gaps or now.lost) and self._is_uncompared():
            return [NOT_COMPARED]
        what = ((now.gaps, "They are being stored again."), (now.lost, "The log no longer has them."))
        found = [([gap for gap in gaps if _since(gap, start)], sentence) for gaps, sentence in what]
        return [_sentence(gaps, sentence) for gaps, sentence in found if gaps]

    def run(self, stop: threading.Event) -> None:
        """Returns soon after `stop`."""
        while not stop.wait(TICK_S):
            if self._is_due() and self._watch.ready():
                self._phase = "comparing"
                self._is_wanted = self._watch.wanted.is_set()
                self._watch.wanted.clear()
                began = self._clock.monotonic()
                try:
                    self._turn(stop)
                    self._problem = None
                    self._due_at = began + max(COMPARE_EVERY_S, COMPARE_REST * (self._clock.monotonic() - began))
                except ParsecError as error:
                    if stop.is_set():  # which cancels the statement that was running
                        return
                    if self._is_wanted:
                        self._watch.wanted.set()
                    self._phase, self._problem = "waiting", str(error)
                    self._due_at = self._not_before = self._clock.monotonic() + COMPARE_RETRY_S
                    _log.warning("The store could not be compared with the ledger. This will be retried.",
                                 why=str(error))  # fmt: skip

    def _is_uncompared(self) -> bool:
        return any(
            each.committed > each.start and (each.log_id, number) not in self._compared
            for number, each in self._watch.progress().items()
        )

    def _is_due(self) -> bool:
        owned = {(each.log_id, number) for number, each in self._watch.progress().items()}
        is_new, now = not owned <= self._compared, self._clock.monotonic()
        is_wanted = is_new or self._watch.wanted.is_set() or now >= self._due_at
        return bool(owned) and is_wanted and now >= self._not_before

    def _turn(self, stop: threading.Event) -> None:
        """Compares, has what is missing stored again, and compares again. Raises ParsecError."""
        self._watch.keep_log(True)
        known, asked = self._lost, self._check_parts
        if asked:
            self._check_parts = False  # first: it may be asked for again meanwhile
            try:
                self._watch.check_parts(stop)
            except ParsecError:
                self._check_parts = True
                raise
            self._watch.wanted.clear()  # what it detached is compared now
        self._repair.stored_again = 0
        owned, changes = self._watch.progress(), self._watch.damage_changes()
        gaps = self._watch.compare(owned.values(), self._is_wanted)
        if asked or {*map(_identity, gaps)} - {*map(_identity, known)}:
            self._report(gaps)
            self._store_again(gaps, stop)
            self._make_checkpoints(gaps, stop)
            if stop.is_set():
                return
            if self._is_wanted:
                self._unknown_is_lost = any(self._is_unknown(gap) for gap in gaps)
            changes = self._watch.damage_changes()
            gaps = self._watch.compare(self._watch.progress().values(), False)
        self._lost = tuple(gap for gap in gaps if gap.missing)
        self._compared = {(each.log_id, number) for number, each in owned.items()}
        self._gaps = ()  # last: no answer in between must look complete
        self._phase = "idle"
        self._watch.keep_log(False)
        self._report_end(known)
        if not (self._lost or self._unknown_is_lost):
            self._watch.on_whole(changes)

    def _is_unknown(self, gap: StoreGap) -> bool:
        """Whether some of a gap can neither be recounted nor be found in the log."""
        owned = self._watch.progress().get(gap.partition)
        cannot_be_recounted = gap.first_checkpoint and not gap.missing
        return cannot_be_recounted and owned is not None and self._repair.first_held(owned) > gap.first

    def _store_again(self, gaps: Sequence[StoreGap], stop: threading.Event) -> None:
        self._began_at = said_at = self._clock.monotonic()
        self._gaps, self._lost, self._phase = gaps, (), "storing"
        self._repair.request(gaps)
        while not self._repair.idle.wait(TICK_S) and not stop.is_set():
            if self._clock.monotonic() - said_at >= REPAIR_REPORT_S:
                said_at = self._clock.monotonic()
                now = self.status()
                _log.info("Events are being stored again from the log.", missing=now.missing,
                          stored_again=now.stored_again, per_second=now.per_second)  # fmt: skip

    def _make_checkpoints(self, gaps: Sequence[StoreGap], stop: threading.Event) -> None:
        """Last, so that a store that was repaired in part is not taken for whole."""
        lacking = {(gap.log_id, gap.partition) for gap in gaps if not gap.first_checkpoint}
        for each in self._watch.progress().values():
            if (each.log_id, each.partition) in lacking and not stop.is_set():
                self._repair.save(self._watch.checkpoints(each, self._repair.first_held(each)))
                while not self._repair.idle.wait(TICK_S) and not stop.is_set():
                    pass

    def _report(self, gaps: Sequence[StoreGap]) -> None:
        total = sum(gap.missing for gap in gaps)
        self._telemetry.store_missing.set(total)
        if total:
            _log.error("Events that were stored are missing from the store. What the log still has of them is stored "
                       "again.", events=total, where=[_place(gap) for gap in gaps[:MOST_LOGGED]])  # fmt: skip

    def _report_end(self, known: Sequence[StoreGap]) -> None:
        lost, again = sum(gap.missing for gap in self._lost), self._repair.stored_again
        self._telemetry.store_missing.set(lost)
        if lost and {*map(_identity, self._lost)} != {*map(_identity, known)}:
            _log.error("Events are lost from the store, and the log no longer has them.", events=lost,
                       stored_again=again, where=[_place(gap) for gap in self._lost[:MOST_LOGGED]])  # fmt: skip
        elif again and not lost:
            _log.info("All that was missing from the store was stored again from the log.", events=again)


def _place(gap: StoreGap) -> str:
    received = f", received {gap.received_from or '?'} to {gap.received_until}" if gap.received_until else ""
    return f"partition {gap.partition}, offsets {gap.first} to {gap.end - 1}: {gap.missing}{received}"


def _identity(gap: StoreGap) -> tuple[object, ...]:
    """The end of the last gap grows with the ledger."""
    return gap.log_id, gap.partition, gap.first, gap.rows, gap.dead_letters


def _sentence(gaps: Sequence[StoreGap], what: str) -> str:
    """Without counts or offsets, which are those of all tenants."""
    begins, ends = [gap.received_from for gap in gaps], [gap.received_until for gap in gaps]
    begin = None if None in begins else min(filter(None, begins))
    end = None if None in ends else max(filter(None, ends))
    if begin and end:
        when = f" received between {begin} and {end}"
    else:
        when = f" received since {begin}" if begin else f" received before {end}" if end else ""
    return f"Events{when} are missing from the store. {what}"


def _since(gap: StoreGap, start: str) -> bool:
    return gap.missing > 0 and (gap.received_until is None or gap.received_until >= start)
