"""Where the processes of one Parsec share what their tenants may send: each leases some of it ahead of its use.

Adapters: parsec.adapters.redis.rates, and tests/support/memory_leases.py for tests without a server.

All that is ever leased of one name is, in any time t, at most burst + per_s * t, plus what was taken on credit.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import msgspec


class Want(NamedTuple):
    """What one process wants of the rate that is shared under `name`. `owed` is spent already, on credit."""

    name: str
    per_s: float
    burst: float
    owed: float
    wanted: float


class Leased(msgspec.Struct, frozen=True):
    """For each want what is leased of it, 0 to `wanted`; and how many processes have asked in the last seconds."""

    amounts: Sequence[float]
    processes: int


class Leases(Protocol):
    """Called by one thread at a time."""

    def lease(self, wants: Sequence[Want]) -> Leased | None:
        """None: no answer, so nothing is leased and nothing of what is owed may be taken as settled.

        Takes about half a second at most. Raises nothing.
        """

    def close(self) -> None:
        """Safe to call twice."""
