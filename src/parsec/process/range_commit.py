"""Which range of a partition is inserted next, under which token, and what a crash left to do. State only, no I/O.

In: a batch (parsec.process.batching, which keeps invariants 1, 2 and 4), the rows made of it, and how each step ended.
Out: the next step to take. Errors: Fatal when slices or rows do not add up, for then no ledger could be exact.
Next: parsec.ports.dedup.

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
 7. A block that the store refuses is split under sub tokens (parsec.process.bisect). What is refused alone becomes a
    dead letter once the rest has landed; while rows of several tenants are refused and none lands, nothing does.
 8. What the store holds beyond the committed offset (the broker's memory of this reader was lost or is old) is
    doubtful too, so that it is not stored again.
 9. A range is committed when each record has landed as row or dead letter, or is a duplicate, with
    committed - start = stored + duplicate + dead + lost.
10. Ids are claimed before rows are inserted, also again, for another owner may have taken a claim over. What others
    hold waits until the rest of the range has landed, so that two ranges never wait for each other, and then goes in
    under an attempt of its own unless it is a duplicate (parsec.process.claims).
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from operator import attrgetter

import msgspec

from parsec.core.errors import Fatal
from parsec.ports.broker import Counts, Range
from parsec.ports.store import DeadLetter, LedgerCheckpoint, Row
from parsec.process.batching import FIRST_ATTEMPT, Batch
from parsec.process.bisect import Bisect, halves
from parsec.process.claims import Conflict, Resolution
from parsec.process.steps import (
    Block,
    Claim,
    Commit,
    FindLanded,
    Insert,
    InsertDead,
    Open,
    Release,
    Reserve,
    SaveCheckpoint,
    Settle,
    Step,
)

STORE_REFUSED = "store_refused"
SUSPICIOUS = 10
"""So many rows of several tenants refused, and none taken: the store is at fault, not the rows."""


class RangeCommit:
    """One batch on its way into the store: `step` says what to do, then exactly one call tells how that ended.

    A step that failed without a call here (broker down, store down while asked) is simply given again.
    """

    def __init__(
        self,
        batch: Batch,
        rows: list[Row],
        letters: Sequence[DeadLetter],
        refusals: Bisect,
        mark: LedgerCheckpoint | None = None,
    ) -> None:
        self._batch = batch
        self._rows = rows
        self._letters = letters
        self._refusals = refusals
        self._attempt = batch.attempt or FIRST_ATTEMPT
        self._known = set(batch.offsets())
        self._resent = frozenset[int]().union(*[piece.resent for piece in batch.slices])
        self._held: dict[int, Conflict] = {}
        self._duplicates: set[int] = set()
        self._found_rows: set[int] = set()
        self._found_dead: set[int] = set()
        self._refused: dict[int, DeadLetter] = {}
        self._given_up: list[Row] = []
        self._again: list[Row] = []
        self._splitting = self._accepted = False
        if len(rows) + len(letters) != len(self._known):
            made = f"{len(rows)} rows and {len(letters)} dead letters"
            raise Fatal(f"range {batch.range.token} has {len(self._known)} records, but {made} were made of them")
        block = Block(batch.range, self._attempt, rows, doubtful=batch.doubtful)
        self._steps: list[Open] = []  # the last one is next
        if rows and not block.doubtful:
            self._steps.append(Claim(block, self._resent))
        if letters:
            self._steps.append(InsertDead(letters))
        # Asked even without rows: what the log has lost since may have landed before.
        if block.doubtful:
            self._steps.append(FindLanded(block, inserted=False))
        if batch.attempt == 0:
            self._steps.append(Reserve(batch.range, self._attempt))
        if mark is not None:
            self._steps.append(SaveCheckpoint(mark))

    @property
    def range(self) -> Range:
        return self._batch.range

    def step(self) -> Step:
        """What to do now; Commit is the last."""
        if not self._steps and self._again:
            rows, self._again = self._again, []
            self._retry(rows)
        if not self._steps and self._given_up:
            rows, self._given_up = self._given_up, []
            self._steps += [Release(rows), InsertDead([self._refused[row.offset] for row in rows])]
        if self._steps:
            return self._steps[-1]
        if self._held:
            return Settle(self._held, self._own_holders())
        return Commit(self.range, self.counts())

    def done(self) -> None:
        """The step (not FindLanded, Claim, Settle, Commit) succeeded."""
        step = self._steps.pop()
        if isinstance(step, Insert):
            if self._splitting and not self._accepted:  # what was refused before may have been the store's fault
                self._again = self._take_back()
            self._accepted = True
            if step.block.doubtful:
                self._steps.append(FindLanded(step.block, inserted=True))

    def in_doubt(self) -> None:
        """The insert failed, or its answer was lost: it may have landed or land yet (invariant 5)."""
        step = self._steps.pop()
        assert isinstance(step, Insert)
        block = msgspec.structs.replace(step.block, doubtful=True)
        self._steps.append(FindLanded(block, inserted=False))

    def landed(self, found: set[int], dead: set[int]) -> None:
        """The answer to FindLanded: offsets of the range in the store, and those of them that are dead letters."""
        step = self._steps.pop()
        assert isinstance(step, FindLanded)
        self._found_rows |= found - dead
        self._found_dead |= dead
        self._held = {offset: one for offset, one in self._held.items() if offset not in found}
        self._steps = [s for s in (self._without_found(s, found) for s in self._steps) if s]
        block = step.block
        missing = [row for row in block.rows if row.offset not in found]
        if not missing:
            return
        if step.inserted:
            self._attempt += 1
            self._steps.append(Claim(Block(block.range, self._attempt, missing, doubtful=False), self._resent))
            self._steps.append(Reserve(self.range, self._attempt))
        else:
            self._steps.append(Claim(msgspec.structs.replace(block, rows=missing), self._resent))

    def claimed(self, held: Mapping[int, Conflict]) -> None:
        """The answer to Claim: rows that another position holds (invariant 10)."""
        step = self._steps.pop()
        assert isinstance(step, Claim)
        block = step.block
        if held:
            self._held.update(held)
            block = msgspec.structs.replace(block, rows=[row for row in block.rows if row.offset not in held])
        if block.rows:
            self._steps.append(Insert(block))

    def settled(self, settled: Resolution) -> bool:
        """The answer to Settle. False: nothing could be decided yet."""
        self._duplicates |= settled.duplicates
        rescued = [self._held[offset].row for offset in sorted(settled.rescued)]
        self._held = dict(settled.waiting)
        if rescued:
            self._retry(rescued)
        return bool(settled.duplicates or rescued)

    def refused(self, detail: str) -> bool:
        """The store can never take this block, and nothing of it has landed (invariant 7). False: it takes nothing."""
        step = self._steps.pop()
        assert isinstance(step, Insert)
        block = step.block
        self._splitting = True
        if self._refusals.hopeless(block):
            self._refusals.note(block.rows)
            self._refused |= {row.offset: self._letter(row, detail) for row in block.rows}
            self._given_up += block.rows
            return not self._store_at_fault()
        announced = block.attempt > FIRST_ATTEMPT
        if not announced:
            self._attempt += 1
        attempt = block.attempt if announced else self._attempt
        for half in reversed(halves(block)):
            # Nobody can have used a sub token of an attempt that is only now announced.
            doubtful = announced and block.doubtful
            self._steps.append(Insert(msgspec.structs.replace(half, attempt=attempt, doubtful=doubtful)))
        if not announced:
            self._steps.append(Reserve(self.range, attempt))
        return True

    def counts(self) -> Counts:
        """What became of the range's offsets; final when the next step is Commit (invariant 9)."""
        known = self._known | self._found_rows | self._found_dead
        letters = {letter.offset for letter in self._letters} - self._found_rows
        dead, dropped = letters | self._dead_rows(), self._dropped()
        taken = self._batch.range
        return Counts(
            stored=len(known) - len(dead) - len(dropped),
            duplicate=len(dropped),
            dead=len(dead),
            lost=taken.last - taken.first + 1 - len(known),
        )

    def fates(self) -> Mapping[tuple[str, str], int]:
        """The same for each tenant and fate; an empty tenant cannot be told. What is lost is nobody's.

        What the store had already of records that the log has lost since is not told apart.
        """
        dead = self._dead_rows()
        away = dead | self._dropped()
        apart = [row for row in self._rows if row.offset in away] if away else []
        fates = Counter(
            {(tenant, "stored"): n for tenant, n in Counter(map(attrgetter("tenant_id"), self._rows)).items()}
        )
        fates.subtract((row.tenant_id, "stored") for row in apart)
        fates.update((row.tenant_id, "dead" if row.offset in dead else "duplicate") for row in apart)
        landed = self._found_rows
        fates.update((each.tenant_id, "stored" if each.offset in landed else "dead") for each in self._letters)
        return {key: count for key, count in fates.items() if count}

    def stored(self) -> Sequence[Row]:
        """The rows that the store has now, whoever inserted them; final as `counts` is."""
        away = self._dropped() | self._dead_rows()
        return [row for row in self._rows if row.offset not in away] if away else self._rows

    def take_rows(self) -> list[Row]:
        """The rows, once all is committed and nobody needs them any more."""
        rows, self._rows = self._rows, []
        return rows

    def _dropped(self) -> set[int]:
        """Duplicates, but for those that an earlier attempt had stored by then."""
        return self._duplicates - self._found_rows

    def _dead_rows(self) -> set[int]:
        """Rows that the store refused, now or in an earlier life."""
        return self._refused.keys() | self._found_dead

    def _own_holders(self) -> dict[int, Row]:
        """Nothing else is open now, so each row that nobody holds has landed, or was refused."""
        wanted = {one.holder.offset for one in self._held.values()}
        away = self._held.keys() | self._duplicates | self._dead_rows()
        return {row.offset: row for row in self._rows if row.offset in wanted and row.offset not in away}

    def _store_at_fault(self) -> bool:
        """Rows of several tenants are refused and none is taken: all is tried again, later (invariant 7)."""
        tenants = {row.tenant_id for row in self._given_up}
        if self._accepted or len(tenants) < 2 or len(self._given_up) < SUSPICIOUS:
            return False
        rows = self._take_back()
        while self._steps and isinstance(step := self._steps[-1], Insert):
            rows += step.block.rows
            self._steps.pop()
        self._retry(rows)
        self._splitting = False
        return True

    def _take_back(self) -> list[Row]:
        """Rows that were given up, given up no more."""
        rows, self._given_up = self._given_up, []
        self._refusals.forget(rows)
        for row in rows:
            del self._refused[row.offset]
        return rows

    def _retry(self, rows: list[Row]) -> None:
        """Under an attempt that nobody can have used before."""
        self._attempt += 1
        rows.sort(key=lambda row: row.offset)
        self._steps.append(Insert(Block(self.range, self._attempt, rows, doubtful=False)))
        self._steps.append(Reserve(self.range, self._attempt))

    def _letter(self, row: Row, detail: str) -> DeadLetter:
        raw = self._batch.raw(row.offset)
        return DeadLetter(row.log_id, row.partition, row.offset, row.tenant_id, STORE_REFUSED, detail, raw, "store")

    @staticmethod
    def _without_found(step: Open, found: set[int]) -> Open | None:
        """A dead letter whose position landed before, perhaps as a row of an older version, is not kept again."""
        if not isinstance(step, InsertDead):
            return step
        letters = [letter for letter in step.letters if letter.offset not in found]
        return InsertDead(letters) if letters else None
