-- luacheck: std lua51, read globals KEYS ARGV redis cmsgpack struct, max line length 120
--
-- Runs operations on quota counters: admit, peek, settle, reset. Lua 5.1, as Redis 6.2 and later and Valkey run it.
--
-- Promises: all operations of a call see one time. Each operation reads all of its counters before it writes any. A
-- refusal writes nothing. A call that is sent again after its reply was lost is answered and not run again.
--
-- KEYS[1]    the marker, which remembers one caller's latest reply
-- KEYS[2..]  partition keys
-- ARGV[1]    now; empty: the server's time
-- ARGV[2]    the latest time at which the call may still decide; empty: no bound
-- ARGV[3]    how long the marker remembers the reply; 0: not at all
-- ARGV[4]    how much longer than their counters keys live
-- ARGV[5]    the number of the call
-- ARGV[6]    the number of policies
-- ARGV[7..]  the policies, packed by layout.ts, then the operations, packed by operation.ts
--
-- All times are milliseconds.
--
-- One Redis string holds all counters of a partition key, big-endian:
--   version 1 byte, then for each counter: tag 3 (hash of the policy's id), kind and generation 1, and
--   day     end of the day in seconds 4, units 2 (wide day: 7)
--   narrow  origin in seconds 4, units 2, entries 2, then the entries by rising time: ms from the origin 4, units 1
--   wide    origin in seconds 4, units 4, entries 2, then the entries by rising time: ms from the origin 5, units 4
-- If the units of a wide window do not fit, they are the sum of its entries. A counter that has given units back has
-- another beside it, its tally: a log of the units that were given back, at the times of their charges.
-- With one request in a window and a daily quota, this is 28 bytes: the most that fits in one of the sizes in which
-- Redis allocates memory. One byte more would cost the next size.
local VERSION = 3
local DAY, NARROW, WIDE, WIDE_DAY = 0, 1, 2, 3
local HEAD = { [DAY] = '>I4I2', [NARROW] = '>I4I2I2', [WIDE] = '>I4I4I2', [WIDE_DAY] = '>I4I7' }
local HEAD_BYTES = { [DAY] = 10, [NARROW] = 12, [WIDE] = 14, [WIDE_DAY] = 15 }
local WIDTH = { [NARROW] = 5, [WIDE] = 9 }
local FORMAT = { [NARROW] = '>I4B', [WIDE] = '>I5I4' }
local MOST = { [NARROW] = 255, [WIDE] = 4294967295 }
-- A larger total is stored in more bytes. A total that is larger than any entry is the sum of the entries.
local SMALL_TOTAL, LARGE_TOTAL = 65535, 4294967295
-- The largest number that is exact.
local MAX_EXACT = 9007199254740991
local REFUSED, ADMITTED, OTHER_DAY, LATE, WRONG_TYPE, FOREIGN, FAILED, LOST = 0, 1, 2, 3, 4, 5, 6, 7

local pack, unpack_struct, sub, byte = struct.pack, struct.unpack, string.sub, string.byte
local min, max, floor, ceil = math.min, math.max, math.floor, math.ceil

local call_number = tonumber(ARGV[5])
local answered = redis.call('GET', KEYS[1])
if answered then
  local remembered = cmsgpack.unpack(answered)
  if remembered[1] == call_number then return remembered[2] end
  -- Calls arrive in order. This one has run, and the reply of a later call has replaced its own.
  if remembered[1] > call_number then return { LOST, redis.call('TIME')[1] * 1000 } end
end

local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000 + floor(time[2] / 1000)
  local latest = tonumber(ARGV[2])
  -- The caller has stopped waiting, so nothing may be charged.
  if latest and now > latest then return { LATE, now } end
end
local marker_ttl, slack = tonumber(ARGV[3]), tonumber(ARGV[4])

local policies = {}
for i = 1, tonumber(ARGV[6]) do
  local tag, tally, kind, limit, a, b = unpack_struct('>c3c3BI4dd', ARGV[6 + i])
  -- For a day, a and b are its start and end. For a window, they are its length and granule.
  policies[i] = { tag = tag, tally = tally, kind = kind, limit = limit, start = a, stop = b, window = a, granule = b }
end

-- Values ---------------------------------------------------------------------------------------------------------

local function sum_of_entries(kind, data)
  local sum = 0
  for at = 1, #data, WIDTH[kind] do
    local _, units = unpack_struct(FORMAT[kind], data, at)
    sum = sum + units
  end
  return sum
end

local function parse(raw)
  local counters, order = {}, {}
  local at, length = 2, #raw
  while at <= length do
    local tag, flags = sub(raw, at, at + 2), byte(raw, at + 3) or 0
    local kind = flags % 4
    local counter
    local entries = at + HEAD_BYTES[kind]
    if entries > length + 1 then return nil end
    local generation = (flags - kind) / 4
    if WIDTH[kind] then
      local origin, total, count = unpack_struct(HEAD[kind], raw, at + 4)
      at = entries + count * WIDTH[kind]
      if at > length + 1 then return nil end
      local data = sub(raw, entries, at - 1)
      if total == LARGE_TOTAL then total = sum_of_entries(kind, data) end
      counter = {
        tag = tag, kind = kind, generation = generation, total = total, origin = origin * 1000, count = count,
        data = data, first = 1,
      }
    else
      local stop, total = unpack_struct(HEAD[kind], raw, at + 4)
      at = entries
      counter = { tag = tag, kind = DAY, generation = generation, total = total, stop = stop * 1000 }
    end
    counters[tag] = counter
    order[#order + 1] = counter
  end
  return counters, order
end

local NONE = {}
local loaded = {}
-- The values to save.
local dirty = {}

local function load(index)
  local value = loaded[index]
  if value then return value end
  value = { key = KEYS[index], ttl = 0, counters = NONE, order = NONE }
  local raw = redis.pcall('GET', value.key)
  if type(raw) == 'table' then
    value.failure = sub(raw.err or '', 1, 9) == 'WRONGTYPE' and WRONG_TYPE or FAILED
  elseif raw then
    local counters, order
    if byte(raw, 1) == VERSION then counters, order = parse(raw) end
    if counters then value.counters, value.order = counters, order else value.failure = FOREIGN end
  else
    value.counters, value.order = {}, {}
  end
  loaded[index] = value
  return value
end

local function add(value, counter)
  value.counters[counter.tag] = counter
  value.order[#value.order + 1] = counter
  return counter
end

-- Windows --------------------------------------------------------------------------------------------------------

local function entry(window, i)
  local width = WIDTH[window.kind]
  local offset, units = unpack_struct(FORMAT[window.kind], window.data, window.first + i * width)
  return window.origin + offset, units
end

local function drop_oldest(window)
  local _, units = entry(window, 0)
  window.total = window.total - units
  window.first = window.first + WIDTH[window.kind]
  window.count = window.count - 1
end

-- The oldest entry decides when units become free, so it must hold some.
local function drop_empty(window)
  while window.count > 0 do
    local _, units = entry(window, 0)
    if units > 0 then return end
    drop_oldest(window)
  end
end

local function evict(window, cutoff)
  local dropped = false
  while window.count > 0 and entry(window, 0) <= cutoff do
    drop_oldest(window)
    dropped = true
  end
  if dropped then drop_empty(window) end
end

-- The time of the entry whose expiry frees at least `units` units, counted from the oldest.
local function time_of_units(window, units)
  local sum = 0
  for i = 0, window.count - 1 do
    local time, held = entry(window, i)
    sum = sum + held
    if sum >= units then return time end
  end
  return nil
end

local function encode(window, time, units)
  local pieces, most = {}, MOST[window.kind]
  repeat
    local piece = min(units, most)
    pieces[#pieces + 1] = pack(FORMAT[window.kind], time - window.origin, piece)
    units = units - piece
  until units <= 0
  return table.concat(pieces), #pieces
end

-- Encodes all entries again, as another kind or from a later origin.
local function rewrite(window, kind, time)
  local times, held = {}, {}
  for i = 0, window.count - 1 do times[i + 1], held[i + 1] = entry(window, i) end
  window.kind, window.data, window.first = kind, '', 1
  window.origin = floor((times[1] or time) / 1000) * 1000
  local pieces, count = {}, 0
  for i, at in ipairs(times) do
    local piece, number = encode(window, at, held[i])
    pieces[i] = piece
    count = count + number
  end
  window.data, window.count = table.concat(pieces), count
end

local function push(window, kind, time, units)
  local added = units
  if window.count == 0 then
    window.kind, window.data, window.first = kind, '', 1
    window.origin = floor(time / 1000) * 1000
  else
    if kind > window.kind then rewrite(window, kind, time) end
    local newest, held = entry(window, window.count - 1)
    -- If the clock went backwards, the charge counts with the newest entry.
    if newest > time then time = newest end
    if window.kind == NARROW and time - window.origin > 4294967295 then rewrite(window, NARROW, time) end
    if newest == time and held + units <= MOST[window.kind] then
      window.data = sub(window.data, 1, -WIDTH[window.kind] - 1)
      window.count = window.count - 1
      units = units + held
    end
  end
  local data, count = encode(window, time, units)
  window.data = window.data .. data
  window.count = window.count + count
  window.total = window.total + added
  return time
end

-- Moves the entries later than `latest` to now. Returns whether there were any.
local function bring_back(window, latest)
  local units = 0
  while window.count > 0 do
    local time, held = entry(window, window.count - 1)
    if time <= latest then break end
    units = units + held
    window.count = window.count - 1
    window.data = sub(window.data, 1, -WIDTH[window.kind] - 1)
  end
  if units == 0 then return false end
  window.total = window.total - units
  push(window, window.kind, now, units)
  return true
end

-- The entries of exactly this time: the number before the first, the number of the last, and their units. Nil if there
-- are none.
local function entries_at(window, time)
  local last
  for i = window.count - 1, 0, -1 do
    local at = entry(window, i)
    if at == time and not last then last = i end
    if at < time then break end
  end
  if not last then return nil end
  local from, held = last, 0
  while from >= 0 do
    local at, units = entry(window, from)
    if at ~= time then break end
    held = held + units
    from = from - 1
  end
  return from, last, held
end

-- Adds delta units (or removes them) in the entries of exactly this time. If they have expired, changes nothing.
local function correct(window, time, delta)
  -- A narrow entry holds at most 255 units: many units would be many entries.
  if delta > MOST[NARROW] and window.kind == NARROW then rewrite(window, WIDE, time) end
  local from, last, held = entries_at(window, time)
  if not from then return end
  local after = min(MOST[WIDE], max(0, held + delta))
  local width = WIDTH[window.kind]
  local data, count = '', 0
  -- The newest entry stays even when it is empty: no later charge may get an earlier time.
  if after > 0 or last == window.count - 1 then data, count = encode(window, time, after) end
  window.data = sub(window.data, 1, window.first + (from + 1) * width - 1)
    .. data .. sub(window.data, window.first + (last + 1) * width)
  window.count = window.count - (last - from) + count
  window.total = window.total + after - held
  drop_empty(window)
end

local function save(value)
  local parts = { string.char(VERSION) }
  local ttl, others = value.ttl, false
  for _, counter in ipairs(value.order) do
    if not counter.charged then others = true end
    local kind, large = counter.kind, counter.total > SMALL_TOTAL
    if kind == DAY then
      if large then kind = WIDE_DAY end
      parts[#parts + 1] = counter.tag
        .. pack('B' .. HEAD[kind], kind + counter.generation * 4, counter.stop / 1000, min(counter.total, MAX_EXACT))
    else
      if large and kind == NARROW then
        rewrite(counter, WIDE, now)
        kind = WIDE
      end
      parts[#parts + 1] = counter.tag
        .. pack('B' .. HEAD[kind], kind + counter.generation * 4, counter.origin / 1000,
          min(counter.total, LARGE_TOTAL), counter.count)
      parts[#parts + 1] = counter.first == 1 and counter.data or sub(counter.data, counter.first)
    end
  end
  ttl = ttl + slack
  -- A counter that this call did not charge may live longer.
  if others then ttl = max(ttl, redis.call('PTTL', value.key)) end
  redis.call('SET', value.key, table.concat(parts), 'PX', string.format('%d', max(1, ttl)))
end

-- Operations -----------------------------------------------------------------------------------------------------

local reply, size = { ADMITTED, now }, 2
local function answer(value)
  size = size + 1
  reply[size] = value
end

-- The charges of the current operation.
local values, rules, counters = {}, {}, {}

-- Reads the operation's charges, each a key and a policy, and returns their number.
local function read_charges(operation, at)
  local n = (#operation - at + 1) / 4
  for i = 1, n do
    local key, policy = unpack_struct('>I2I2', operation, at)
    values[i], rules[i] = load(key), policies[policy]
    at = at + 4
  end
  return n
end

-- Forgets what no longer counts. What is further ahead than a window or day was charged while the clock was wrong, and
-- counts as now: it would otherwise stay until the clock is where it was.
local function refresh(value, policy, counter)
  if policy.kind == DAY then
    if counter.stop < policy.stop then counter.total = 0 end
    if counter.stop > policy.stop then dirty[value] = true end
    counter.stop = policy.stop
  else
    if bring_back(counter, now + policy.window) then dirty[value] = true end
    evict(counter, now - policy.window)
  end
end

-- A policy's counter as it is now, or nil. OTHER_DAY if the caller sent a day that is not today.
local function look(value, policy)
  if value.failure then return nil, value.failure end
  local counter = value.counters[policy.tag]
  if counter and (counter.kind == DAY) ~= (policy.kind == DAY) then return nil, FOREIGN end
  if policy.kind == DAY and (now < policy.start or now >= policy.stop) then return nil, OTHER_DAY end
  if counter then refresh(value, policy, counter) end
  return counter
end

-- When more units become free. If a correction put more units in use than the limit, several entries must expire.
local function reset_at(policy, counter)
  if policy.kind == DAY then return counter and counter.stop or policy.stop end
  if not counter or counter.count == 0 then return now end
  local over = counter.total - policy.limit
  local time = over < 1 and entry(counter, 0) or time_of_units(counter, over + 1)
  return time + policy.window
end

local function retry_at(policy, counter, units)
  if units > policy.limit then return -1 end
  if policy.kind == DAY then return counter.stop end
  return time_of_units(counter, counter.total + units - policy.limit) + policy.window
end

local function new_counter(tag, policy)
  if policy.kind == DAY then return { tag = tag, kind = DAY, generation = 0, total = 0, stop = policy.stop } end
  return {
    tag = tag, kind = policy.kind, generation = 0, total = 0, origin = 0, count = 0, data = '', first = 1,
  }
end

-- Charges units. Returns the counter, and the time of the entry or the end of the day that holds the charge.
local function put(value, policy, counter, units)
  local time, ttl
  if policy.kind == DAY then
    counter = counter or add(value, new_counter(policy.tag, policy))
    counter.total = counter.total + units
    time, ttl = counter.stop, counter.stop - now
  else
    counter = counter or add(value, new_counter(policy.tag, policy))
    -- Rounded up: a unit may be forgotten late, never early.
    local granule = policy.granule
    time = push(counter, policy.kind, granule > 1 and ceil(now / granule) * granule or now, units)
    ttl = time + policy.window - now
  end
  counter.charged = true
  if ttl > value.ttl then value.ttl = ttl end
  dirty[value] = true
  return counter, time
end

-- force 1 charges beyond the limit: the units were already admitted elsewhere.
local function admit(operation)
  local force, units = unpack_struct('>BI4', operation, 2)
  local n = read_charges(operation, 7)
  local status = ADMITTED
  for i = 1, n do
    local counter, failure = look(values[i], rules[i])
    counters[i] = counter or false
    if failure then
      if status == ADMITTED or status == REFUSED then status = failure end
    elseif force == 0 and status == ADMITTED and (counter and counter.total or 0) + units > rules[i].limit then
      status = REFUSED
    end
  end
  answer(status)
  if status ~= ADMITTED and status ~= REFUSED then return end
  for i = 1, n do
    local policy, counter = rules[i], counters[i]
    if status == ADMITTED then
      local time
      counter, time = put(values[i], policy, counter, units)
      answer(min(counter.total, MAX_EXACT))
      answer(reset_at(policy, counter))
      answer(time)
      answer(counter.generation)
    else
      local total = counter and counter.total or 0
      answer(min(total, MAX_EXACT))
      answer(reset_at(policy, counter))
      answer(total + units > policy.limit and retry_at(policy, counter, units) or 0)
      answer(0)
    end
  end
end

local function peek(operation)
  local n = read_charges(operation, 2)
  local status = ADMITTED
  for i = 1, n do
    local counter, failure = look(values[i], rules[i])
    counters[i] = counter or false
    if failure and status == ADMITTED then status = failure end
  end
  answer(status)
  if status ~= ADMITTED then return end
  for i = 1, n do
    answer(counters[i] and min(counters[i].total, MAX_EXACT) or 0)
    answer(reset_at(rules[i], counters[i]))
  end
end

-- How many of `units` units of the charge at `time` may be given back: the units given back for the charges of any one
-- window or day never exceed the policy's limit. They are noted in the tally, and forgotten with the charge or later.
local function give_back(value, policy, counter, time, units)
  local tally, held = value.counters[policy.tally], counter.total
  if policy.kind == DAY then
    if tally and tally.stop < time then tally.total = 0 end
  else
    local _, _, units_at = entries_at(counter, time)
    held = units_at or 0
    if tally then refresh(value, policy, tally) end
  end
  local given = max(0, min(units, held, policy.limit - (tally and tally.total or 0)))
  if given == 0 then return 0 end
  tally = tally or add(value, new_counter(policy.tally, policy))
  if policy.kind == DAY then
    tally.stop, tally.total = time, tally.total + given
  else
    push(tally, policy.kind, time, given)
  end
  return given
end

-- bounded 0 gives back all that a request had charged that was not admitted in the end.
local function settle(operation)
  local bounded, delta = unpack_struct('>Bd', operation, 2)
  local status = ADMITTED
  for at = 11, #operation, 13 do
    local key, place, generation, time = unpack_struct('>I2I2Bd', operation, at)
    local value, policy = load(key), policies[place]
    local counter, failure = look(value, policy)
    -- Around midnight, the caller may have taken another day for today. The charge names its own.
    if failure == OTHER_DAY then counter, failure = value.counters[policy.tag], nil end
    if failure then
      status = failure
    elseif counter and counter.generation == generation and (counter.kind ~= DAY or counter.stop == time) then
      local change = delta
      if bounded == 1 and delta < 0 then change = -give_back(value, policy, counter, time, -delta) end
      if counter.kind == DAY then
        counter.total = max(0, counter.total + change)
      else
        correct(counter, time, change)
      end
      dirty[value] = true
    end
  end
  answer(status)
end

-- The emptied counter stays, with the next generation, so that earlier admissions can no longer be settled in it.
local function reset(operation)
  local status = ADMITTED
  for at = 2, #operation, 4 do
    local key, place = unpack_struct('>I2I2', operation, at)
    local value = load(key)
    if value.failure then status = value.failure end
    for _, tag in ipairs({ policies[place].tag, policies[place].tally }) do
      local counter = value.counters[tag]
      if counter then
        counter.generation = (counter.generation + 1) % 64
        counter.total, counter.count, counter.data, counter.first = 0, 0, '', 1
        dirty[value] = true
      end
    end
  end
  answer(status)
end

local run = { admit, peek, settle, reset }
for i = #policies + 7, #ARGV do run[byte(ARGV[i], 1)](ARGV[i]) end
for value in pairs(dirty) do save(value) end
if marker_ttl > 0 then
  redis.call('SET', KEYS[1], cmsgpack.pack({ call_number, reply }), 'PX', string.format('%d', marker_ttl))
end
return reply
