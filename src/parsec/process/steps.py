"""What may be done with a range on its way into the store, one struct each.

In: values from parsec.process.range_commit. Out: what parsec.process.loop performs. Errors: none; there is no code
here but the name of a block. Next: parsec.process.range_commit.
"""

from collections.abc import Mapping, Sequence, Set

import msgspec

from parsec.ports.broker import Counts, Range
from parsec.ports.store import DeadLetter, LedgerCheckpoint, Row
from parsec.process.batching import FIRST_ATTEMPT
from parsec.process.claims import Conflict


class Block(msgspec.Struct, frozen=True):
    """Rows that go in as one, under a token of range, attempt and share of tenants.

    `doubtful`: the token may have been used before. `share`: bits that the tenants' hashes begin with.
    """

    range: Range
    attempt: int
    rows: Sequence[Row]
    doubtful: bool
    share: str = ""

    @property
    def token(self) -> str:
        attempt = f"#{self.attempt}" if self.attempt != FIRST_ATTEMPT else ""
        return f"{self.range.token}{attempt}{'~' if self.share else ''}{self.share}"


class Reserve(msgspec.Struct, frozen=True):
    """Announce the range with this attempt."""

    range: Range
    attempt: int


class SaveCheckpoint(msgspec.Struct, frozen=True):
    """Keep where the ledger stands before the range."""

    mark: LedgerCheckpoint


class FindLanded(msgspec.Struct, frozen=True):
    """Ask the store what it has of the block's range. `inserted`: the block was given to the store without an error."""

    block: Block
    inserted: bool


class Claim(msgspec.Struct, frozen=True):
    """Claim the ids of the block's rows. `resent`: offsets whose events may stand in the log twice."""

    block: Block
    resent: Set[int]


class Insert(msgspec.Struct, frozen=True):
    """Insert the block's rows under its token."""

    block: Block


class InsertDead(msgspec.Struct, frozen=True):
    """Keep these dead letters."""

    letters: Sequence[DeadLetter]


class Release(msgspec.Struct, frozen=True):
    """Give up the claims of these rows, which became dead letters."""

    rows: Sequence[Row]


class Settle(msgspec.Struct, frozen=True):
    """Decide about rows that others hold. `own`: rows of this range that may be the holders, and have landed."""

    held: Mapping[int, Conflict]
    own: Mapping[int, Row]


class Commit(msgspec.Struct, frozen=True):
    """Move on behind the range, whose offsets came out as `counts`."""

    range: Range
    counts: Counts


Open = SaveCheckpoint | Reserve | FindLanded | Claim | Insert | InsertDead | Release
Step = Open | Settle | Commit
