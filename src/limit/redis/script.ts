/** The script that every operation goes through, in Lua 5.1 as Redis 6.2 and later and Valkey run it. */
export const SCRIPT = `-- Decides a batch of operations on quota counters. KEYS[1] remembers this batch's reply, so that a batch which is sent
-- again after a lost reply is answered and not run again; KEYS[2] and on are partition keys. All operations see one
-- time; each reads all of its counters before it writes any, and a refusal writes nothing.
--
-- One Redis string holds all counters of a partition key, big-endian:
--   version 1 byte, then for each counter: tag 4 (hash of the policy's id), kind and generation 1, and
--   day     end of the day in seconds 4, units 4
--   window  origin in seconds 4, units 4, entries 2, then the entries, times rising:
--           narrow  milliseconds from the origin 4, units 1
--           wide    milliseconds from the origin 5, units 4
local VERSION = 1
local DAY, NARROW, WIDE = 0, 1, 2
local WIDTH = { [NARROW] = 5, [WIDE] = 9 }
local FORMAT = { [NARROW] = '>I4B', [WIDE] = '>I5I4' }
local MOST = { [NARROW] = 255, [WIDE] = 4294967295 }
local MAX_TOTAL = 4294967295
local REFUSED, ADMITTED, OTHER_DAY, LATE, WRONG_TYPE, FOREIGN, FAILED = 0, 1, 2, 3, 4, 5, 6

local pack, unpack_struct, sub, byte = struct.pack, struct.unpack, string.sub, string.byte

local answered = redis.call('GET', KEYS[1])
if answered then return cmsgpack.unpack(answered) end

local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
  local latest = tonumber(ARGV[2])
  -- Whoever asked has stopped waiting: nothing may be charged any more.
  if latest and now > latest then return { LATE, now } end
end
local markerTtl, slack = tonumber(ARGV[3]), tonumber(ARGV[4])

-- Values ---------------------------------------------------------------------------------------------------------

local function parse(raw)
  local counters, order = {}, {}
  local at, length = 2, #raw
  while at <= length do
    if at + 12 > length then return nil end
    local tag = sub(raw, at, at + 3)
    local flags = byte(raw, at + 4)
    local counter = { tag = tag, kind = flags % 4, generation = math.floor(flags / 4) }
    if counter.kind == DAY then
      counter.stop, counter.total = unpack_struct('>I4I4', raw, at + 5)
      counter.stop = counter.stop * 1000
      at = at + 13
    elseif WIDTH[counter.kind] then
      if at + 14 > length then return nil end
      counter.origin, counter.total, counter.count = unpack_struct('>I4I4I2', raw, at + 5)
      counter.origin = counter.origin * 1000
      local bytes = counter.count * WIDTH[counter.kind]
      if at + 14 + bytes > length then return nil end
      counter.data, counter.first = sub(raw, at + 15, at + 14 + bytes), 1
      at = at + 15 + bytes
    else
      return nil
    end
    counters[tag] = counter
    order[#order + 1] = counter
  end
  return counters, order
end

local loaded = {}

local function load(index)
  local value = loaded[index]
  if value then return value end
  value = { key = KEYS[index], counters = {}, order = {}, ttl = 0 }
  local raw = redis.pcall('GET', value.key)
  if type(raw) == 'table' then
    value.failure = sub(raw.err or '', 1, 9) == 'WRONGTYPE' and WRONG_TYPE or FAILED
  elseif raw then
    value.existed = true
    local counters, order
    if byte(raw, 1) == VERSION then counters, order = parse(raw) end
    if counters then value.counters, value.order = counters, order else value.failure = FOREIGN end
  end
  loaded[index] = value
  return value
end

local function save(value)
  local parts = { string.char(VERSION) }
  for _, counter in ipairs(value.order) do
    local flags = counter.kind + counter.generation * 4
    if counter.kind == DAY then
      parts[#parts + 1] = counter.tag .. pack('>BI4I4', flags, counter.stop / 1000, counter.total)
    else
      parts[#parts + 1] = counter.tag .. pack('>BI4I4I2', flags, counter.origin / 1000, counter.total, counter.count)
      parts[#parts + 1] = counter.first == 1 and counter.data or sub(counter.data, counter.first)
    end
  end
  local ttl = value.ttl + slack
  if value.existed then ttl = math.max(ttl, redis.call('PTTL', value.key)) end
  redis.call('SET', value.key, table.concat(parts), 'PX', string.format('%d', math.max(1, ttl)))
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

-- The oldest entry tells when units come free, so it must hold some.
local function drop_empty(window)
  while window.count > 0 do
    local _, units = entry(window, 0)
    if units > 0 then return end
    drop_oldest(window)
  end
end

local function evict(window, deadline)
  local dropped = false
  while window.count > 0 and entry(window, 0) <= deadline do
    drop_oldest(window)
    dropped = true
  end
  if dropped then drop_empty(window) end
end

-- Time of the entry with which units units, counted from the oldest, will have left.
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
    local piece = math.min(units, most)
    pieces[#pieces + 1] = pack(FORMAT[window.kind], time - window.origin, piece)
    units = units - piece
  until units <= 0
  return table.concat(pieces), #pieces
end

-- Writes all entries anew, for another kind or a later origin.
local function rewrite(window, kind, time)
  local times, held = {}, {}
  for i = 0, window.count - 1 do times[i + 1], held[i + 1] = entry(window, i) end
  window.kind, window.data, window.first = kind, '', 1
  window.origin = math.floor((times[1] or time) / 1000) * 1000
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
    window.origin = math.floor(time / 1000) * 1000
  else
    if kind > window.kind then rewrite(window, kind, time) end
    local newest, held = entry(window, window.count - 1)
    -- Where the clock has run backwards, what comes now counts with the newest.
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
  window.total = math.min(MAX_TOTAL, window.total + added)
  return time
end

-- Adds delta units, or takes them away, in the entries of exactly this time; nothing where they have left.
local function correct(window, time, delta)
  -- Many units would be many narrow entries.
  if delta > MOST[NARROW] and window.kind == NARROW then rewrite(window, WIDE, time) end
  local last
  for i = window.count - 1, 0, -1 do
    local at = entry(window, i)
    if at == time and not last then last = i end
    if at < time then break end
  end
  if not last then return end
  local from, held = last, 0
  while from >= 0 do
    local at, units = entry(window, from)
    if at ~= time then break end
    held = held + units
    from = from - 1
  end
  local after = math.min(MAX_TOTAL, math.max(0, held + delta))
  local width = WIDTH[window.kind]
  local data, count = '', 0
  -- The newest entry stays, though empty: it holds the clock.
  if after > 0 or last == window.count - 1 then data, count = encode(window, time, after) end
  window.data = sub(window.data, 1, window.first + (from + 1) * width - 1)
    .. data .. sub(window.data, window.first + (last + 1) * width)
  window.count = window.count - (last - from) + count
  window.total = math.min(MAX_TOTAL, window.total + after - held)
  drop_empty(window)
end

-- Operations -----------------------------------------------------------------------------------------------------

local cursor = 4
local function argument()
  cursor = cursor + 1
  return ARGV[cursor]
end
local function number() return tonumber(argument()) end

local reply = { ADMITTED, now }
local function answer(value) reply[#reply + 1] = value end

-- A charge: which key, which counter, and what its policy says.
local function charge()
  local c = { value = load(number()), tag = argument(), kind = number(), limit = number() }
  if c.kind == DAY then
    c.start, c.stop = number(), number()
  else
    c.window, c.granule = number(), number()
  end
  return c
end

-- The charge's counter as it stands now; nil where it holds nothing. OTHER_DAY where the caller's day is not ours.
local function look(c)
  if c.value.failure then return nil, c.value.failure end
  local counter = c.value.counters[c.tag]
  if counter and (counter.kind == DAY) ~= (c.kind == DAY) then return nil, FOREIGN end
  if c.kind == DAY then
    if counter and now < counter.stop then return counter end
    if now < c.start or now >= c.stop then return nil, OTHER_DAY end
    return nil
  end
  if counter then evict(counter, now - c.window) end
  return counter
end

-- When further units come free: several must go where a correction has put more in use than the limit.
local function reset_at(c, counter)
  if c.kind == DAY then return counter and counter.stop or c.stop end
  if not counter or counter.count == 0 then return now end
  local over = counter.total - c.limit
  local time = over < 1 and entry(counter, 0) or time_of_units(counter, over + 1)
  return time + c.window
end

local function retry_at(c, counter, units)
  if units > c.limit then return -1 end
  if c.kind == DAY then return counter.stop end
  return time_of_units(counter, counter.total + units - c.limit) + c.window
end

local dirty = {}
local function touch(value, ttl)
  value.ttl = math.max(value.ttl, ttl)
  dirty[value] = true
end

-- Which generation of its counter, and which entry or day of it, holds the charge.
local function put(c, counter, units)
  if c.kind == DAY then
    counter = counter or c.value.counters[c.tag]
    if not counter then
      counter = add(c.value, { tag = c.tag, kind = DAY, generation = 0, stop = c.stop, total = 0 })
    elseif now >= counter.stop then
      counter.stop, counter.total = c.stop, 0
    end
    counter.total = math.min(MAX_TOTAL, counter.total + units)
    touch(c.value, counter.stop - now)
    return counter, counter.stop
  end
  counter = counter
    or add(c.value, { tag = c.tag, kind = c.kind, generation = 0, total = 0, count = 0, origin = 0, data = '', first = 1 })
  -- Rounded up, so that a unit is forgotten late rather than early.
  local time = push(counter, c.kind, math.ceil(now / c.granule) * c.granule, units)
  touch(c.value, time + c.window - now)
  return counter, time
end

-- force 1 charges what another place has admitted already.
local function admit()
  local force, units, n = number(), number(), number()
  local charges, counters, status = {}, {}, ADMITTED
  for i = 1, n do charges[i] = charge() end
  for i, c in ipairs(charges) do
    local counter, failure = look(c)
    counters[i] = counter
    if failure then
      if status == ADMITTED or status == REFUSED then status = failure end
    elseif force == 0 and status == ADMITTED and (counter and counter.total or 0) + units > c.limit then
      status = REFUSED
    end
  end
  answer(status)
  if status ~= ADMITTED and status ~= REFUSED then return end
  for i, c in ipairs(charges) do
    local counter = counters[i]
    local time = 0
    if status == ADMITTED then counter, time = put(c, counter, units) end
    local total = counter and counter.total or 0
    answer(total)
    answer(reset_at(c, counter))
    if status == ADMITTED then
      answer(time)
      answer(counter.generation)
    else
      answer(total + units > c.limit and retry_at(c, counter, units) or 0)
      answer(0)
    end
  end
end

local function peek()
  local n = number()
  local charges, counters, status = {}, {}, ADMITTED
  for i = 1, n do charges[i] = charge() end
  for i, c in ipairs(charges) do
    local counter, failure = look(c)
    counters[i] = counter
    if failure and status == ADMITTED then status = failure end
  end
  answer(status)
  if status ~= ADMITTED then return end
  for i, c in ipairs(charges) do
    answer(counters[i] and counters[i].total or 0)
    answer(reset_at(c, counters[i]))
  end
end

local function settle()
  local delta, n = number(), number()
  local status = ADMITTED
  for _ = 1, n do
    local value, tag, generation, time = load(number()), argument(), number(), number()
    local counter = value.counters[tag]
    if value.failure then
      status = value.failure
    elseif counter and counter.generation == generation then
      if counter.kind ~= DAY then
        correct(counter, time, delta)
        touch(value, 0)
      elseif counter.stop == time then
        counter.total = math.min(MAX_TOTAL, math.max(0, counter.total + delta))
        touch(value, 0)
      end
    end
  end
  answer(status)
end

-- An emptied counter stays, in its next generation, so that earlier admissions can no longer be settled in it.
local function reset()
  local n = number()
  local status = ADMITTED
  for _ = 1, n do
    local value, tag = load(number()), argument()
    local counter = value.counters[tag]
    if value.failure then
      status = value.failure
    elseif counter then
      counter.generation = (counter.generation + 1) % 64
      counter.total, counter.count, counter.data, counter.first = 0, 0, '', 1
      touch(value, 0)
    end
  end
  answer(status)
end

local operations = { a = admit, p = peek, s = settle, r = reset }
while cursor < #ARGV do operations[argument()]() end
for value in pairs(dirty) do save(value) end
if markerTtl > 0 then redis.call('SET', KEYS[1], cmsgpack.pack(reply), 'PX', markerTtl) end
return reply
`;
