"""How a block of rows that the store refuses is split, to find those at fault (not the search in a sorted list).

In: a refused block. Out: two smaller ones, or the verdict that splitting it further is of no use. Errors: none.
Next: parsec.process.range_commit.

1. A block of several tenants is split by tenant first, so that the rows of the tenant at fault are alone after a few
   inserts, in whatever order they came; then in the middle of its range.
2. A block is always split the same way, whatever rows are left in it, so that a second owner uses the sub-tokens under
   which blocks of the first one may still arrive.
3. Once MOST_REFUSED rows of a tenant were refused within PERIOD_S, its refused blocks are not split for the rest of
   that time, so that other tenants wait for no more than a few inserts.
"""

from collections.abc import Sequence
from zlib import crc32

import msgspec

from parsec.core.clock import Clock
from parsec.ports.store import Row
from parsec.process.batching import Block

MOST_REFUSED = 100
PERIOD_S = 60.0
MAX_REFUSED_TENANTS = 1000
_BITS = 32


class Bisect:
    """Recently refused rows per tenant. Bounded; used by the processor's thread."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._since = clock.monotonic()
        self._refused: dict[str, int] = {}

    def count(self, rows: Sequence[Row]) -> None:
        self._start_period()
        for row in rows:
            if row.tenant_id in self._refused or len(self._refused) < MAX_REFUSED_TENANTS:
                self._refused[row.tenant_id] = self._refused.get(row.tenant_id, 0) + 1

    def uncount(self, rows: Sequence[Row]) -> None:
        """Undoes `count`, since these rows were not at fault."""
        for row in rows:
            if row.tenant_id in self._refused:
                self._refused[row.tenant_id] -= 1

    def is_final(self, block: Block) -> bool:
        """Whether a refused block is not to be split: a single row, or of a tenant with too many refused rows."""
        if len(block.rows) == 1:
            return True
        self._start_period()
        tenant = block.rows[0].tenant_id
        return self._refused.get(tenant, 0) >= MOST_REFUSED and all(row.tenant_id == tenant for row in block.rows)

    def _start_period(self) -> None:
        now = self._clock.monotonic()
        if now - self._since >= PERIOD_S:
            self._since = now
            self._refused.clear()


def halves(block: Block) -> list[Block]:
    """A block of several rows as two blocks, neither of them empty."""
    if len({row.tenant_id for row in block.rows}) > 1 and (parts := _by_tenant(block)):
        return parts
    return _by_offset(block)


def _by_tenant(block: Block) -> list[Block] | None:
    """None when all tenants have the same hash."""
    bits = [f"{crc32(row.tenant_id.encode()):0{_BITS}b}" for row in block.rows]
    for length in range(len(block.tenant_bits), _BITS):
        left = [row for row, hashed in zip(block.rows, bits, strict=True) if hashed[length] == "0"]
        if 0 < len(left) < len(block.rows):
            right = [row for row, hashed in zip(block.rows, bits, strict=True) if hashed[length] == "1"]
            stem = bits[0][:length]
            replace = msgspec.structs.replace
            return [
                replace(block, rows=left, tenant_bits=stem + "0"),
                replace(block, rows=right, tenant_bits=stem + "1"),
            ]
    return None


def _by_offset(block: Block) -> list[Block]:
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
