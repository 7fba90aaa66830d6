"""Events that the store lacks, and that were stored again: GET and POST /admin/repair. Next: parsec.api.status."""

from collections.abc import Sequence
from typing import Literal

import msgspec

RepairPhase = Literal["waiting", "comparing", "storing", "idle"]


class StoreGap(msgspec.Struct, frozen=True):
    """Offsets first..end-1 of a partition, of which the store lacks `rows` events and `dead_letters`.

    `stretches`: ranges in it where events may be missing, each as first offset and end; none: anywhere. The events were
    received between `received_from` and `received_until`, in UTC; None: unknown. `first_checkpoint`: whether the store
    has the ledger's first checkpoint; without it the store is not the one that the ledger counts.
    """

    partition: int
    log_id: str
    first: int
    end: int
    rows: int
    dead_letters: int
    received_from: str | None = None
    received_until: str | None = None
    first_checkpoint: bool = True
    stretches: Sequence[tuple[int, int]] = ()

    @property
    def missing(self) -> int:
        return self.rows + self.dead_letters


class RepairStatus(msgspec.Struct, frozen=True):
    """`missing`: events and dead letters that the last comparison of the store with the ledger did not find;
    `stored_again`: how many of them the store has again, and `per_second` of late. `gaps`: where they are missing.
    `lost`: where the log no longer has them. `problem`: why the last comparison, or the last
    step of the repair, failed; both are repeated.
    """

    phase: RepairPhase = "waiting"
    missing: int = 0
    stored_again: int = 0
    per_second: int = 0
    gaps: Sequence[StoreGap] = ()
    lost: Sequence[StoreGap] = ()
    problem: str | None = None

    @property
    def lost_events(self) -> int:
        return sum(each.missing for each in self.lost)
