"""The processor: poll, reserve, claim, insert, commit. The only file that knows this order (docs/guarantees.md).

In: slices of the durable log (parsec.ports.broker). Out: rows and dead letters in the store, commits with exact counts.
Errors: a Retryable step is repeated after a growing wait, while other partitions are polled; Fatal and unexpected
errors end the thread, and the next start finishes the reservation left behind. Next: parsec.process.range_commit.

Invariants, cited by tests
 1. One thread: poll, reserve, insert and commit never overlap, and a partition lost in a poll gets no further call.
 2. At most one batch of a partition is in progress, and no more is taken while it fails: memory is bounded.
 3. A batch of an idle partition is inserted at once, of a busy one when full or `linger_s` after the insert before it.
"""

from collections.abc import Callable

import msgspec
import structlog

from parsec.core.clock import Clock, Random
from parsec.core.errors import Fatal, Poison, Retryable
from parsec.ports.broker import LogReader, Progress
from parsec.ports.dedup import Position
from parsec.ports.store import StoreWriter
from parsec.process.batching import InsertLimits, MakeRows, free_rows, rows_of
from parsec.process.bisect import Bisect
from parsec.process.claims import Claims
from parsec.process.partitions import Assignments, Partition
from parsec.process.range_commit import (
    Claim,
    Commit,
    FindLanded,
    Insert,
    InsertDeadLetters,
    RangeCommit,
    Release,
    Reserve,
    Resolve,
    SaveCheckpoint,
    Step,
)
from parsec.process.repair import Repair
from parsec.telemetry import FATES, Telemetry

_log = structlog.get_logger(__name__)

POLL_WAIT_S = 0.2
LAG_EVERY_S = 1.0
HOLDER_WAIT_S = 60.0
"""How long a row waits for another position that has claimed its id and has not landed. A reassignment takes less."""


class Options(msgspec.Struct, frozen=True):
    """`make_rows` makes rows of records; `limits` say how large inserts are and how long they wait to fill.

    `dead_letter_days`: how long the store keeps dead letters. `yield_gil` lets other threads run; called between parts
    of about a millisecond of work. `on_commit` is called after each commit and returns at once. `repair` stores lost
    events again, between two ranges.
    """

    make_rows: MakeRows
    limits: InsertLimits
    max_backoff_s: float = 5.0
    dead_letter_days: int = 30
    yield_gil: Callable[[], None] = lambda: None
    on_commit: Callable[[], None] = lambda: None
    repair: Repair | None = None


