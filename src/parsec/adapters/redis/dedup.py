"""Claims in Redis or Valkey, shared by all processors.

In: batches of (tenant, id) with their positions. Out: which ids another position has claimed, if Redis answers.
Errors: none from Redis, whose failures are counted and logged; Fatal after `close` or without the driver.
Next: parsec.process.range_commit.

Invariants, cited by tests
 1. A claim is made by one script, so two processors never both get an id.
 2. No call takes longer than about DEADLINE_S plus one COMMAND_S, and after a failure none is tried for a while.
 3. Events without an answer are counted as unavailable and treated as new. A claim that Redis made and whose answer
    was lost is recognised later by its own position.
 4. The set's clock is the newest time of receipt that any processor has seen, and never goes back.
 5. At most ids * (1 + 1 / REDIS_GENERATIONS) and two chunks are kept. Every key expires when no processor claims for a
    while.

Two logs share claims only if they share a store: `prefix` must differ between stores, or a holder could never be
confirmed. An id takes 55 bytes in Valkey 9 and 93 in Redis 7 (bench/claims.py).
"""

import time
from collections.abc import Mapping, Sequence
from functools import partial
from hashlib import blake2b
from itertools import islice
from typing import Any

from parsec.adapters.redis.link import RedisAddress, RedisLink, Script
from parsec.core.clock import Clock
from parsec.core.errors import Fatal
from parsec.ports.dedup import Batch, Position, Window
from parsec.telemetry import Telemetry

KEY_BYTES = 16
VALUE_BYTES = 12
"""Digest of log and partition (6 bytes), offset (6 bytes)."""

_ADVANCE = """
local call, sub, max = redis.call, string.sub, math.max
local stem, moment, window, ids, count = KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4]
local ttl, blob = ARGV[5], ARGV[8]
local set = call('HMGET', stem, 'clock', 'since', 'generations')
local clock = max(moment, tonumber(set[1] or 0))
local since = tonumber(set[2] or clock)
local names, newest = {}, {}
for name, last in string.gmatch(set[3] or '', '(%d+):(%d+)') do
  names[#names + 1], newest[#newest + 1] = tonumber(name), tonumber(last)
end
local function key(name) return stem .. ':' .. string.format('%.0f', name) end
local sizes, held = {}, 0
for i, name in ipairs(names) do
  sizes[i] = call('HLEN', key(name))
  held = held + sizes[i]
end
local last = #names
if last == 0 or sizes[last] >= max(1, math.floor(ids / count)) or clock - names[last] >= math.floor(window / count) then
  last = last + 1
  names[last], newest[last], sizes[last] = max(clock, (names[last - 1] or 0) + 1), clock, 0
end
newest[last] = clock
local early, first = 0, 1
local function forget()
  call('UNLINK', key(names[first]))
  held = held - sizes[first]
  first = first + 1
end
while first < last and newest[first] <= clock - window do forget() end
while first < last and held - sizes[first] >= ids do
  early = early + sizes[first]
  since = max(since, newest[first])
  forget()
end
local line = {}
for i = first, last do line[#line + 1] = string.format('%.0f:%.0f', names[i], newest[i]) end
call('HSET', stem, 'clock', string.format('%.0f', clock), 'since', string.format('%.0f', since),
     'generations', table.concat(line, ' '))
call('HSET', stem .. ':places', ARGV[6], ARGV[7])
call('PEXPIRE', stem, ttl)
call('PEXPIRE', stem .. ':places', ttl)
local current = key(names[last])
local answer = {early, held, string.format('%.0f', clock), string.format('%.0f', since)}
"""

