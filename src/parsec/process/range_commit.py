"""The commit of one range: proposes one step after another, until all of it is in the store. State only, no I/O.

In: a batch (parsec.process.partitions, which keeps invariants 1, 2 and 4), its rows, and the outcome of each step.
Out: the next step, for parsec.process.loop to perform. Errors: Fatal when records and rows differ in number, since the
ledger would be wrong. Next: parsec.ports.dedup.

Invariants, cited by tests
 1. Slices of a partition are taken in order, each offset once: repeats are cut off, slices of another epoch dropped.
 2. Every offset of a slice is a record or lost: next_offset - first = len(values) + lost.
 3. Nothing is inserted unless its range is durably reserved; no range is reserved while another one is open.
 4. An open reservation is finished first, as exactly the range that it names, so that its block has the same rows.
 5. A token that cannot have been used before is inserted without a question. Any other is doubtful: the store is asked
    which positions it has, the missing rows are inserted under the same token, and the store is asked again. The same
    token, since the first owner's block may still arrive and only the token keeps it from landing twice. Asked again,
    since the store may know the token without having the rows.
 6. Rows that are still missing are inserted under `token#attempt`, an attempt reserved before and never used before.
 7. A block that the store refuses is split under sub-tokens (parsec.process.bisect). A row refused alone becomes a dead
    letter once the rest has landed; while rows of several tenants are refused and none lands, no row does.
 8. Offsets that the store has beyond the committed one, because the broker lost progress, are doubtful too, so that
    they are not stored again.
 9. A range is committed when each record has landed as a row or a dead letter, or is a duplicate, with
    committed - start = stored + duplicate + dead + lost.
10. Ids are claimed before rows are inserted, and again after an insert in doubt, since another owner may have taken
    them over; those of rows that have landed too, so that a log that is read again finds its duplicates. Conflicts wait
    until the rest of the range has landed, so that two ranges never wait for each other; then
    those that are no duplicates are inserted under an attempt of their own (parsec.process.claims).
11. In a range that is stored again every token is doubtful: an earlier repair may have used it, and the store may know
    tokens of rows that it has lost since. Such a range has no reservation; its attempts begin at the first one.
"""

from collections import Counter
from collections.abc import Mapping, Sequence, Set
from operator import attrgetter

import msgspec

from parsec.core.errors import Fatal
from parsec.ports.broker import Counts, Range
from parsec.ports.store import DeadLetter, LedgerCheckpoint, Row
from parsec.process.batching import FIRST_ATTEMPT, Batch, Block
from parsec.process.bisect import Bisect, halves
from parsec.process.claims import Conflict, Resolution

STORE_REFUSED = "store_refused"
MOST_REFUSED_ROWS = 10
"""Once so many rows of several tenants are refused and none has landed, the store is at fault, not the rows."""
_TENANT = attrgetter("tenant_id")


class SaveCheckpoint(msgspec.Struct, frozen=True):
    """Save the counts of the ledger before the range."""

    checkpoint: LedgerCheckpoint


class Reserve(msgspec.Struct, frozen=True):
    """Reserve the range with this attempt."""

    range: Range
    attempt: int


class FindLanded(msgspec.Struct, frozen=True):
    """Ask the store which offsets of the block's range it has. `inserted`: the insert of the block succeeded."""

    block: Block
    inserted: bool


class Claim(msgspec.Struct, frozen=True):
    """Claim the ids of the block's rows. `resent`: offsets of events that may be in the log twice."""

    block: Block
    resent: Set[int]


class Insert(msgspec.Struct, frozen=True):
    """Insert the block's rows under its token, from which the store recognises a repeated insert."""

    block: Block

    @property
    def token(self) -> str:
        taken, attempt, bits = self.block.range, self.block.attempt, self.block.tenant_bits
        again = "#again" if self.block.again else ""
        suffix = again + (f"#{attempt}" if attempt != FIRST_ATTEMPT else "") + (f"~{bits}" if bits else "")
        return f"{taken.log_id}/{taken.partition}/{taken.first}-{taken.last}{suffix}"


class InsertDeadLetters(msgspec.Struct, frozen=True):
    """Store these dead letters."""

    letters: Sequence[DeadLetter]


class Release(msgspec.Struct, frozen=True):
    """Release the claims of rows that became dead letters."""

    rows: Sequence[Row]


class Resolve(msgspec.Struct, frozen=True):
    """Resolve conflicts. `own`: landed rows of this range that may be the holders."""

    conflicts: Mapping[int, Conflict]
    own: Mapping[int, Row]


class Commit(msgspec.Struct, frozen=True):
    """Commit the offset after the range, with the counts of its offsets."""

    range: Range
    counts: Counts


Planned = SaveCheckpoint | Reserve | FindLanded | Claim | Insert | InsertDeadLetters | Release
Step = Planned | Resolve | Commit


