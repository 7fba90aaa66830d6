"""Rate limits of tenants in Redis or Valkey, shared by all ingest processes.

In: what one process wants. Out: what it gets. Errors: none from Redis, without an answer None; Fatal without the
driver. Next: parsec.ingest.rate_lease.

One script handles all wants of a call. A rate is a token bucket in a hash, filled by the server's clock, which expires
when it would be full again. Each process gets at most its share of the tokens, so that the others get theirs; what it
leaves is available a moment later. Processes that asked in the last LISTED_S have a share.
"""

from collections.abc import Sequence

from parsec.adapters.redis.link import Argument, RedisAddress, RedisLink
from parsec.core.clock import Clock
from parsec.ports.rate_leases import Leased, Want

LISTED_S = 10

MOST_WANTS = 1_000
"""Per script, since the server does nothing else meanwhile."""

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
    """Leases for any number of processes. `prefix`: of every key; `node`: a name that no other process has."""

    def __init__(self, server: RedisAddress, prefix: str, node: str, clock: Clock) -> None:
        self._link = RedisLink(server, clock, "each process limits tenants to its own part of their rates")
        self._lease = self._link.script(LEASE)
        self._key = f"{prefix}limits"
        self._node = node

    def lease(self, wants: Sequence[Want]) -> Leased | None:
        processes, amounts = 1, [0.0] * len(wants)
        for first in range(0, len(wants), MOST_WANTS):
            some = wants[first : first + MOST_WANTS]
            arguments: list[Argument] = [self._node, LISTED_S]
            for want in some:
                arguments += want
            answer = self._link.run(self._lease, self._key, arguments)
            if answer is None:
                return None
            processes = int(answer[0])
            amounts[first : first + len(some)] = map(float, answer[1:])
        return Leased(amounts, processes)

    def close(self) -> None:
        self._link.close()