CLAIM = (
    _ADVANCE
    + """
local keys, values, n = {}, {}, 0
for at = 1, #blob, 28 do
  n = n + 1
  keys[n], values[n] = sub(blob, at, at + 15), sub(blob, at + 16, at + 27)
end
local taken, any = {}, false
for i = first, last do
  local found = call('HMGET', key(names[i]), unpack(keys))
  for at = 1, n do
    if found[at] then
      taken[at], any = true, true
      if found[at] ~= values[at] then
        answer[#answer + 1] = at
        answer[#answer + 1] = found[at]
      end
    end
  end
end
local fresh, size = {}, 0
for at = 1, n do
  if not any or not taken[at] then
    fresh[size + 1], fresh[size + 2] = keys[at], values[at]
    size = size + 2
  end
end
if size > 0 then
  call('HSET', current, unpack(fresh))
  call('PEXPIRE', current, ttl)
end
answer[2] = held + size / 2
return answer
"""
)
"""Records are key and value, no key twice and at most MOST_RECORDS. Answers the claims that have another value."""

MOST_RECORDS = 2_500
"""Lua passes at most 8,000 arguments, two of them per record; and the server does nothing else meanwhile."""

MOVE = (
    _ADVANCE
    + """
local absent = string.rep('\\0', 12)
for at = 1, #blob, 40 do
  local id, before, after = sub(blob, at, at + 15), sub(blob, at + 16, at + 27), sub(blob, at + 28, at + 39)
  local where, found = current, false
  for i = last, first, -1 do
    found = call('HGET', key(names[i]), id)
    if found then
      where = key(names[i])
      break
    end
  end
  if after == absent then
    if found == before then
      call('HDEL', where, id)
      held = held - 1
    end
  elseif not found or found == before then
    call('HSET', where, id, after)
    call('PEXPIRE', where, ttl)
    held = held + (found and 0 or 1)
  elseif found ~= after then
    answer[#answer + 1] = (at + 39) / 40
    answer[#answer + 1] = found
  end
end
answer[2] = held
return answer
"""
)
"""Records are key, value expected, value wanted; a wanted value of zeros releases the claim."""


REDIS_GENERATIONS = 3
"""Few, since each id is searched in all of them."""
DEADLINE_S = 0.5
KEPT_MS = 86_400_000
"""Beyond the window, so that claims survive while a store is down for hours: they age by receipt, not by the clock."""
_MASK = (1 << 48) - 1
_RELEASED = bytes(VALUE_BYTES)


