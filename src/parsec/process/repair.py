"""Repair: events that the store has lost are stored again from the log, exactly once.

In: gaps (parsec.process.comparison), the log's records, the store's positions. Out: rows and dead letters at their old
positions; no commit, since the ledger has counted them. Errors: a Retryable step is repeated after a growing wait;
Fatal ends the processor's thread. Next: parsec.process.range_commit.

Invariants, cited by tests
 1. A chunk is a doubtful range (parsec.process.range_commit 5, 11): the store is asked which positions it has, and only
    the missing ones are inserted. Nothing is remembered between chunks that a kill could lose: the next start compares
    again and goes on.
 2. A missing position becomes what it was: the same row, or a dead letter. One whose id the store has at another
    position, received within the dedup window of it, was a duplicate, or is stored again under a later offset; it stays
    out. So does an event that has expired since.
 3. A chunk is bounded in records and bytes, and takes its turn between two ranges of new events.
 4. A ledger's first checkpoint, which tells its store from another one, is saved last: a repair that was cut off leaves
    a store that is not taken for whole.
"""

import threading
from collections import deque
from collections.abc import Callable, Collection, Sequence

import structlog
from msgspec.structs import replace

from parsec.api.repair import StoreGap
from parsec.core.clock import Clock, Random
from parsec.core.errors import Poison, Retryable
from parsec.core.timestamp import DAY, SECOND
from parsec.ports.broker import Progress, Range, Slice
from parsec.ports.store import LedgerCheckpoint, Row, StoreWriter
from parsec.process.batching import FIRST_ATTEMPT, Batch, MakeRows
from parsec.process.bisect import Bisect
from parsec.process.partitions import backoff
from parsec.process.range_commit import Claim, Commit, FindLanded, Insert, InsertDeadLetters, RangeCommit, Step
from parsec.telemetry import Telemetry

_log = structlog.get_logger(__name__)

REPAIR_OFFSETS = 10_000
"""Chunks begin at multiples of it, so that a repair that begins again uses the same tokens."""
REPAIR_BYTES = 8 << 20
REPAIRED_TABLES = ("events", "dead_letters")
EXPIRED = "expired"
"""The reason of a dead letter that parsec.process.rows makes of an old event."""
LONGEST_BACKOFF_S = 5.0

ReadAgain = Callable[[Range, int, int], Slice | None]
"""LogReader.read_again."""


