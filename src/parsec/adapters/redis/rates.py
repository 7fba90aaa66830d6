"""Rates of tenants in Redis or Valkey, shared by all processes that take events in.

In: what one process wants. Out: what it gets. Errors: none from Redis, whose silence is None; Fatal without the driver.
Next: parsec.ingest.rate_lease.

All wants of one call are one script. A rate is a bucket in a hash of its own, filled by the server's clock; it goes by
itself once it would be full again. Each process gets at most its part of what is there, so that nobody comes too late;
what it leaves is there a moment later. Processes that have asked in the last LISTED_S count as parts.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

from parsec.adapters.redis.link import RedisAddress, RedisLink
from parsec.core.clock import Clock
from parsec.ports.rate_leases import Leased, Want

LISTED_S = 10

MOST_WANTS = 1_000
"""In one script, since the server does nothing else meanwhile."""

LEASE = """
local call, stem, node, listed = redis.call, KEYS[1], ARGV[1], tonumber(ARGV[2])
local clock = call('TIME')
local now = tonumber(clock[1]) + tonumber(clock[2]) / 1000000
local nodes = stem .. ':processes'
call('ZADD', nodes, now, node)
call('ZREMRANGEBYSCORE', nodes, '-inf', now - listed)
call('EXPIRE', nodes, 10 * listed)
local parts = call('ZCARD', nodes)
local answer = {tostring(parts)}
for at = 3, #ARGV, 5 do
  local key, rate, burst = stem .. ':' .. ARGV[at], tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
  local owed, wanted = tonumber(ARGV[at + 3]), tonumber(ARGV[at + 4])
  local was = call('HMGET', key, 'level', 'at')
  local level = burst
  if was[1] then level = math.min(burst, tonumber(was[1]) + math.max(0, now - tonumber(was[2])) * rate) end
  level = level - owed
  local leased = math.max(0, math.min(wanted, level / parts))
  level = level - leased
  call('HSET', key, 'level', string.format('%.17g', level), 'at', string.format('%.17g', now))
  call('PEXPIRE', key, string.format('%.0f', math.min(1e12, 1000 + 1000 * (burst - level) / rate)))
  answer[#answer + 1] = string.format('%.17g', leased)
end
return answer
"""


class RedisLeases:
    """Leases for any number of processes. `stem` begins every key; `node` is a name that no other process has."""

    def __init__(self, server: RedisAddress, stem: str, node: str, clock: Clock) -> None:
        self._link = RedisLink(server, clock, "each process limits tenants to its own part of their rates")
        self._lease = self._link.script(LEASE)
        self._stem = f"{stem}limits"
        self._node = node

    def lease(self, wants: Sequence[Want]) -> Leased | None:
        processes, amounts = 1, [0.0] * len(wants)
        for first in range(0, len(wants), MOST_WANTS):
            some = wants[first : first + MOST_WANTS]
            arguments: list[str | float] = [self._node, LISTED_S]
            for want in some:
                arguments += want
            answer: Any = self._link.ask(partial(self._lease, self._stem, arguments))
            if answer is None:
                return None
            processes = int(answer[0])
            amounts[first : first + len(some)] = map(float, answer[1:])
        return Leased(amounts, processes)

    def close(self) -> None:
        self._link.close()
