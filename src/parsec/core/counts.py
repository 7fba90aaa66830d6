"""What became of a partition's offsets, in numbers.

Out: counts that the broker remembers with a position, the ledger sums and the audit compares. Errors: none.
"""

import msgspec


class Counts(msgspec.Struct, frozen=True):
    """Cumulative fate of a partition's offsets: committed - start = stored + duplicate + dead + lost."""

    stored: int = 0
    duplicate: int = 0
    dead: int = 0
    lost: int = 0

    @property
    def total(self) -> int:
        return self.stored + self.duplicate + self.dead + self.lost

    def minus(self, other: "Counts") -> "Counts":
        return Counts(
            self.stored - other.stored,
            self.duplicate - other.duplicate,
            self.dead - other.dead,
            self.lost - other.lost,
        )
