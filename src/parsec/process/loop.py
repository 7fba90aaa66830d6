"""The processor: poll, reserve, claim, insert, commit. The only file that knows this order (design section 7).

In: slices of the durable log (parsec.ports.broker). Out: rows and dead letters in the store, commits with exact counts.
Errors: a Retryable step is given again after a growing wait, while polling for other partitions goes on; Fatal and
whatever is unexpected end the thread, and the reservation left behind is finished by the next start.
Next: parsec.process.range_commit.

Invariants, cited by tests
 1. One thread: poll, reserve, insert and commit never overlap, and a partition lost in a poll gets no further call.
 2. Per partition at most one batch is in hand, and no more is taken while its batch is in trouble: memory is bounded.
 3. A batch of an idle partition is inserted at once, of a busy one when full or `linger_s` after the insert before it.
"""

from collections.abc import Callable, Sequence

import msgspec
import structlog

from parsec.core.clock import Clock, Random
from parsec.core.errors import Fatal, Poison, Retryable
from parsec.ports.broker import LogReader, Progress
from parsec.ports.dedup import Position
from parsec.ports.store import Row, StoreWriter
from parsec.process.batching import InsertLimits
from parsec.process.bisect import Bisect
from parsec.process.claims import Claims
from parsec.process.partitions import Assignments, PartitionState
from parsec.process.range_commit import RangeCommit
from parsec.process.slicing import MakeRows, let_go, rows_of
from parsec.process.steps import (
    Claim,
    Commit,
    FindLanded,
    Insert,
    InsertDead,
    Release,
    Reserve,
    SaveCheckpoint,
    Settle,
    Step,
)
from parsec.telemetry import FATES, Telemetry

_log = structlog.get_logger(__name__)

POLL_WAIT_S = 0.2
LAG_EVERY_S = 1.0
HOLDER_WAIT_S = 60.0
"""How long events wait for one with their id that another owner may be about to store: a reassignment takes less."""


class Options(msgspec.Struct, frozen=True):
    """How rows are made, how large inserts are and how long they wait to fill, and the longest wait between attempts.

    `letters_days`: how long the store keeps dead letters.
    `breathe` is called after each millisecond or so of work, and gives other threads their turn. `stored` is told the
    rows of each range as it is committed, and returns at once.
    """

    make_rows: MakeRows
    limits: InsertLimits
    max_backoff_s: float = 5.0
    letters_days: int = 30
    breathe: Callable[[], None] = lambda: None
    stored: Callable[[Sequence[Row]], None] = lambda _: None


