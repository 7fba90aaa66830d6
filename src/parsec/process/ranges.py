"""Which range of a partition is inserted next, under which token, and what a crash left to do. State only, no I/O.

In: a batch (parsec.process.backlog, which keeps invariants 1, 2 and 4), the rows made of it, and how each step ended.
Out: the next step to take. Errors: Fatal when slices or rows do not add up, for then no ledger could be exact.
Next: parsec.ports.store.

Invariants, cited by tests
 1. Slices of a partition are taken in order, each offset once: what was taken before is cut off, another epoch dropped.
 2. Every offset of a slice is a record or lost: next_offset - first = len(values) + lost.
 3. Nothing is inserted unless its range is durably reserved; no range is reserved while another one is open.
 4. An open reservation is finished first, and as exactly the range it names, so that its block has the same rows again.
 5. A token that nobody can have used before is inserted without asking. Any other is doubtful: the store is asked which
    positions it has, the missing rows go in under the same token, and the store is asked again. The same token, since
    the first writer's block may still be on its way and only the token stops it from landing twice. Asked again, since
    the store may know the token without having the rows.
 6. Rows still missing then go in under `token#attempt`, an attempt that is reserved before and never used before.
 7. A block that the store refuses is split under sub tokens, down to one row, which becomes a dead letter.
 8. What the store holds beyond the committed offset (the broker's memory of this reader was lost or is old) is
    doubtful too, so that it is not stored again.
 9. A range is committed when each record has landed as row or dead letter, with
    committed - start = stored + duplicate + dead + lost.
"""

from collections.abc import Sequence

import msgspec

from parsec.core.errors import Fatal
from parsec.ports.broker import Counts, Range
from parsec.ports.store import DeadLetter, Row
from parsec.process.backlog import FIRST_ATTEMPT, Batch

STORE_REFUSED = "store_refused"


class Block(msgspec.Struct, frozen=True):
    """Rows that go in as one, under a token that their range and attempt name. `doubtful`: see invariant 5."""

    range: Range
    attempt: int
    rows: Sequence[Row]
    doubtful: bool

    @property
    def token(self) -> str:
        return self.range.token if self.attempt == FIRST_ATTEMPT else f"{self.range.token}#{self.attempt}"


class Reserve(msgspec.Struct, frozen=True):
    """Announce the range with this attempt."""

    range: Range
    attempt: int


class Ask(msgspec.Struct, frozen=True):
    """Ask the store what it has of the block's range. `inserted`: the block was given to the store without an error."""

    block: Block
    inserted: bool


class Insert(msgspec.Struct, frozen=True):
    """Insert the block's rows under its token."""

    block: Block


class InsertDead(msgspec.Struct, frozen=True):
    """Keep these dead letters."""

    letters: Sequence[DeadLetter]


class Commit(msgspec.Struct, frozen=True):
    """Move on behind the range, whose offsets came out as `counts`."""

    range: Range
    counts: Counts


_Open = Reserve | Ask | Insert | InsertDead
Step = _Open | Commit


