"""What runs inside the Redis server: both scripts begin by moving the clock and the generations on.

In: KEYS[1] is the stem of all keys. ARGV: moment, window (ms), ids, generations, time to live (ms), place, its name,
then records. Out: early (ids that left early), ids held, clock, since (ms), then index and value of each held record.
Errors: the server's own. Next: parsec.adapters.dedup.redis.

Keys: `<stem>` is a hash with the clock, `since`, and the list of generations as `name:newest` pairs, oldest first;
`<stem>:places` maps a place to its log and partition; `<stem>:<name>` is a generation, a hash of key to value. All of
them go by themselves when nobody claims anything for the time to live.
"""

KEY_BYTES = 16
VALUE_BYTES = 12
"""Place (6 bytes) and offset (6 bytes)."""

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
"""Records are key and value, no key twice and at most MOST_RECORDS of them. Held: by another value, which is given."""

MOST_RECORDS = 2_500
"""Lua passes at most 8,000 arguments, of which a record takes two; and the server does nothing else meanwhile."""

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
"""Records are key, value expected, value wanted; a wanted value of zeros gives the claim up."""