class Processor:
    """One thread, one reader, one store. `step` does one turn; `run` is the thread's body."""

    def __init__(
        self,
        reader: LogReader,
        store: StoreWriter,
        claims: Claims,
        options: Options,
        telemetry: Telemetry,
        clock: Clock,
        random: Random,
    ) -> None:
        self._reader = reader
        self._store = store
        self._claims = claims
        self._options = options
        self._telemetry = telemetry
        self._clock = clock
        self._random = random
        self._refusals = Bisect(clock)
        self._intake = Assignments(reader, options.limits, options.letters_days, options.max_backoff_s, clock, random)
        self._turned_at = clock.monotonic()
        self._lag_at = float("-inf")
        self._moved_at = clock.monotonic()
        self._stopping = False
        self._finish_until: float | None = None

    def run(self) -> None:
        """Turns until `stop`. Raises Fatal, or whatever was unexpected, for parsec.service to log and to stop."""
        while not self._finished():
            self.step(POLL_WAIT_S)

    def stop(self, finish_backlog_until: float | None = None) -> None:
        """From any thread: `run` returns after the step in hand, or when all is committed, or at this monotonic time.

        What is left stays in the log, perhaps with an open reservation: no error, the next start goes on there.
        """
        self._finish_until = finish_backlog_until
        self._stopping = True

    def stalled_for(self) -> float:
        """Seconds for which some partition has had work and made no progress, or the thread has not turned at all."""
        return max(0.0, self._clock.monotonic() - self._moved_at)

    def progress(self) -> dict[int, Progress]:
        """Per owned partition where it started, what is committed and how it came out. From any thread."""
        return self._intake.progress

    def silent_for(self) -> float:
        """Seconds since the thread began its last turn: it hangs in a call when this grows."""
        return max(0.0, self._clock.monotonic() - self._turned_at)

    def positions(self) -> dict[int, int]:
        """Per owned partition the committed offset: all before it can be searched. From any thread."""
        return {number: progress.committed for number, progress in self._intake.progress.items()}

    def step(self, max_wait_s: float) -> None:
        """One turn: what the broker has to say, then the work of each partition whose time has come."""
        self._turned_at = self._clock.monotonic()
        self._intake.poll(max_wait_s, stopping=self._stopping)
        for owned in self._intake.partitions():
            now = self._clock.monotonic()
            if owned.passage is None and self._intake.ready_in(owned, now, stopping=self._stopping) <= 0:
                self._begin(owned, now)
            if owned.passage is not None and now >= owned.not_before:
                self._advance(owned, owned.passage)
        now = self._clock.monotonic()
        self._moved_at = min((o.moved_at for o in self._intake.partitions() if o.has_work), default=now)
        if now - self._lag_at >= LAG_EVERY_S:
            self._lag_at = now
            self._telemetry.lag.set(self._intake.lag())

    def _begin(self, owned: PartitionState, now: float) -> None:
        if owned.seen_below is None:
            try:
                self._restore(owned)
                progress = owned.partition.progress
                owned.promised = self._store.expiry_bound(progress.log_id, progress.partition, progress.committed)
                owned.seen_below = self._seen_below(progress)
            except Retryable as error:
                self._hold_back(owned, error)
                _log.warning("The store does not say what it has and is asked again.", why=str(error))
                return
        batch = owned.partition.cut(owned.seen_below)
        owned.cut_at = now
        rows, letters = rows_of(batch.slices, self._options.make_rows, self._options.breathe)
        landed = owned.promised if batch.doubtful else None
        mark = owned.marks.before(owned.partition.progress, rows, self._clock.time_ns(), landed)
        owned.passage = RangeCommit(batch, rows, letters, self._refusals, mark)

    def _seen_below(self, progress: Progress) -> int:
        """Ranges that begin below this offset may have landed before; the committed offset when none has."""
        highest = self._store.highest_offset(progress.log_id, progress.partition, progress.committed)
        if highest is None:
            return progress.committed
        if progress.reserved is None or highest > progress.reserved.last:
            _log.warning("The store has more than was committed; what it has is not stored again.",
                         committed=progress.committed, highest=highest)  # fmt: skip
        return highest + 1

    def _restore(self, owned: PartitionState) -> None:
        """Claims what the store has, so that repeats of events from before this start are known."""
        began, ids = self._clock.monotonic(), 0
        for claimed in self._claims.restore(owned.partition.number):
            ids += claimed
            self._turned_at = self._clock.monotonic()
            if not owned.failures:  # the same claims again, after a failure, are no progress
                owned.moved_at = self._turned_at
            self._options.breathe()
        if ids:
            _log.info("Claims were made again from the store.", partition=owned.partition.number, ids=ids,
                      seconds=round(self._clock.monotonic() - began, 1))  # fmt: skip

    def _advance(self, owned: PartitionState, passage: RangeCommit) -> None:
        """All steps of a batch in one go; once something went wrong, one step a turn with a poll in between."""
        while owned.passage is not None:
            step = passage.step()
            try:
                self._perform(owned, passage, step)
            except Retryable as error:
                return self._retry_later(owned, passage, step, error)
            except Poison as error:
                return self._split(owned, passage, step, error)
            # What follows from an answer follows at once: an answer that waits a turn may be wrong by then.
            if owned.paused and not isinstance(step, FindLanded | Claim):
                return None
        return None

    def _perform(self, owned: PartitionState, passage: RangeCommit, step: Step) -> None:
        match step:
            case SaveCheckpoint():
                self._store.save_checkpoint(step.mark)
                passage.done()
            case Reserve():
                self._reader.reserve(step.range, owned.partition.epoch, step.attempt)
                passage.done()
            case FindLanded():
                found = self._store.stored_offsets(step.block.range)
                passage.landed(found, self._store.dead_letter_offsets(step.block.range) if found else set())
            case Claim():
                passage.claimed(self._claims.claim(step.block.rows, step.resent))
            case InsertDead():
                self._store.insert_dead_letters(step.letters)
                passage.done()
                owned.moved(self._clock.monotonic())
            case Release():
                self._claims.release(step.rows)
                passage.done()
            case Settle():
                self._settle(owned, passage, step)
            case Insert():
                self._insert(step)
                passage.done()
                owned.moved(self._clock.monotonic())
            case Commit():
                self._commit(owned, passage, step)
                owned.moved(self._clock.monotonic())

    def _settle(self, owned: PartitionState, passage: RangeCommit, step: Settle) -> None:
        now = self._clock.monotonic()
        since = owned.waits_since if owned.waits_since is not None else now
        progress = owned.partition.progress
        committed = Position(progress.log_id, progress.partition, progress.committed)
        give_up = now - since >= HOLDER_WAIT_S
        if passage.settled(self._claims.settle(step.held, step.own, committed, give_up=give_up)):
            owned.waits_since = None
            owned.moved(self._clock.monotonic())
        else:
            owned.waits_since = since
            raise Retryable(f"{len(step.held)} events have ids that others hold and have not stored yet", after_s=0.2)

    def _insert(self, step: Insert) -> None:
        started = self._clock.monotonic()
        self._store.insert(step.block.rows, step.block.token)
        self._telemetry.inserts.inc()
        self._telemetry.insert_latency.observe(self._clock.monotonic() - started)
        self._telemetry.insert_rows.observe(len(step.block.rows))

    def _commit(self, owned: PartitionState, passage: RangeCommit, step: Commit) -> None:
        partition, counts = owned.partition, step.counts
        started = self._clock.monotonic()
        next_offset = step.range.last + 1
        taken = self._reader.commit(partition.number, partition.epoch, next_offset, partition.counts_with(counts))
        self._telemetry.commit_latency.observe(self._clock.monotonic() - started)
        partition.commit(step.range, counts)
        self._intake.publish_progress()
        self._options.stored(passage.stored())
        owned.passage = owned.waits_since = None
        if owned.paused:
            owned.paused = False
            self._reader.resume(partition.number)
        if taken:  # else it is counted by who has the partition now
            self._count(passage, step)
        let_go(passage.take_rows(), self._options.breathe)

    def _count(self, passage: RangeCommit, step: Commit) -> None:
        for fate in FATES:
            if count := getattr(step.counts, fate):
                self._telemetry.processed.labels(fate).inc(count)
        for (tenant, fate), count in passage.fates().items():
            self._telemetry.processed_of(tenant, fate, count)
        if step.counts.lost:
            _log.error("Events were lost in the log before they could be stored.", range=step.range.token,
                       events=step.counts.lost)  # fmt: skip

    def _split(self, owned: PartitionState, passage: RangeCommit, step: Step, error: Poison) -> None:
        if not isinstance(step, Insert):
            what = f"{type(step).__name__} of {passage.range.token}"
            raise Fatal(f"the store refuses what is no row ({what}): {error}") from error
        self._pause(owned)
        if not passage.refused(str(error)):
            self._hold_back(owned, Retryable(str(error)))
            _log.error("The store refuses rows of several tenants and takes none; the partition waits until it does.",
                       partition=owned.partition.number, why=str(error))  # fmt: skip
            return
        owned.moved(self._clock.monotonic())
        _log.warning("The store refuses a block; it is split to find the records at fault.",
                     range=step.block.range.token, why=str(error))  # fmt: skip

    def _retry_later(self, owned: PartitionState, passage: RangeCommit, step: Step, error: Retryable) -> None:
        if isinstance(step, Insert):
            passage.in_doubt()
        if isinstance(step, Insert | InsertDead):
            self._telemetry.insert_failures.inc()
        self._hold_back(owned, error)
        self._pause(owned)
        _log.warning("A step of the processor failed and is tried again.", step=type(step).__name__,
                     range=passage.range.token, why=str(error))  # fmt: skip

    def _hold_back(self, owned: PartitionState, error: Retryable) -> None:
        owned.hold_back(error, self._options.max_backoff_s, self._random, self._clock.monotonic())

    def _pause(self, owned: PartitionState) -> None:
        if not owned.paused:
            owned.paused = True
            self._reader.pause(owned.partition.number)

    def _finished(self) -> bool:
        if not self._stopping:
            return False
        until = self._finish_until
        return until is None or self._clock.monotonic() >= until or self._intake.lag() == 0
