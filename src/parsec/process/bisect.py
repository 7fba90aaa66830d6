"""Blocks that the store refuses because of what is in them: which parts of one to try, and when to stop looking.

In: a refused block. Out: two smaller ones, or its rows as given up. Errors: none. Next: parsec.process.range_commit.

1. A block of several tenants is split by tenant first, so that one tenant's rows are apart from the others' after a few
   inserts, whatever the order in which they came; then in the middle of its range.
2. The same block is always split the same way, whatever rows are left in it, so that a second owner uses the sub tokens
   that the first one may have in flight.
3. A tenant of which PATIENCE rows were refused within PERIOD_S is not looked into any further for the rest of that
   time: its refused blocks are given up as they are, and its neighbours wait for no more of it than a few inserts.
"""

from collections.abc import Sequence
from zlib import crc32

import msgspec

from parsec.core.clock import Clock
from parsec.ports.store import Row
from parsec.process.steps import Block

PATIENCE = 100
PERIOD_S = 60.0
KEPT_TENANTS = 1000
_BITS = 32


class Bisect:
    """How many rows of each tenant were refused of late. Bounded; used by the processor's thread."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._since = clock.monotonic()
        self._refused: dict[str, int] = {}

    def note(self, rows: Sequence[Row]) -> None:
        """These rows were given up."""
        self._turn_over()
        for row in rows:
            if row.tenant_id in self._refused or len(self._refused) < KEPT_TENANTS:
                self._refused[row.tenant_id] = self._refused.get(row.tenant_id, 0) + 1

    def forget(self, rows: Sequence[Row]) -> None:
        """It was not the rows' fault after all."""
        for row in rows:
            if row.tenant_id in self._refused:
                self._refused[row.tenant_id] -= 1

    def hopeless(self, block: Block) -> bool:
        """No use in splitting it: a single row, or rows of a tenant with too many refusals of late."""
        if len(block.rows) == 1:
            return True
        self._turn_over()
        tenant = block.rows[0].tenant_id
        return self._refused.get(tenant, 0) >= PATIENCE and all(row.tenant_id == tenant for row in block.rows)

    def _turn_over(self) -> None:
        now = self._clock.monotonic()
        if now - self._since >= PERIOD_S:
            self._since = now
            self._refused.clear()


def halves(block: Block) -> list[Block]:
    """A block of several rows as two that both have rows."""
    if len({row.tenant_id for row in block.rows}) > 1 and (parts := _by_tenant(block)):
        return parts
    return _by_offset(block)


def _by_tenant(block: Block) -> list[Block] | None:
    """None when the hashes of all tenants are the same."""
    bits = [f"{crc32(row.tenant_id.encode()):0{_BITS}b}" for row in block.rows]
    for length in range(len(block.share), _BITS):
        left = [row for row, hashed in zip(block.rows, bits, strict=True) if hashed[length] == "0"]
        if 0 < len(left) < len(block.rows):
            right = [row for row, hashed in zip(block.rows, bits, strict=True) if hashed[length] == "1"]
            stem = bits[0][:length]
            replace = msgspec.structs.replace
            return [replace(block, rows=left, share=stem + "0"), replace(block, rows=right, share=stem + "1")]
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