class RedisDedup:
    """Dedup for any number of processors. `prefix`: of every key; it names the store that the claims belong to."""

    def __init__(self, server: RedisAddress, prefix: str, window: Window, telemetry: Telemetry, clock: Clock) -> None:
        self._link = RedisLink(server, clock, "events are stored without a check for duplicates")
        self._claim = self._link.script(CLAIM)
        self._move = self._link.script(MOVE)
        self._key = f"{prefix}claims"
        self._window_ms = int(window.seconds * 1000)
        self._limits = (self._window_ms, window.ids, REDIS_GENERATIONS, int(2.5 * self._window_ms) + KEPT_MS)
        self._telemetry = telemetry
        self._clock = clock
        self._partitions: dict[bytes, tuple[str, int]] = {}
        self._since_ms = self._now_ms = self._gap_ms = 0
        self._has_gap = False
        self._closed = False

    def claim(self, batch: Batch) -> Mapping[int, Position]:
        offsets, keys = batch.offsets, _keys_of(batch.tenants, batch.ids)
        first: dict[bytes, int] = {}
        for key, offset in zip(keys, offsets, strict=True):
            first.setdefault(key, offset)
        partition = self._partition(batch)
        records = [key + _value(partition, offset) for key, offset in first.items()]
        held = self._ask(self._claim, batch, partition, records, list(first.values()))
        if len(first) < len(keys):
            for key, offset in zip(keys, offsets, strict=True):
                if (earlier := first[key]) != offset:
                    held[offset] = held.get(earlier) or Position(batch.log_id, batch.partition, earlier)
        return held

    def take_over(self, batch: Batch, holders: Sequence[Position]) -> Mapping[int, Position]:
        partition = self._partition(batch)
        before = [_value(_digest(holder.log_id, holder.partition), holder.offset) for holder in holders]
        after = [_value(partition, offset) for offset in batch.offsets]
        records = list(map(b"".join, zip(_keys_of(batch.tenants, batch.ids), before, after, strict=True)))
        return self._ask(self._move, batch, partition, records, batch.offsets)

    def release(self, batch: Batch) -> None:
        partition = self._partition(batch)
        own = [_value(partition, offset) + _RELEASED for offset in batch.offsets]
        records = list(map(b"".join, zip(_keys_of(batch.tenants, batch.ids), own, strict=True)))
        self._ask(self._move, batch, partition, records, ())

    def wants_restore(self) -> bool:
        """Only while the shared set is young: new, or new again after a loss."""
        return self.effective_s() * 1000 < self._window_ms

    def effective_s(self) -> float:
        return max(0, min(self._window_ms, self._now_ms - self._since_ms)) / 1000

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._link.close()

    def _ask(
        self, script: Script, batch: Batch, partition: bytes, records: Sequence[bytes], offsets: Sequence[int]
    ) -> dict[int, Position]:
        """Runs the script over all records in chunks, until Redis fails or the deadline passes.

        `offsets`: of the records, if each is checked; empty for a release.
        """
        if self._closed:
            raise Fatal("the claims are closed")
        held: dict[int, Position] = {}
        moment_ms = min(batch.moment_ns, self._clock.time_ns()) // 1_000_000
        head = (moment_ms, *self._limits, partition, f"{batch.partition}/{batch.log_id}")
        began, at = self._clock.monotonic(), 0
        while at < len(records) and self._clock.monotonic() < began + DEADLINE_S:
            chunk = records[at : at + MOST_RECORDS]
            answer = self._link.run(script, self._key, (*head, b"".join(chunk)))
            if answer is None:
                break
            self._update(answer)
            for index, value in zip(islice(answer, 4, None, 2), islice(answer, 5, None, 2), strict=True):
                if offsets and (holder := self._position(value)):
                    held[offsets[at + index - 1]] = holder
            at += len(chunk)
            time.sleep(0)  # lets other threads run between two chunks
        if offsets and at < len(records):
            self._count_unchecked(len(records) - at)
        return held

    def _count_unchecked(self, events: int) -> None:
        self._has_gap = True
        self._telemetry.dedup_unavailable.inc(events)

    def _update(self, answer: Sequence[Any]) -> None:
        early, ids, self._now_ms, since_ms = map(int, answer[:4])
        # Ids of the unchecked events are in no claim, so the window begins anew.
        if self._has_gap:
            self._has_gap, self._gap_ms = False, self._now_ms
        self._since_ms = max(since_ms, self._gap_ms)
        self._telemetry.dedup_early.inc(early)
        self._telemetry.dedup_ids.set(ids)
        self._telemetry.dedup_window.set(self.effective_s())

    def _partition(self, batch: Batch) -> bytes:
        digest = _digest(batch.log_id, batch.partition)
        self._partitions[digest] = (batch.log_id, batch.partition)
        return digest

    def _position(self, value: bytes) -> Position | None:
        """None when Redis has lost the names of log and partition, together with the claims."""
        digest = value[:6]
        if digest not in self._partitions:
            name: Any = self._link.ask(partial(self._link.client.hget, f"{self._key}:places", digest))
            if name is None:
                self._count_unchecked(1)
                return None
            partition, _, log_id = name.decode().partition("/")
            self._partitions[digest] = (log_id, int(partition))
        return Position(*self._partitions[digest], int.from_bytes(value[6:], "big"))


def _keys_of(tenants: Sequence[str], ids: Sequence[str]) -> list[bytes]:
    """KEY_BYTES of BLAKE2b for each pair. No tenant has a NUL in its name, so that pairs are never confused."""
    return [
        blake2b(f"{tenant}\0{name}".encode("utf-8", "surrogatepass"), digest_size=KEY_BYTES).digest()
        for tenant, name in zip(tenants, ids, strict=True)
    ]


def _digest(log_id: str, partition: int) -> bytes:
    return blake2b(f"{partition}/{log_id}".encode(), digest_size=6).digest()


def _value(partition: bytes, offset: int) -> bytes:
    """The value of a claim: VALUE_BYTES that name a position."""
    return partition + (offset & _MASK).to_bytes(6, "big")
