"""How many clients are let in at once, and how often those of one address may ask.

In: connections as they come and go. Out: None, or why one is refused. Runs on the event loop.

1. At most `connections` are open that were let in, and a few more while they read why they were not.
2. At the bound a new client is worth more than one that has sent no whole request for a second: the longest of those
   give way. They are looked for at most ten times a second, so that a flood of connections costs little.
3. What is kept of addresses is bounded: those with an open connection, and the last ones that asked.
"""

from collections import Counter, OrderedDict
from collections.abc import Iterable
from heapq import nlargest
from ipaddress import IPv6Address, ip_address
from typing import Protocol

import msgspec

from parsec.telemetry import Telemetry
from parsec.web.http1.refusals import (
    BODY_TIMEOUT_S,
    GAVE_WAY,
    HEAD_TIMEOUT_S,
    MAX_HEAD_BYTES,
    MAX_URL_BYTES,
    MIN_BYTES_PER_S,
    REQUEST_RATE,
    SEND_TIMEOUT_S,
    TOO_MANY_CONNECTIONS,
    TOO_MANY_OF_ADDRESS,
    Refusal,
)

MOST_ADDRESSES = 10_000
LOOK_EVERY_S = 0.1
WAITS_LONG_S = 1.0
GIVE_WAY_SHARE, GIVE_WAY_LEAST = 20, 8
"""One in twenty of all connections gives way at once, or eight."""
READING_WHY = 64
"""So many refused clients at once are waited for until they have read why."""


class ClientLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Limits of one client; 0 turns a limit per address off. Times in seconds, rates per second."""

    connections: int
    connections_per_address: int = 0
    requests_per_address: float = 0.0
    head_timeout_s: float = HEAD_TIMEOUT_S
    body_timeout_s: float = BODY_TIMEOUT_S
    min_rate: float = MIN_BYTES_PER_S
    send_timeout_s: float = SEND_TIMEOUT_S
    max_head_bytes: int = MAX_HEAD_BYTES
    max_url_bytes: int = MAX_URL_BYTES


class Waiting(Protocol):
    """A connection as it looks from here."""

    def waited_s(self, now: float) -> float:
        """How long it has waited for a whole head; 0: it is being answered, or was not let in."""

    def give_way(self) -> None: ...


class ConnectionLimiter:
    """One per process."""

    def __init__(self, limits: ClientLimits, telemetry: Telemetry) -> None:
        self.limits = limits
        self._telemetry = telemetry
        self._inside = 0
        self._refused = 0
        self._leaving = 0  # of those inside, to make room
        self._looked_at = float("-inf")
        self._of_address: Counter[str] = Counter()
        self._allowances: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def enter(self, address: str, all_here: Iterable[Waiting], now: float) -> Refusal | None:
        """`leave` must follow if it is let in, `leave_refused` if not."""
        refusal = None
        if self._inside - self._leaving >= self.limits.connections and not self._make_room(all_here, now):
            refusal = TOO_MANY_CONNECTIONS
        most = self.limits.connections_per_address
        if most:
            if self._of_address[address] >= most:
                refusal = TOO_MANY_OF_ADDRESS
            elif refusal is None:
                self._of_address[address] += 1
        if refusal is None:
            self._inside += 1
            self._telemetry.http_connections.set(self._inside)
        else:
            self._refused += 1
        return refusal

    def leave(self, address: str, *, gave_way: bool) -> None:
        self._inside -= 1
        self._leaving -= gave_way
        self._telemetry.http_connections.set(self._inside)
        if self.limits.connections_per_address:
            self._of_address[address] -= 1
            if not self._of_address[address]:
                del self._of_address[address]

    def leave_refused(self) -> None:
        self._refused -= 1

    def may_read_why(self) -> bool:
        """Whether a refused client is given the time to read its answer."""
        return self._refused <= READING_WHY

    def ask(self, address: str, now: float) -> Refusal | None:
        """One request of an address: an allowance that refills, and holds one second's worth."""
        rate = self.limits.requests_per_address
        most = max(1.0, rate)
        left, at = self._allowances.pop(address, (most, now))
        left = min(most, left + (now - at) * rate)
        self._allowances[address] = (max(0.0, left - 1.0), now)
        if len(self._allowances) > MOST_ADDRESSES:
            self._allowances.popitem(last=False)
        return None if left >= 1.0 else REQUEST_RATE

    def count(self, code: str) -> None:
        """Of a refusal, or of a connection that was ended."""
        self._telemetry.http_refused.labels(code).inc()

    def _make_room(self, all_here: Iterable[Waiting], now: float) -> bool:
        if now - self._looked_at < LOOK_EVERY_S:
            return False
        self._looked_at = now
        waiting = [each for each in all_here if each.waited_s(now) >= WAITS_LONG_S]
        most = max(GIVE_WAY_LEAST, self.limits.connections // GIVE_WAY_SHARE)
        for each in nlargest(most, waiting, lambda it: it.waited_s(now)):
            each.give_way()
            self.count(GAVE_WAY)
            self._leaving += 1
        return bool(waiting)


def address_of(client: tuple[str, int] | None) -> str:
    """What is counted as one address: of IPv6 the network that one customer usually gets."""
    host = client[0] if client is not None else ""
    if ":" not in host:
        return host
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return f"{IPv6Address(int(address) >> 64 << 64)}/64"
