"""Limit open connections, and connections and requests per client address.

In: connections as they open and close, requests as they begin. Out: None, or a Refusal. Runs on the event loop.
Next: parsec.web.http1.close.

1. At most `connections` admitted ones are open, and a few refused ones while their clients read why.
2. At the connection limit, evict the longest-idle clients: those that have sent no whole request head for a second.
   The search runs at most ten times a second, so that a flood of connections costs little.
3. Memory for addresses is bounded: those with an open connection, and the last ones that sent a request.
"""

import logging
from collections import Counter, OrderedDict
from collections.abc import Iterable
from heapq import nlargest
from ipaddress import IPv6Address, ip_address
from typing import Protocol

import msgspec
import structlog

from parsec.telemetry import Telemetry
from parsec.web.http1.allowed_hosts import AllowedHosts
from parsec.web.http1.refusals import (
    BODY_TIMEOUT_S,
    EVICTED,
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

_log = structlog.get_logger(__name__)

MAX_ADDRESSES = 10_000
EVICT_INTERVAL_S = 0.1
EVICTABLE_AFTER_S = 1.0
EVICT_SHARE, EVICT_LEAST = 20, 8
"""Evict one in twenty of all connections at once, but at least eight."""
MAX_LINGERING = 64
"""Refused connections that stay open at once, for their clients to read why."""


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


class Evictable(Protocol):
    """A connection that may be closed while it is idle."""

    def idle_s(self, now: float) -> float:
        """Seconds without a whole request head; 0 while a request is answered, and for a refused connection."""

    def evict(self) -> None:
        """Close at once."""


class ConnectionLimiter:
    """One per process."""

    def __init__(self, limits: ClientLimits, telemetry: Telemetry, hosts: AllowedHosts | None = None) -> None:
        """`hosts` None: any host name is served."""
        self.limits = limits
        self.hosts = hosts
        self.logs_refusals = _log.bind().is_enabled_for(logging.DEBUG)  # asked once, as in parsec.ingest.pipeline
        self._telemetry = telemetry
        self._admitted = 0
        self._refused = 0
        self._evicting = 0  # of the admitted, still closing
        self._evicted_at = float("-inf")
        self._of_address: Counter[str] = Counter()
        self._allowances: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def admit(self, address: str, all_here: Iterable[Evictable], now: float) -> Refusal | None:
        """A new connection. `release` must follow if it is admitted, `release_refused` if not."""
        refusal = None
        if self._admitted - self._evicting >= self.limits.connections and not self._evict_idle(all_here, now):
            refusal = TOO_MANY_CONNECTIONS
        most = self.limits.connections_per_address
        if most:
            if self._of_address[address] >= most:
                refusal = TOO_MANY_OF_ADDRESS
            elif refusal is None:
                self._of_address[address] += 1
        if refusal is None:
            self._admitted += 1
            self._telemetry.http_connections.set(self._admitted)
        else:
            self._refused += 1
        return refusal

    def release(self, address: str, *, evicted: bool) -> None:
        self._admitted -= 1
        self._evicting -= evicted
        self._telemetry.http_connections.set(self._admitted)
        if self.limits.connections_per_address:
            self._of_address[address] -= 1
            if not self._of_address[address]:
                del self._of_address[address]

    def release_refused(self) -> None:
        self._refused -= 1

    def may_linger(self) -> bool:
        """Whether a refused connection may stay open, for its client to read the answer."""
        return self._refused <= MAX_LINGERING

    def admit_request(self, address: str, now: float) -> Refusal | None:
        """A new request: a token bucket per address that holds the tokens of one second."""
        rate = self.limits.requests_per_address
        most = max(1.0, rate)
        left, at = self._allowances.pop(address, (most, now))
        left = min(most, left + (now - at) * rate)
        self._allowances[address] = (max(0.0, left - 1.0), now)
        if len(self._allowances) > MAX_ADDRESSES:
            self._allowances.popitem(last=False)
        return None if left >= 1.0 else REQUEST_RATE

    def count(self, code: str) -> None:
        """Count a refusal, or a connection that was closed, under its code."""
        self._telemetry.http_refused.labels(code).inc()

    def _evict_idle(self, all_here: Iterable[Evictable], now: float) -> bool:
        if now - self._evicted_at < EVICT_INTERVAL_S:
            return False
        self._evicted_at = now
        waiting = [each for each in all_here if each.idle_s(now) >= EVICTABLE_AFTER_S]
        most = max(EVICT_LEAST, self.limits.connections // EVICT_SHARE)
        for each in nlargest(most, waiting, lambda it: it.idle_s(now)):
            each.evict()
            self.count(EVICTED)
            self._evicting += 1
        return bool(waiting)


def address_of(client: tuple[str, int] | None) -> str:
    """The client address that limits apply to: with IPv6 the /64 network, which one customer usually gets."""
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
