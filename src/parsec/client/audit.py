"""The recount of the ledger as a client sees it."""

import msgspec


class Fates(msgspec.Struct, frozen=True, kw_only=True):
    """What became of offsets."""

    stored: int = 0
    duplicate: int = 0
    dead: int = 0
    lost: int = 0


class Stretch(msgspec.Struct, frozen=True, kw_only=True):
    """Offsets first..end-1 that do not add up: found less what the ledger says, and rows too many."""

    first: int
    end: int
    stored: int = 0
    dead: int = 0
    doubled: int = 0
    both: int = 0
    doubled_at: list[int] = []


class Missing(msgspec.Struct, frozen=True, kw_only=True):
    """A record of the log without a row, dead letter or first copy in the store."""

    offset: int
    tenant_id: str = ""
    id: str = ""


class Recount(msgspec.Struct, frozen=True, kw_only=True):
    """One partition: `ledger` and `found` are of offsets recounted_from..committed-1.

    `missing` is looked for offline only, as far back as the log goes.
    """

    partition: int
    log_id: str
    start: int
    committed: int
    recounted_from: int
    not_recounted: int
    ledger: Fates
    found: Fates
    unbalanced: int = 0
    difference: int
    where: list[Stretch] = []
    missing: list[Missing] = []


class Audit(msgspec.Struct, frozen=True, kw_only=True):
    """Of `GET /admin/audit`. `not_recounted`: offsets of which nobody can tell any more."""

    difference: int
    not_recounted: int
    recounted: int
    partitions: list[Recount]
