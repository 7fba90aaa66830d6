"""The answer of GET /admin/audit, and of `parsec audit --offline`. Next: parsec.api.status."""

from collections.abc import Sequence

import msgspec

from parsec.api.status import SpoolLedger
from parsec.core.counts import Counts


class AuditSpan(msgspec.Struct, frozen=True):
    """Offsets first..end-1. `stored` and `dead`: found minus the ledger's count.

    `doubled`: surplus rows at offsets that have a row already. `both`: offsets with a row and a dead letter.
    `doubled_at`: the first of the doubled offsets. Its events were received between `received_from` and
    `received_until`, in UTC; None: unknown.
    """

    first: int
    end: int
    stored: int
    dead: int
    doubled: int
    both: int
    doubled_at: Sequence[int] = ()
    received_from: str | None = None
    received_until: str | None = None

    @property
    def difference(self) -> int:
        return abs(self.stored) + abs(self.dead) + self.doubled + self.both


class MissingRecord(msgspec.Struct, frozen=True):
    """A record of the log without a row. Tenant and id are empty when its bytes do not give them."""

    offset: int
    tenant_id: str = ""
    id: str = ""


class PartitionAudit(msgspec.Struct, frozen=True):
    """One partition. `ledger` and `found` count the offsets recounted_from..committed-1.

    The `not_recounted` offsets before them may have left the store. `unbalanced`: what the ledger's own counts lack.
    `first_checkpoint`: whether the store has the ledger's first checkpoint; without it the store was lost or exchanged.
    `missing`: only the offline audit looks for it, by comparison with the log.
    """

    partition: int
    log_id: str
    start: int
    committed: int
    recounted_from: int
    not_recounted: int
    ledger: Counts
    found: Counts
    unbalanced: int
    difference: int
    where: Sequence[AuditSpan]
    first_checkpoint: bool = True
    missing: Sequence[MissingRecord] = ()


class Audit(msgspec.Struct, frozen=True):
    """The sums of all partitions, and each partition. `difference` 0: the store holds what the ledger says.

    `spools`: those of this machine that have lost events, which were acknowledged and never came to a partition.
    """

    difference: int
    not_recounted: int
    recounted: int
    partitions: Sequence[PartitionAudit]
    spools: Sequence[SpoolLedger] = ()
