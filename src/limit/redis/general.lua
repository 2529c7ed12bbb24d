-- luacheck: std lua51, read globals KEYS ARGV redis struct book, max line length 120
--
-- The general path of script.lua, which describes the values and the arguments: runs any operation on any value. It
-- decides and stores as the straight path does, which a property test compares with it. script-text.ts makes a function
-- of this file. It takes the packed call, where its policies are, the time, and how much longer than their counters
-- keys live. It returns two functions: `run` runs the operation at a place, and returns its answer and the next place;
-- `save` writes what the operations have changed. No value is kept beyond `save`.
--
-- If the units of a wide window do not fit, they are the sum of its entries. A counter that has given units back has
-- another beside it, its tally: a log of the units that were given back, at the times of their charges. A policy with
-- leases has a counter of its holds, for GPU time beside its log.
local packed, policies_at, now, slack = ...
local POLICY_BYTES = 51
local DAY, NARROW, WIDE, WIDE_DAY, HOLDS = 0, 1, 2, 3, 4
local HEAD = { [DAY] = '>I4I2', [NARROW] = '>I4I2I2', [WIDE] = '>I4I4I2', [WIDE_DAY] = '>I4I7', [HOLDS] = '>I6I2' }
local HEAD_BYTES = { [DAY] = 6, [NARROW] = 8, [WIDE] = 10, [WIDE_DAY] = 11, [HOLDS] = 8 }
local WIDTH = { [NARROW] = 5, [WIDE] = 9, [HOLDS] = 22 }
-- A hold: its token, its slot, its units, when it expires, and how long it lasts.
local HOLD = '>I6I2I4I6I4'
local MOST_HOLDS = 1000
local FORMAT = { [NARROW] = '>I4B', [WIDE] = '>I5I4' }
local MOST = { [NARROW] = 255, [WIDE] = 4294967295 }
-- The first byte of a value is this and the number of its counters.
local VERSION, MOST_COUNTERS = 128, 127
local KINDS, GENERATIONS = 8, 32
-- A larger total is stored in more bytes. A total that is larger than any entry is the sum of the entries.
local SMALL_TOTAL, LARGE_TOTAL = 65535, 4294967295
-- The largest number that is exact.
local MAX_EXACT = 9007199254740991
local REFUSED, ADMITTED, OTHER_DAY, WRONG_TYPE, FOREIGN, FAILED = 0, 1, 2, 4, 5, 6
-- An admission of the straight path that has all figures.
local ADMITTED_IN_FULL = 8

local pack, unpack_struct, sub, byte = struct.pack, struct.unpack, string.sub, string.byte
local min, max, floor, ceil = math.min, math.max, math.floor, math.ceil

local policies = {}
local function policy_at(place)
  local policy = policies[place]
  if not policy then
    local tag, kind, other, limit, a, b, lease, before, after =
      unpack_struct('>c3Bc3I4ddddd', packed, policies_at + place * POLICY_BYTES)
    -- For a day, a and b are its start and end. For a window, they are its length and granule.
    policy = { tag = tag, kind = kind, limit = limit, start = a, stop = b, window = a, granule = b }
    if lease == 0 then
      policy.tally = other
    else
      -- A policy with leases. Its holds may end on another day than they began, or than the caller believes.
      policy.held, policy.lease = other, lease
      if kind == DAY then
        if now >= before and now < a then policy.start, policy.stop = before, a end
        if now >= b and now < after then policy.start, policy.stop = b, after end
      end
    end
    policies[place] = policy
  end
  return policy
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