class Passage:
    """One batch on its way into the store: `step` says what to do, then exactly one call tells how that ended.

    A step that failed without a call here (broker down, store down while asked) is simply given again.
    """

    def __init__(self, batch: Batch, rows: Sequence[Row], letters: Sequence[DeadLetter]) -> None:
        self._batch = batch
        self._rows = rows
        self._letters = letters
        self._attempt = batch.attempt or FIRST_ATTEMPT
        self._known = set(batch.offsets())
        self._found_rows: set[int] = set()
        self._found_dead: set[int] = set()
        self._refused: set[int] = set()
        if len(rows) + len(letters) != len(self._known):
            made = f"{len(rows)} rows and {len(letters)} dead letters"
            raise Fatal(f"range {batch.range.token} has {len(self._known)} records, but {made} were made of them")
        block = Block(batch.range, self._attempt, rows, doubtful=batch.attempt > 0 or batch.seen_before)
        self._steps: list[_Open] = []  # the last one is next
        if rows and not block.doubtful:
            self._steps.append(Insert(block))
        if letters:
            self._steps.append(InsertDead(letters))
        # Asked even without rows: what the log has lost since may have landed before.
        if block.doubtful:
            self._steps.append(Ask(block, inserted=False))
        if batch.attempt == 0:
            self._steps.append(Reserve(batch.range, self._attempt))

    @property
    def range(self) -> Range:
        return self._batch.range

    def step(self) -> Step:
        """What to do now; Commit is the last."""
        return self._steps[-1] if self._steps else Commit(self.range, self.counts())

    def done(self) -> None:
        """The step (not Ask, not Commit) succeeded."""
        step = self._steps.pop()
        if isinstance(step, Insert) and step.block.doubtful:
            self._steps.append(Ask(step.block, inserted=True))

    def in_doubt(self) -> None:
        """The insert failed, or its answer was lost: it may have landed or land yet (invariant 5)."""
        step = self._steps.pop()
        assert isinstance(step, Insert)
        block = msgspec.structs.replace(step.block, doubtful=True)
        self._steps.append(Ask(block, inserted=False))

    def landed(self, found: set[int], dead: set[int]) -> None:
        """The answer to Ask: offsets of the range in the store, and those of them that are dead letters."""
        step = self._steps.pop()
        assert isinstance(step, Ask)
        self._found_rows |= found - dead
        self._found_dead |= dead
        self._steps = [s for s in (self._without_found(s, found) for s in self._steps) if s]
        block = step.block
        missing = [row for row in block.rows if row.offset not in found]
        if not missing:
            return
        if step.inserted:
            self._attempt += 1
            self._steps.append(Insert(Block(block.range, self._attempt, missing, doubtful=False)))
            self._steps.append(Reserve(self.range, self._attempt))
        else:
            self._steps.append(Insert(msgspec.structs.replace(block, rows=missing)))

    def refused(self, detail: str) -> None:
        """The store can never take this block, and nothing of it has landed (invariant 7)."""
        step = self._steps.pop()
        assert isinstance(step, Insert)
        block = step.block
        if len(block.rows) == 1:
            self._refused.add(block.rows[0].offset)
            self._steps.append(InsertDead([self._letter(block.rows[0], detail)]))
            return
        announced = block.attempt > FIRST_ATTEMPT
        if not announced:
            self._attempt += 1
        attempt = block.attempt if announced else self._attempt
        for half in reversed(halves(block)):
            # Nobody can have used a sub token of an attempt that is only now announced.
            self._steps.append(Insert(Block(half.range, attempt, half.rows, announced and block.doubtful)))
        if not announced:
            self._steps.append(Reserve(self.range, attempt))

    def counts(self) -> Counts:
        """What became of the range's offsets; final when the next step is Commit (invariant 9)."""
        known = self._known | self._found_rows | self._found_dead
        dead = {letter.offset for letter in self._letters} - self._found_rows | self._refused | self._found_dead
        taken = self._batch.range
        return Counts(stored=len(known) - len(dead), dead=len(dead), lost=taken.last - taken.first + 1 - len(known))

    def _letter(self, row: Row, detail: str) -> DeadLetter:
        raw = self._batch.raw(row.offset)
        return DeadLetter(row.log_id, row.partition, row.offset, row.tenant_id, STORE_REFUSED, detail, raw, "store")

    @staticmethod
    def _without_found(step: _Open, found: set[int]) -> _Open | None:
        """A dead letter whose position landed before, perhaps as a row of an older version, is not kept again."""
        if not isinstance(step, InsertDead):
            return step
        letters = [letter for letter in step.letters if letter.offset not in found]
        return InsertDead(letters) if letters else None


def halves(block: Block) -> list[Block]:
    """A block of several rows as two, split in the middle of its range where both sides have rows.

    The same range is always split the same way, whatever rows are left in it, so that a second owner uses the sub
    tokens that the first one may have in flight.
    """
    first, last = block.range.first, block.range.last
    while True:
        middle = (first + last) // 2
        left = [row for row in block.rows if row.offset <= middle]
        if not left:
            first = middle + 1
        elif len(left) == len(block.rows):
            last = middle
        else:
            break
    replace = msgspec.structs.replace
    low = replace(block, range=replace(block.range, first=first, last=middle), rows=left)
    return [low, replace(block, range=replace(block.range, first=middle + 1, last=last), rows=block.rows[len(left) :])]
