"""Rate limits shared by processes: each leases a part of a tenant's rate before using it.

Adapters: parsec.adapters.redis.rates, and tests/support/memory_leases.py for tests without a server.

In any time t at most burst + per_s * t is leased under one name, plus what was used on credit.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import msgspec


class Want(NamedTuple):
    """The part of a rate that one process wants. `name`: of the shared rate. `owed`: already used, on credit."""

    name: str
    per_s: float
    burst: float
    owed: float
    wanted: float


class Leased(msgspec.Struct, frozen=True):
    """The amount leased for each want, 0 to `wanted`; and the number of processes that asked in the last seconds."""

    amounts: Sequence[float]
    processes: int


class Leases(Protocol):
    """Used by one thread at a time."""

    def lease(self, wants: Sequence[Want]) -> Leased | None:
        """None: no answer, so nothing is leased and `owed` is still owed.

        Blocks for about half a second at most. Raises nothing.
        """

    def close(self) -> None:
        """Safe to call twice."""