-- The counters of a value by tag and in order, or nil if it is not one of ours.
local function parse(raw)
  local length, number = #raw, (byte(raw, 1) or 0) - VERSION
  local heads_at = 2 + number * 4
  if number < 1 or length < heads_at - 1 then return nil end
  local counters, order = {}, {}
  local at = heads_at
  for i = 1, number do
    local tag, flags = unpack_struct('>c3B', raw, i * 4 - 2)
    local kind = flags % KINDS
    if not HEAD[kind] or length < at + HEAD_BYTES[kind] - 1 then return nil end
    local counter = { tag = tag, kind = kind, generation = (flags - kind) / KINDS }
    if kind == HOLDS then
      counter.last, counter.count = unpack_struct(HEAD[kind], raw, at)
      counter.total, counter.holds = 0, {}
    elseif WIDTH[kind] then
      local origin
      origin, counter.total, counter.count = unpack_struct(HEAD[kind], raw, at)
      counter.origin, counter.first = origin * 1000, 1
    else
      local stop
      stop, counter.total = unpack_struct(HEAD[kind], raw, at)
      counter.kind, counter.stop = DAY, stop * 1000
    end
    at = at + HEAD_BYTES[kind]
    counters[tag], order[i] = counter, counter
  end
  for i = 1, number do
    local counter = order[i]
    if counter.count then
      local from = at
      at = at + counter.count * WIDTH[counter.kind]
      if at > length + 1 then return nil end
      if counter.kind == HOLDS then
        for place = from, at - 1, WIDTH[HOLDS] do
          local token, slot, units, expiry, lease = unpack_struct(HOLD, raw, place)
          counter.holds[#counter.holds + 1] =
            { token = token, slot = slot, units = units, expiry = expiry, lease = lease }
        end
      else
        counter.data = sub(raw, from, at - 1)
      end
      if counter.total == LARGE_TOTAL then counter.total = sum_of_entries(counter.kind, counter.data) end
    end
  end
  if at ~= length + 1 then return nil end
  return counters, order
end

local NONE = {}
-- The values by key, and those of them to save.
local loaded, dirty = {}, {}

local function load(place)
  local key = KEYS[place]
  local value = loaded[key]
  if value then return value end
  value = { key = key, ttl = 0, counters = NONE, order = NONE }
  local raw = redis.pcall('GET', key)
  if type(raw) == 'table' then
    value.failure = sub(raw.err or '', 1, 9) == 'WRONGTYPE' and WRONG_TYPE or FAILED
  elseif raw then
    local counters, order = parse(raw)
    if counters then value.counters, value.order = counters, order else value.failure = FOREIGN end
  else
    value.counters, value.order = {}, {}
  end
  loaded[key] = value
  return value
end

local function add(value, counter)
  value.counters[counter.tag] = counter
  value.order[#value.order + 1] = counter
  return counter
end

local function remove(value, counter)
  value.counters[counter.tag] = nil
  for i, other in ipairs(value.order) do
    if other == counter then table.remove(value.order, i) end
  end
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

-- Holds ----------------------------------------------------------------------------------------------------------

-- The policy's counter of holds, without those that have expired, and the units that are held. Nil if there is none. A
-- hold that lasts longer than one lease from now was granted while the clock was wrong, and begins now.
local function held_by(value, policy)
  local counter, units = value.counters[policy.held], 0
  if not counter then return nil, 0 end
  local live = {}
  for _, hold in ipairs(counter.holds) do
    if hold.expiry > now + hold.lease then
      hold.expiry = now + hold.lease
      dirty[value] = true
    end
    if hold.expiry > now then
      live[#live + 1] = hold
      units = units + hold.units
    else
      -- Also if the clock steps back, what has expired stays so.
      dirty[value] = true
    end
  end
  counter.holds = live
  return counter, units
end

-- Holds units for one lease. Returns the token, which no earlier hold has had, and the smallest slot that is free.
local function hold(value, policy, units)
  local counter = held_by(value, policy)
    or add(value, { tag = policy.held, kind = HOLDS, generation = 0, total = 0, last = 0, holds = {} })
  local taken, slot = {}, 0
  for _, other in ipairs(counter.holds) do taken[other.slot] = true end
  while taken[slot] do slot = slot + 1 end
  counter.last = max(counter.last + 1, floor(now))
  counter.holds[#counter.holds + 1] =
    { token = counter.last, slot = slot, units = units, expiry = now + policy.lease, lease = policy.lease }
  dirty[value] = true
  return counter.last, slot
end

-- The hold with a token and its place among the holds, or nil if it has ended or expired.
local function find_hold(value, policy, token)
  local counter = held_by(value, policy)
  for i, other in ipairs(counter and counter.holds or {}) do
    if other.token == token then return other, counter, i end
  end
  return nil
end

-- When more units become free: by the log, as long as the holds stay, or when the first slot expires. Time that is held
-- has no end of its own, since its lease is renewed as long as the job runs.
local function holds_reset_at(policy, counter, held, holds)
  if policy.kind == DAY then return policy.stop end
  local used = counter and counter.total or 0
  if used > 0 then
    local most = max(0, min(used - 1, policy.limit - held - 1))
    return time_of_units(counter, used - most) + policy.window
  end
  if policy.kind ~= HOLDS or not holds then return now end
  local first = nil
  for _, other in ipairs(holds.holds) do first = min(first or other.expiry, other.expiry) end
  return first or now
end

-- When the log leaves room for the units: beside the holds, or if that is never, once they have ended.
local function holds_retry_at(policy, counter, held, units)
  if units > policy.limit then return -1 end
  local used = counter and counter.total or 0
  local most = policy.limit - units - held
  if most < 0 then most = policy.limit - units end
  if used <= most then return now end
  if policy.kind == DAY then return policy.stop end
  return time_of_units(counter, used - most) + policy.window
end

-- How long a key must stay for its holds, and for tokens that are ahead of the clock.
local function ttl_of_holds(counter)
  local stays = counter.last
  for _, other in ipairs(counter.holds) do stays = max(stays, other.expiry) end
  return stays - now
end

local function write(value)
  local order = {}
  for _, counter in ipairs(value.order) do
    -- Without holds, a counter is soon as good as none: the next token is the time. It stays as long as its key would,
    -- so that tokens rise also if the clock steps back a little.
    if counter.kind ~= HOLDS or ttl_of_holds(counter) >= -slack then order[#order + 1] = counter end
  end
  if #order == 0 then order = value.order end
  local number = #order
  if number > MOST_COUNTERS then error('more than ' .. MOST_COUNTERS .. ' counters under one key') end
  local parts = { string.char(VERSION + number) }
  local ttl, others = value.ttl, false
  for i, counter in ipairs(order) do
    if not counter.charged and counter.kind ~= HOLDS then others = true end
    local kind, large = counter.kind, counter.total > SMALL_TOTAL
    local head, data
    if kind == DAY then
      if large then kind = WIDE_DAY end
      head, data = pack(HEAD[kind], counter.stop / 1000, min(counter.total, MAX_EXACT)), ''
    elseif kind == HOLDS then
      local holds = {}
      for place, each in ipairs(counter.holds) do
        holds[place] = pack(HOLD, each.token, each.slot, each.units, each.expiry, each.lease)
      end
      head, data = pack(HEAD[kind], counter.last, #holds), table.concat(holds)
      ttl = max(ttl, ttl_of_holds(counter))
    else
      if large and kind == NARROW then
        rewrite(counter, WIDE, now)
        kind = WIDE
      end
      head = pack(HEAD[kind], counter.origin / 1000, min(counter.total, LARGE_TOTAL), counter.count)
      data = counter.first == 1 and counter.data or sub(counter.data, counter.first)
    end
    parts[1 + i] = counter.tag .. string.char(kind + counter.generation * KINDS)
    parts[1 + number + i], parts[1 + 2 * number + i] = head, data
  end
  ttl = ttl + slack
  -- A counter that this call did not charge may live longer.
  if others then ttl = max(ttl, redis.call('PTTL', value.key)) end
  redis.call('SET', value.key, table.concat(parts), 'PX', string.format('%d', max(1, ttl)))
end

local function save()
  for value in pairs(dirty) do write(value) end
  loaded, dirty = {}, {}
end

-- Operations -----------------------------------------------------------------------------------------------------

local function status_of(status) return pack('>B', status) end

local function figures(total, reset_at, time, generation)
  return pack('>dddI2', min(total, MAX_EXACT), reset_at, time, generation)
end

-- The charges of the current operation.
local values, rules, counters, charges = {}, {}, {}, {}

-- What kinds of counters have in common.
local LOG = { [DAY] = 'day', [NARROW] = 'window', [WIDE] = 'window', [HOLDS] = 'none' }

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

-- Whether a tally has nothing left that counts. Without its tally, the straight path can run the value again.
local function is_over(policy, tally)
  if policy.kind == DAY then return tally.stop <= now end
  return tally.count == 0 or entry(tally, tally.count - 1) <= now - policy.window
end

-- The log of a policy as it is now, or nil. OTHER_DAY if the caller sent a day that is not today.
local function look(value, policy)
  if value.failure then return nil, value.failure end
  local counter = value.counters[policy.tag]
  if counter and LOG[counter.kind] ~= LOG[policy.kind] then return nil, FOREIGN end
  if policy.kind == HOLDS then return nil end
  if policy.kind == DAY and (now < policy.start or now >= policy.stop) then return nil, OTHER_DAY end
  if counter then refresh(value, policy, counter) end
  local tally = policy.tally and value.counters[policy.tally]
  if tally and is_over(policy, tally) then remove(value, tally) end
  return counter
end

-- Whether a policy has room for units.
local function fits(value, policy, counter, units)
  local used = counter and counter.total or 0
  if not policy.lease then return used + units <= policy.limit end
  local holds, held = held_by(value, policy)
  return used + held + units <= policy.limit and (not holds or #holds.holds < MOST_HOLDS)
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
    local grace = ceil(policy.window / 16)
    ttl = ceil(time / grace) * grace + policy.window - now
  end
  counter.charged = true
  if ttl > value.ttl then value.ttl = ttl end
  dirty[value] = true
  return counter, time
end

-- The figures of a policy with leases. Its time is the token of the hold, and its generation is the slot.
local function admit_hold(value, policy, counter, units, status)
  local retry, token, slot = 0, nil, 0
  if status == ADMITTED then
    token, slot = hold(value, policy, units)
  elseif not fits(value, policy, counter, units) then
    local _, held = held_by(value, policy)
    retry = holds_retry_at(policy, counter, held, units)
  end
  local holds, held = held_by(value, policy)
  local total = (counter and counter.total or 0) + held
  return figures(total, holds_reset_at(policy, counter, held, holds), token or retry, slot)
end

-- Admits the charges that were read. `force` charges beyond the limit: the units were already admitted elsewhere.
-- `admitted` is the status that says so.
local function admit(number, force, admitted)
  local status = ADMITTED
  for i = 1, number do
    local counter, failure = look(values[i], rules[i])
    counters[i] = counter or false
    if failure then
      if status == ADMITTED or status == REFUSED then status = failure end
    elseif not force and status == ADMITTED and not fits(values[i], rules[i], counter, charges[i]) then
      status = REFUSED
    end
  end
  local answer = status_of(status == ADMITTED and admitted or status)
  if status ~= ADMITTED and status ~= REFUSED then return answer end
  for i = 1, number do
    local value, policy, counter, units = values[i], rules[i], counters[i], charges[i]
    if policy.lease then
      answer = answer .. admit_hold(value, policy, counter, units, status)
    elseif status == ADMITTED then
      local time
      counter, time = put(value, policy, counter, units)
      answer = answer .. figures(counter.total, reset_at(policy, counter), time, counter.generation)
    else
      local total = counter and counter.total or 0
      local retry = total + units > policy.limit and retry_at(policy, counter, units) or 0
      answer = answer .. figures(total, reset_at(policy, counter), retry, 0)
    end
  end
  return answer
end

-- Reads a charge: a key, a policy, and units.
local function read_charge(i, key, policy, units)
  values[i], rules[i], charges[i] = load(key), policy_at(policy), units
end

-- An operation of the straight path, for one of its keys.
local function admit_straight(at, nth)
  local first_key, _, window, day, units, day_units = unpack_struct('>I2I2I2I2I4I4', packed, at)
  local key = first_key + nth
  local number = 0
  if window > 0 then
    number = 1
    read_charge(1, key, window, units)
  end
  if day > 0 then
    number = number + 1
    read_charge(number, key, day, day_units)
  end
  return admit(number, false, ADMITTED_IN_FULL), at + 16
end

local function admit_any(at)
  local force, number = unpack_struct('>BI2', packed, at)
  at = at + 3
  for i = 1, number do
    read_charge(i, unpack_struct('>I2I2I4', packed, at))
    at = at + 8
  end
  return admit(number, force == 1, ADMITTED), at
end

local function peek(at)
  local number = unpack_struct('>I2', packed, at)
  local status = ADMITTED
  at = at + 2
  for i = 1, number do
    read_charge(i, unpack_struct('>I2I2', packed, at))
    local counter, failure = look(values[i], rules[i])
    counters[i] = counter or false
    if failure and status == ADMITTED then status = failure end
    at = at + 4
  end
  local answer = status_of(status)
  if status == ADMITTED then
    for i = 1, number do
      local policy, counter = rules[i], counters[i]
      local used = counter and counter.total or 0
      if policy.lease then
        local holds, held = held_by(values[i], policy)
        answer = answer .. figures(used + held, holds_reset_at(policy, counter, held, holds), 0, 0)
      else
        answer = answer .. figures(used, reset_at(policy, counter), 0, 0)
      end
    end
  end
  return answer, at
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

-- Ends a hold, and logs what was used from now on. If the hold has ended or expired, changes nothing.
local function end_hold(value, policy, counter, token, units)
  local found, holds, place = find_hold(value, policy, token)
  if not found then return end
  table.remove(holds.holds, place)
  dirty[value] = true
  if units > 0 and policy.kind ~= HOLDS then put(value, policy, counter, units) end
end

-- Corrects charges. What is not `bounded` gives back all that a request had charged that was not admitted in the end.
local function settle(at)
  local bounded, number = unpack_struct('>BI2', packed, at)
  local status = ADMITTED
  at = at + 3
  for _ = 1, number do
    local key, place, generation, time, delta = unpack_struct('>I2I2I2dd', packed, at)
    local value, policy = load(key), policy_at(place)
    local counter, failure = look(value, policy)
    -- Around midnight, the caller may have taken another day for today. The charge names its own.
    if failure == OTHER_DAY and not policy.lease then counter, failure = value.counters[policy.tag], nil end
    if failure then
      status = failure
    elseif policy.lease then
      end_hold(value, policy, counter, time, delta)
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
    at = at + 22
  end
  return status_of(status), at
end

-- Extends holds to one lease from now. Refused if one of them has ended or expired.
local function renew(at)
  local number = unpack_struct('>I2', packed, at)
  local status = ADMITTED
  at = at + 2
  for _ = 1, number do
    local key, place, _, token = unpack_struct('>I2I2I2d', packed, at)
    local value, policy = load(key), policy_at(place)
    local found = find_hold(value, policy, token)
    if value.failure then
      status = value.failure
    elseif found then
      found.expiry = now + policy.lease
      found.lease = policy.lease
      dirty[value] = true
    elseif status == ADMITTED then
      status = REFUSED
    end
    at = at + 14
  end
  return status_of(status), at
end

-- The emptied counter stays, with the next generation, so that earlier admissions can no longer be settled in it.
local function reset(at)
  local number = unpack_struct('>I2', packed, at)
  local status = ADMITTED
  at = at + 2
  for _ = 1, number do
    local key, place = unpack_struct('>I2I2', packed, at)
    local value, policy = load(key), policy_at(place)
    if value.failure then status = value.failure end
    local counter, tally = value.counters[policy.tag], policy.tally and value.counters[policy.tally]
    -- What is held stays: what runs still runs.
    if policy.lease then held_by(value, policy) end
    if counter and counter.kind ~= HOLDS then
      counter.generation = (counter.generation + 1) % GENERATIONS
      counter.total, counter.count, counter.data, counter.first = 0, 0, '', 1
      dirty[value] = true
    end
    if tally then remove(value, tally) end
    at = at + 4
  end
  return status_of(status), at
end

-- Books jobs in a ledger, and then corrects charges. What cannot be booked does not keep the charges from it.
local function book_and_settle(at)
  local number, status = byte(packed, at), nil
  at = at + 1
  for _ = 1, number do
    local job, all, day, before, is_final, ending, gpu_time, keep_job, keep_day, today, yesterday, client
    job, all, day, before, is_final, ending, gpu_time, keep_job, keep_day, today, yesterday, client, at =
      unpack_struct('>I2I2I2I2BBdddc10c10I2c0', packed, at)
    local booked = pcall(book, KEYS[job], KEYS[all], KEYS[day], KEYS[before], client, gpu_time, is_final, ending,
      today, yesterday, keep_job, keep_day)
    if not booked then status = WRONG_TYPE end
  end
  -- What follows is a correction, whose number is known.
  local answer, behind = settle(at + 1)
  return status and byte(answer) == ADMITTED and status_of(status) or answer, behind
end

local OPERATIONS = { [0] = admit_straight, admit_any, peek, settle, reset, renew, book_and_settle }
-- Tests compare the two paths: operations of this number are those of the straight path.
OPERATIONS[255] = admit_straight

-- `nth`: of an operation of the straight path, which one of its keys, from 0.
local function run(at, nth)
  return OPERATIONS[byte(packed, at)](at + 1, nth)
end

return run, save
