"""Leases among the processes of one test: what parsec.adapters.redis.rates does, without a server."""

from collections.abc import Sequence

from parsec.core.clock import Clock
from parsec.ports.rate_leases import Leased, Want

LISTED_S = 10.0


class MemoryBank:
    """What all of them share."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.levels: dict[str, tuple[float, float]] = {}
        self.seen: dict[str, float] = {}


class MemoryLeases:
    """Of one process. `away`: no answer."""

    def __init__(self, bank: MemoryBank, node: str) -> None:
        self._bank = bank
        self._node = node
        self.away = False

    def lease(self, wants: Sequence[Want]) -> Leased | None:
        if self.away:
            return None
        now = self._bank.clock.monotonic()
        self._bank.seen[self._node] = now
        processes = sum(now - at < LISTED_S for at in self._bank.seen.values())
        amounts = []
        for want in wants:
            level, at = self._bank.levels.get(want.name, (want.burst, now))
            level = min(want.burst, level + (now - at) * want.per_s) - want.owed
            amount = max(0.0, min(want.wanted, level / processes))
            self._bank.levels[want.name] = level - amount, now
            amounts.append(amount)
        return Leased(amounts, processes)

    def close(self) -> None:
        self.away = True