class Repair:
    """`request`, `idle` and `stored_again` are for any thread, the rest for the processor's."""

    def __init__(
        self, read_again: ReadAgain, store: StoreWriter, make_rows: MakeRows, window_s: float,
        telemetry: Telemetry, clock: Clock, random: Random,
    ) -> None:  # fmt: skip
        self._read_again = read_again
        self._store = store
        self._make_rows = make_rows
        self._window_ns = int(window_s * SECOND)
        self._telemetry = telemetry
        self._clock = clock
        self._random = random
        self._bisect = Bisect(clock)
        self._gaps: deque[StoreGap] = deque()
        self._at = 0
        self._chunk: RangeCommit | None = None
        self._failures = 0
        self._not_before = float("-inf")
        self.stored_again = 0
        self.idle = threading.Event()
        self.idle.set()

    def request(self, gaps: Sequence[StoreGap]) -> None:
        """Stores again what is missing in these gaps; call it while `idle` is set."""
        self.stored_again = 0
        self._at = 0
        self.idle.clear()
        self._gaps.extend(gaps)  # last: from here on the processor's thread works on them

    def turn(self, owned: Collection[Progress]) -> bool:
        """Stores one chunk again, of a partition that this process owns. True: there is more to do at once."""
        if not self._gaps:
            self.idle.set()
            return False
        if self._clock.monotonic() < self._not_before:
            return False
        gap = self._gaps[0]
        progress = next((each for each in owned if _is_of(gap, each)), None)
        try:
            if progress is None or self._store_chunk(gap):
                if progress is not None and not gap.first_checkpoint:
                    self._save_first_checkpoint(progress)
                self._gaps.popleft()
                self._chunk, self._at = None, 0
            self._failures = 0
        except Retryable as error:
            self._not_before = self._clock.monotonic() + backoff(self._failures, error, LONGEST_BACKOFF_S, self._random)
            self._failures += 1
            _log.warning("Lost events could not be stored again. This will be retried.", why=str(error))
        return True

    def _store_chunk(self, gap: StoreGap) -> bool:
        """One chunk of the gap, or what is left of it after a failure. True: it was the last one. Raises Retryable."""
        if self._chunk is None:
            first = max(self._at, gap.first)
            if first >= gap.end:
                return True
            last = min((first // REPAIR_OFFSETS + 1) * REPAIR_OFFSETS, gap.end) - 1
            self._chunk = self._prepare(Range(gap.log_id, gap.partition, first, last))
        if self._chunk is not None:
            self._perform(self._chunk)
            self._chunk = None
        return self._at >= gap.end

    def _prepare(self, asked: Range) -> RangeCommit | None:
        """What is to be inserted of a range, or of its beginning; None: nothing. Moves `_at`. Raises Retryable."""
        found = self._store.stored_offsets(asked)
        if len(found) > asked.last - asked.first:
            self._at = asked.last + 1
            return None
        records = self._read_again(asked, REPAIR_OFFSETS, REPAIR_BYTES)
        if records is None:
            self._at = asked.last + 1
            return None
        missing = [at for at, offset in enumerate(records.offsets) if offset not in found]
        rows, letters = self._make_rows(_only(records, missing)) if missing else ([], [])
        letters = [letter for letter in letters if letter.reason != EXPIRED]
        if rows:
            repeats = self._repeats(rows, records.resent)
            rows = [row for row in rows if row.offset not in repeats]
        wanted = {row.offset for row in rows} | {letter.offset for letter in letters}
        self._at = records.next_offset
        if not wanted:
            return None
        kept = _only(records, [at for at, offset in enumerate(records.offsets) if offset in wanted])
        batch = Batch(records.range, [kept], FIRST_ATTEMPT, doubtful=True, again=True)
        chunk = RangeCommit(batch, rows, letters, self._bisect)
        assert isinstance(chunk.step(), FindLanded)
        chunk.landed(set(), set())  # just asked
        return chunk

    def _repeats(self, rows: Sequence[Row], resent: Collection[int]) -> set[int]:
        """Offsets of rows whose id is stored elsewhere, or comes earlier in these rows (invariant 2)."""
        received = [row.received_at for row in rows]
        stored = self._store.received_at(
            {row.tenant_id for row in rows}, {row.id for row in rows},
            min(received) - self._window_ns, max(received) + self._window_ns,
        )  # fmt: skip
        some = [row for row in rows if row.offset in resent]
        anywhere = self._store.positions_of({row.tenant_id for row in some}, {row.id for row in some}) if some else {}
        repeats: set[int] = set()
        kept: dict[tuple[str, str], int] = {}
        for row in rows:
            key = (row.tenant_id, row.id)
            times = [*stored.get(key, ()), *([kept[key]] if key in kept else ())]
            is_near = any(abs(row.received_at - time) <= self._window_ns for time in times)
            if is_near or (row.offset in resent and key in anywhere):
                repeats.add(row.offset)
            else:
                kept[key] = row.received_at
        return repeats

    def _perform(self, chunk: RangeCommit) -> None:
        """All steps of a chunk. After Retryable it is called again."""
        step = chunk.step()
        while not isinstance(step, Commit):
            try:
                self._do(chunk, step)
            except Retryable:
                if isinstance(step, Insert):
                    chunk.in_doubt()
                raise
            except Poison as error:
                if not isinstance(step, Insert) or not chunk.refused(str(error)):
                    raise Retryable(f"the store refuses what is stored again: {error}", after_s=1.0) from error
            step = chunk.step()
        landed = step.counts.stored + step.counts.dead
        self.stored_again += landed
        self._telemetry.stored_again.inc(landed)

    def _do(self, chunk: RangeCommit, step: Step) -> None:
        match step:
            case FindLanded():
                found = self._store.stored_offsets(step.block.range)
                chunk.landed(found, self._store.dead_letter_offsets(step.block.range) if found else set())
            case Claim():
                chunk.claimed({})
            case Insert():
                self._store.insert(step.block.rows, step.token)
                chunk.done()
            case InsertDeadLetters():
                self._store.insert_dead_letters(step.letters)
                chunk.done()
            case _:  # there is no reservation, and no claim to release
                chunk.done()

    def _save_first_checkpoint(self, progress: Progress) -> None:
        """Invariant 4. The bounds are those of all that the store has of the partition."""
        today = self._clock.time_ns() // DAY
        bound = self._store.stored_bound(progress.log_id, progress.partition)
        expires, received = (bound.expires_from, bound.received_from) if bound else (today, today)
        self._store.save_checkpoint(
            LedgerCheckpoint(
                progress.log_id, progress.partition, progress.start, progress.start, 0, 0, 0, 0, expires, received
            )
        )


def _is_of(gap: StoreGap, progress: Progress) -> bool:
    return (gap.log_id, gap.partition) == (progress.log_id, progress.partition)


def _only(records: Slice, places: Sequence[int]) -> Slice:
    """The records at these places; the others count as lost."""
    return replace(
        records, offsets=[records.offsets[at] for at in places], values=[records.values[at] for at in places],
        lost=records.next_offset - records.first - len(places),
    )  # fmt: skip