class Processor:
    """One thread, one reader, one store. `run` is the thread's body; `step` does one turn of it."""

    def __init__(
        self, reader: LogReader, store: StoreWriter, claims: Claims, options: Options, telemetry: Telemetry,
        clock: Clock, random: Random,
    ) -> None:  # fmt: skip
        self._reader = reader
        self._store = store
        self._claims = claims
        self._options = options
        self._telemetry = telemetry
        self._clock = clock
        self._random = random
        self._bisect = Bisect(clock)
        self._assignments = Assignments(
            reader, options.limits, options.dead_letter_days, options.max_backoff_s, clock, random
        )
        self._step_at = self._progress_at = clock.monotonic()
        self._lag_at = float("-inf")
        self._more_to_repair = False
        self._committed_since = True
        self._stopping = False
        self._finish_until: float | None = None

    def run(self) -> None:
        """Takes turns until `stop`. Raises Fatal and unexpected errors; parsec.service logs them and stops."""
        while not (self._stopping and self._finished()):
            self.step(POLL_WAIT_S)

    def stop(self, finish_backlog_until: float | None = None) -> None:
        """Ends `run` after the current step, or once all is committed, at the latest at this monotonic time.

        A rest stays in the log, perhaps with an open reservation, for the next start. Called from any thread.
        """
        self._finish_until = finish_backlog_until
        self._stopping = True

    def stalled_for(self) -> float:
        """Seconds during which some partition had work and made no progress, or the thread took no turn."""
        return max(0.0, self._clock.monotonic() - self._progress_at)

    def silent_for(self) -> float:
        """Seconds since the last turn began; grows while the thread hangs in a call."""
        return max(0.0, self._clock.monotonic() - self._step_at)

    def progress(self) -> dict[int, Progress]:
        """Start, committed offset and counts of each owned partition. From any thread."""
        return self._assignments.progress

    def positions(self) -> dict[int, int]:
        """The committed offset of each owned partition: all events below it are searchable. From any thread."""
        return {number: progress.committed for number, progress in self._assignments.progress.items()}

    def step(self, max_wait_s: float) -> None:
        """One turn: a poll, then the work of each partition that is due."""
        self._step_at = self._clock.monotonic()
        self._assignments.poll(self._step_at, 0.0 if self._more_to_repair else max_wait_s, stopping=self._stopping)
        due = self._assignments.due_in(self._clock.monotonic(), stopping=self._stopping)
        for partition in (self._assignments.owned[number] for number, wait_s in due.items() if wait_s <= 0):
            if partition.range_commit is None:
                self._begin(partition)
            if partition.range_commit is not None:
                self._advance(partition, partition.range_commit)
        self._repair()
        now = self._clock.monotonic()
        self._progress_at = min((s.progress_at for s in self._assignments.owned.values() if s.has_work), default=now)
        if now - self._lag_at >= LAG_EVERY_S:
            self._lag_at = now
            self._telemetry.lag.set(self._assignments.lag())

    def _repair(self) -> None:
        """Once after each commit or when no range is waiting, so that new events wait for one such turn at most."""
        repair = self._options.repair
        if repair is None or repair.idle.is_set() or self._stopping:
            self._more_to_repair = False
            return
        is_busy = any(partition.has_work for partition in self._assignments.owned.values())
        if self._committed_since or not is_busy:
            self._more_to_repair = repair.turn(self._assignments.progress.values())
            self._committed_since = not is_busy

    def _begin(self, partition: Partition) -> None:
        """Makes a batch of the records taken; asks the store what it has of the partition before the first one."""
        if partition.landed_below is None:
            try:
                self._restore_claims(partition)
                progress = partition.progress
                partition.expiry_bound = self._store.expiry_bound(
                    progress.log_id, progress.partition, progress.committed
                )
                partition.landed_below = self._landed_below(progress)
            except Retryable as error:
                self._back_off(partition, error)
                _log.warning("The state of the store could not be queried. This will be retried.", why=str(error))
                return
        batch = partition.cut(partition.landed_below)
        partition.cut_at = self._clock.monotonic()
        rows, letters = rows_of(batch.slices, self._options.make_rows, self._options.yield_gil)
        # Rows of a doubtful batch may be in the store under the checkpoint of an earlier owner.
        landed = partition.expiry_bound if batch.doubtful else None
        checkpoint = partition.checkpoints.before(partition.progress, rows, self._clock.time_ns(), landed)
        partition.range_commit = RangeCommit(batch, rows, letters, self._bisect, checkpoint)

    def _landed_below(self, progress: Progress) -> int:
        """Ranges that begin below this offset may be in the store; the committed offset when it has none."""
        highest = self._store.highest_offset(progress.log_id, progress.partition, progress.committed)
        if highest is None:
            return progress.committed
        if progress.reserved is None or highest > progress.reserved.last:
            _log.warning("The store has more events than were committed. They will not be stored again.",
                         committed=progress.committed, highest=highest)  # fmt: skip
        return highest + 1

    def _restore_claims(self, partition: Partition) -> None:
        """Claims the ids of stored events, so that repeats of them are recognised after a start."""
        began, ids = self._clock.monotonic(), 0
        for claimed in self._claims.restore(partition.progress):
            ids += claimed
            self._step_at = self._clock.monotonic()
            if not partition.failures:  # the same claims again, after a failure, are no progress
                partition.progress_at = self._step_at
            self._options.yield_gil()
        if ids:
            _log.info("Claims were restored from the store.", partition=partition.number, ids=ids,
                      seconds=round(self._clock.monotonic() - began, 1))  # fmt: skip

    def _advance(self, partition: Partition, range_commit: RangeCommit) -> None:
        """Performs all steps of a batch; after a failure one step a turn, so that other partitions are polled."""
        while partition.range_commit is not None:
            step = range_commit.step()
            try:
                self._perform(partition, range_commit, step)
            except Retryable as error:
                return self._retry_later(partition, range_commit, step, error)
            except Poison as error:
                return self._split(partition, range_commit, step, error)
            # The step that follows from an answer is not delayed, since the answer may be outdated a turn later.
            if partition.paused and not isinstance(step, FindLanded | Claim):
                return None
        return None

    def _perform(self, partition: Partition, range_commit: RangeCommit, step: Step) -> None:
        match step:
            case SaveCheckpoint():
                self._store.save_checkpoint(step.checkpoint)
                range_commit.done()
            case Reserve():
                self._reader.reserve(step.range, partition.epoch, step.attempt)
                range_commit.done()
            case FindLanded():
                found = self._store.stored_offsets(step.block.range)
                range_commit.landed(found, self._store.dead_letter_offsets(step.block.range) if found else set())
            case Claim():
                range_commit.claimed(self._claims.claim(step.block.rows, step.resent))
            case InsertDeadLetters():
                self._store.insert_dead_letters(step.letters)
                range_commit.done()
                partition.made_progress(self._clock.monotonic())
            case Release():
                self._claims.release(step.rows)
                range_commit.done()
            case Resolve():
                self._resolve(partition, range_commit, step)
            case Insert():
                self._insert(partition, step)
                range_commit.done()
            case Commit():
                self._commit(partition, range_commit, step)

    def _resolve(self, partition: Partition, range_commit: RangeCommit, step: Resolve) -> None:
        now = self._clock.monotonic()
        since = partition.conflicts_since if partition.conflicts_since is not None else now
        progress = partition.progress
        committed = Position(progress.log_id, progress.partition, progress.committed)
        give_up = now - since >= HOLDER_WAIT_S
        if range_commit.resolved(self._claims.resolve(step.conflicts, step.own, committed, give_up=give_up)):
            partition.conflicts_since = None
            partition.made_progress(self._clock.monotonic())
        else:
            partition.conflicts_since = since
            raise Retryable(
                f"{len(step.conflicts)} events have ids that other events have claimed and not stored yet", after_s=0.2
            )

    def _insert(self, partition: Partition, step: Insert) -> None:
        started = self._clock.monotonic()
        self._store.insert(step.block.rows, step.token)
        ended = self._clock.monotonic()
        self._telemetry.inserts.inc()
        self._telemetry.insert_latency.observe(ended - started)
        self._telemetry.insert_rows.observe(len(step.block.rows))
        partition.made_progress(ended)

    def _commit(self, partition: Partition, range_commit: RangeCommit, step: Commit) -> None:
        progress = partition.progress_after(step.range, step.counts)
        started = self._clock.monotonic()
        committed = self._reader.commit(partition.number, partition.epoch, progress.committed, progress.counts)
        ended = self._clock.monotonic()
        self._telemetry.commit_latency.observe(ended - started)
        partition.progress = progress
        self._assignments.publish_progress()
        self._options.on_commit()
        self._committed_since = True
        partition.range_commit = partition.conflicts_since = None
        partition.has_work = bool(partition.slices)
        if partition.paused:
            partition.paused = False
            self._reader.resume(partition.number)
        if committed:  # else the present owner of the partition counts it
            self._count(range_commit, step)
        free_rows(range_commit.rows, self._options.yield_gil)
        partition.made_progress(ended)

    def _count(self, range_commit: RangeCommit, step: Commit) -> None:
        for fate in FATES:
            if count := getattr(step.counts, fate):
                self._telemetry.processed.labels(fate).inc(count)
        for (tenant, fate), count in range_commit.tenant_counts().items():
            self._telemetry.processed_of(tenant, fate, count)
        if step.counts.lost:
            _log.error("The log lost events before they were stored.", range=str(step.range),
                       events=step.counts.lost)  # fmt: skip

    def _split(self, partition: Partition, range_commit: RangeCommit, step: Step, error: Poison) -> None:
        if not isinstance(step, Insert):
            what = f"{type(step).__name__} of {range_commit.range}"
            raise Fatal(f"the store refuses a step that inserts no rows ({what}): {error}") from error
        self._pause(partition)
        if not range_commit.refused(str(error)):
            self._back_off(partition, Retryable(str(error)))
            _log.error("The store refuses rows of several tenants and accepts none. The partition waits.",
                       partition=partition.number, why=str(error))  # fmt: skip
            return
        partition.made_progress(self._clock.monotonic())
        _log.warning("The store refused a block. It is split to find the invalid records.",
                     range=str(step.block.range), why=str(error))  # fmt: skip

    def _retry_later(self, partition: Partition, range_commit: RangeCommit, step: Step, error: Retryable) -> None:
        if isinstance(step, Insert):
            range_commit.in_doubt()  # a time-out says nothing about the block
        if isinstance(step, Insert | InsertDeadLetters):
            self._telemetry.insert_failures.inc()
        self._back_off(partition, error)
        self._pause(partition)
        _log.warning("A step of the processor failed. It will be retried.", step=type(step).__name__,
                     range=str(range_commit.range), why=str(error))  # fmt: skip

    def _back_off(self, partition: Partition, error: Retryable) -> None:
        partition.back_off(error, self._options.max_backoff_s, self._random, self._clock.monotonic())

    def _pause(self, partition: Partition) -> None:
        if not partition.paused:
            partition.paused = True
            self._reader.pause(partition.number)

    def _finished(self) -> bool:
        """After `stop`: whether the time is up, or no backlog is left."""
        until = self._finish_until
        return until is None or self._clock.monotonic() >= until or self._assignments.lag() == 0