class RangeCommit:
    """`step` proposes; exactly one other call reports the outcome. A step without a report is proposed again.

    `rows`: made of the batch; emptied by the caller once the range is committed.
    """

    def __init__(
        self, batch: Batch, rows: list[Row], letters: Sequence[DeadLetter], bisect: Bisect,
        checkpoint: LedgerCheckpoint | None = None,
    ) -> None:  # fmt: skip
        self.range = batch.range
        self.rows = rows
        self._batch = batch
        self._letters = letters
        self._bisect = bisect
        self._attempt = batch.attempt or FIRST_ATTEMPT
        self._offsets = set[int]().union(*[each.offsets for each in batch.slices])
        self._resent = frozenset[int]().union(*[each.resent for each in batch.slices])
        self._conflicts: dict[int, Conflict] = {}
        self._duplicates: set[int] = set()
        self._landed_rows: set[int] = set()
        self._landed_dead: set[int] = set()
        self._refused: dict[int, DeadLetter] = {}
        self._refused_rows: list[Row] = []
        self._retry_rows: list[Row] = []
        self._splitting = self._any_inserted = False
        if len(rows) + len(letters) != len(self._offsets):
            made = f"{len(rows)} rows and {len(letters)} dead letters"
            raise Fatal(f"range {batch.range} has {len(self._offsets)} records, but {made} were made of them")
        block = Block(batch.range, self._attempt, rows, doubtful=batch.doubtful, again=batch.again)
        self._planned: list[Planned] = []  # the last one is next
        if rows and not block.doubtful:
            self._planned.append(Claim(block, self._resent))
        if letters:
            self._planned.append(InsertDeadLetters(letters))
        # Also without rows: records that the log has lost since may have landed before.
        if block.doubtful:
            self._planned.append(FindLanded(block, inserted=False))
        if batch.attempt == 0:
            self._planned.append(Reserve(batch.range, self._attempt))
        if checkpoint is not None:
            self._planned.append(SaveCheckpoint(checkpoint))

    def step(self) -> Step:
        """The next step; the last one is Commit."""
        if not self._planned and self._retry_rows:
            rows, self._retry_rows = self._retry_rows, []
            self._insert_again(rows)
        # Only once all other rows have landed: until then the store may be at fault (invariant 7).
        if not self._planned and self._refused_rows:
            rows, self._refused_rows = self._refused_rows, []
            self._planned += [Release(rows), InsertDeadLetters([self._refused[row.offset] for row in rows])]
        if self._planned:
            return self._planned[-1]
        if self._conflicts:
            return Resolve(self._conflicts, self._own_holders())
        return Commit(self.range, self._counts())

    def done(self) -> None:
        """The step succeeded. Not for FindLanded, Claim, Resolve and Commit."""
        step = self._planned.pop()
        if isinstance(step, Insert):
            if self._splitting and not self._any_inserted:  # earlier refusals may have been the store's fault
                self._retry_rows = self._take_back_refused()
            self._any_inserted = True
            if step.block.doubtful:
                self._planned.append(FindLanded(step.block, inserted=True))

    def in_doubt(self) -> None:
        """The insert failed, or its answer was lost: it may have landed, or may yet land (invariant 5)."""
        step = self._planned.pop()
        assert isinstance(step, Insert)
        block = msgspec.structs.replace(step.block, doubtful=True)
        self._planned.append(FindLanded(block, inserted=False))

    def landed(self, found: set[int], dead: set[int]) -> None:
        """The answer to FindLanded: offsets of the range in the store, and those of them that are dead letters."""
        step = self._planned.pop()
        assert isinstance(step, FindLanded)
        self._landed_rows |= found - dead
        self._landed_dead |= dead
        # A conflict that an earlier attempt resolved and inserted is none.
        self._conflicts = {offset: each for offset, each in self._conflicts.items() if offset not in found}
        self._planned = [s for s in (_without_landed(s, found) for s in self._planned) if s]
        block = step.block
        missing = [row for row in block.rows if row.offset not in found]
        if step.inserted and missing:
            self._attempt += 1
            fresh = Block(block.range, self._attempt, missing, doubtful=block.again, again=block.again)
            self._planned.append(Claim(fresh, self._resent))
            self._planned.append(Reserve(self.range, self._attempt))
        elif not step.inserted and (rows := [row for row in block.rows if row.offset not in dead]):
            self._planned.append(Claim(msgspec.structs.replace(block, rows=rows), self._resent))

    def claimed(self, conflicts: Mapping[int, Conflict]) -> None:
        """The answer to Claim: rows whose id another position has (invariant 10)."""
        step = self._planned.pop()
        assert isinstance(step, Claim)
        block, landed = step.block, self._landed_rows | self._landed_dead
        self._conflicts.update((offset, each) for offset, each in conflicts.items() if offset not in landed)
        if conflicts or landed:
            rows = [row for row in block.rows if row.offset not in conflicts and row.offset not in landed]
            block = msgspec.structs.replace(block, rows=rows)
        if block.rows:
            self._planned.append(Insert(block))

    def resolved(self, resolution: Resolution) -> bool:
        """The answer to Resolve. False: nothing could be decided yet."""
        self._duplicates |= resolution.duplicates
        rows = [self._conflicts[offset].row for offset in sorted(resolution.to_store)]
        self._conflicts = dict(resolution.waiting)
        if rows:
            self._insert_again(rows)
        return bool(resolution.duplicates or rows)

    def refused(self, detail: str) -> bool:
        """The store can never take this block, and none of it has landed (invariant 7). False: it takes no block."""
        step = self._planned.pop()
        assert isinstance(step, Insert)
        block = step.block
        self._splitting = True
        if self._bisect.is_final(block):
            self._bisect.count(block.rows)
            self._refused |= {row.offset: self._dead_letter(row, detail) for row in block.rows}
            self._refused_rows += block.rows
            return not self._store_at_fault()
        reserved = block.attempt > FIRST_ATTEMPT
        if not reserved:
            self._attempt += 1
        attempt = block.attempt if reserved else self._attempt
        for half in reversed(halves(block)):
            # A sub-token of an attempt that is reserved only now cannot have been used, except in an earlier repair.
            doubtful = block.again or (reserved and block.doubtful)
            self._planned.append(Insert(msgspec.structs.replace(half, attempt=attempt, doubtful=doubtful)))
        if not reserved:
            self._planned.append(Reserve(self.range, attempt))
        return True

    def tenant_counts(self) -> Mapping[tuple[str, str], int]:
        """The counts of Commit by tenant and fate, without lost offsets; an empty tenant is unknown.

        Records that had landed before the log lost them are not in it.
        """
        dead, duplicates = self._not_stored()
        counts = Counter({(tenant, "stored"): n for tenant, n in Counter(map(_TENANT, self.rows)).items()})
        if dead or duplicates:
            away = [row for row in self.rows if row.offset in dead or row.offset in duplicates]
            counts.subtract((row.tenant_id, "stored") for row in away)
            counts.update((row.tenant_id, "dead" if row.offset in dead else "duplicate") for row in away)
        landed = self._landed_rows
        counts.update((each.tenant_id, "stored" if each.offset in landed else "dead") for each in self._letters)
        return {key: count for key, count in counts.items() if count}

    def _counts(self) -> Counts:
        offsets = self._offsets | self._landed_rows | self._landed_dead
        dead, duplicates = self._not_stored()
        dead = dead | ({letter.offset for letter in self._letters} - self._landed_rows)
        return Counts(
            stored=len(offsets) - len(dead) - len(duplicates),
            duplicate=len(duplicates),
            dead=len(dead),
            lost=self.range.last - self.range.first + 1 - len(offsets),
        )

    def _not_stored(self) -> tuple[Set[int], Set[int]]:
        """Offsets of rows that the store refused, now or in an earlier attempt, and of duplicates.

        A duplicate that an earlier attempt has stored counts as stored.
        """
        return self._refused.keys() | self._landed_dead, self._duplicates - self._landed_rows

    def _own_holders(self) -> dict[int, Row]:
        """No insert is open now, so each row that is in no conflict has landed or was refused."""
        wanted = {conflict.holder.offset for conflict in self._conflicts.values()}
        away = self._conflicts.keys() | self._duplicates | self._refused.keys() | self._landed_dead
        return {row.offset: row for row in self.rows if row.offset in wanted and row.offset not in away}

    def _store_at_fault(self) -> bool:
        """Rows of several tenants are refused and none has landed: all of them are retried later (invariant 7)."""
        tenants = {row.tenant_id for row in self._refused_rows}
        if self._any_inserted or len(tenants) < 2 or len(self._refused_rows) < MOST_REFUSED_ROWS:
            return False
        rows = self._take_back_refused()
        while self._planned and isinstance(step := self._planned[-1], Insert):
            rows += step.block.rows
            self._planned.pop()
        self._insert_again(rows)
        self._splitting = False
        return True

    def _take_back_refused(self) -> list[Row]:
        """The refused rows, which are no longer to become dead letters."""
        rows, self._refused_rows = self._refused_rows, []
        self._bisect.uncount(rows)
        for row in rows:
            del self._refused[row.offset]
        return rows

    def _insert_again(self, rows: list[Row]) -> None:
        """Under an attempt that cannot have been used before."""
        self._attempt += 1
        rows.sort(key=lambda row: row.offset)
        again = self._batch.again
        self._planned.append(Insert(Block(self.range, self._attempt, rows, doubtful=again, again=again)))
        self._planned.append(Reserve(self.range, self._attempt))

    def _dead_letter(self, row: Row, detail: str) -> DeadLetter:
        record = self._batch.record(row.offset)
        return DeadLetter(row.log_id, row.partition, row.offset, row.tenant_id, STORE_REFUSED, detail, record, "store")


def _without_landed(step: Planned, landed: set[int]) -> Planned | None:
    """A dead letter whose position has landed, perhaps as a row of an older version, is not stored again."""
    if not isinstance(step, InsertDeadLetters):
        return step
    letters = [letter for letter in step.letters if letter.offset not in landed]
    return InsertDeadLetters(letters) if letters else None
