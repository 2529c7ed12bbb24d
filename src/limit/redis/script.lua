-- luacheck: std lua51, read globals KEYS ARGV redis struct general, max line length 120
--
-- Runs operations on quota counters. Lua 5.1, as Redis 6.2 and later and Valkey run it.
--
-- Promises: all operations of a call see one time. Each operation reads all of its counters before it writes any. A
-- refusal writes nothing. A call that is sent again after its reply was lost is answered and not run again.
--
-- There are two paths. This file is the straight path. It runs what almost every request is: the admission of a window,
-- a day, or one of each, under one key whose value has nothing unusual. It is one flat piece of code, since a function
-- or a table for each operation would take longer than all the rest. Whatever is unusual goes to the general path
-- (general.lua), which knows every operation and decides alike. script-text.ts makes one script of the two files:
-- general.lua is the body of the function `general`, whose parts are made only in a call that needs them.
--
-- KEYS[1]    the marker, which remembers one caller's latest reply
-- KEYS[2..]  partition keys
-- ARGV[1]    packed by script-call.ts:
--            the number of the call, in 16 digits
--            now 8 bytes; -1: the server's time
--            the latest time at which the call may still decide 8; -1: no bound
--            how long the marker remembers the reply 8
--            how much longer than their counters keys live 8
--            the number of policies 2
--            the policies, each packed by layout.ts
--            the operations, packed by operation.ts
--
-- The reply is the value of the marker: the number of the call in 16 digits, when the marker expires 8, then what the
-- call has done. The marker lives twice as long as it has to remember a reply, so that not every call has to set that
-- time again. The number tells the caller that the reply is that of its call.
--
-- All times are milliseconds. What a call has done is the outcome of the call 1 byte, the time 8, then for each
-- operation its status 1 and its figures: for each charge the units in use 8, when more become free 8, the time of the
-- charge (or, if refused, when it could be admitted: 0 now, -1 never) 8, the counter's generation 2. Of a policy with
-- leases, the last two are the token and the slot of the hold. If the straight path admits, the figures are fewer: of a
-- window the units in use 4, when more become free 8, the time of the charge 8; of a day, which is today, the units 4.
--
-- One Redis string holds all counters of a partition key, big-endian:
--   signature  128 + the number of counters 1, then for each: tag 3 (hash of the policy's id), kind and generation 1
--   heads      of each counter in turn
--     day      end of the day in seconds 4, units 2 (wide day: 7)
--     narrow   origin in seconds 4, units 2, entries 2
--     wide     origin in seconds 4, units 4, entries 2
--     holds    the token of the latest hold 6, holds 2
--   entries    of each counter in turn, by rising time
--     narrow   ms from the origin 4, units 1
--     wide     ms from the origin 5, units 4
--     holds    token 6, slot 2, units 4, when it expires 6, its lease 4
-- With one request in a window and a daily quota, this is 28 bytes: the most that fits in one of the sizes in which
-- Redis allocates memory. One byte more would cost the next size.
local STRAIGHT = 0
local REFUSED, ADMITTED, LATE, LOST = 0, 1, 3, 7
local NARROW = 1
local POLICY_BYTES, STRAIGHT_BYTES = 51, 17
local ONE_COUNTER, TWO_COUNTERS = '\129', '\130'
local MOST_IN_A_DAY = 65535
-- To pack so many bytes takes longer than to join strings.
local MANY_BYTES = 300

local call, get, keys = redis.call, redis.pcall, KEYS
local pack, unpack, sub, byte = struct.pack, struct.unpack, string.sub, string.byte

local packed = ARGV[1]
local number, given_now, latest, remember_for, slack, policies, at = unpack('>c16ddddI2', packed)
local answered = call('GET', keys[1])
local remembered, marker_expires
if answered then
  remembered, marker_expires = unpack('>c16d', answered)
  if remembered == number then return answered end
  -- Calls arrive in order. This one has run, and the reply of a later call has replaced its own.
  if remembered > number then return pack('>c16dBd', number, 0, LOST, call('TIME')[1] * 1000) end
end

local now = given_now
if now < 0 then
  local time = call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
  -- The caller has stopped waiting, so nothing may be charged.
  if latest >= 0 and now > latest then return pack('>c16dBd', number, 0, LATE, now) end
end

-- The general path, once a call needs it: `run` runs an operation, `save` writes what it has changed.
local run, save

-- The policies of an operation. Most operations have those of the one before.
local window_place, day_place
local limit, window, granule, grace, day_limit, day_stop, is_today
-- How their counters are stored, and the most that an entry, a total and an offset may be.
local signature, head_format, entries_at, entry_format, value_format
local width, most, most_total, most_offset = 0, 0, 0, 0

-- The value that the latest operation has written. The next one may have the same key.
local written_key, written

-- Places of policies begin at 1.
local policies_at = at - POLICY_BYTES
at = at + policies * POLICY_BYTES
local length = #packed
local reply, size = { pack('>Bd', ADMITTED, now) }, 1
while at <= length do
  local is_straight = byte(packed, at) == STRAIGHT
  local first_key, last_key, for_window, for_day, units, day_units = 1, 1, 0, 0, 0, 0
  if is_straight then
    first_key, last_key, for_window, for_day, units, day_units = unpack('>I2I2I2I2I4I4', packed, at + 1)

    if for_window ~= window_place or for_day ~= day_place then
      window_place, day_place = for_window, for_day
      local window_tag, day_tag, start = '', '', 0
      if for_window > 0 then
        window_tag, limit, window, granule = unpack('>c4xxxI4dd', packed, policies_at + for_window * POLICY_BYTES)
        if byte(window_tag, 4) == NARROW then
          entry_format, width, most, most_total, most_offset = '>I4B', 5, 255, 65535, 4294967295
        else
          entry_format, width, most, most_total, most_offset = '>I5I4', 9, 4294967295, 4294967294, 1099511627775
        end
        -- Keys are given a little more time than they need, so that not every charge has to change it.
        grace = math.ceil(window / 16)
      end
      if for_day > 0 then
        day_tag, day_limit, start, day_stop = unpack('>c4xxxI4dd', packed, policies_at + for_day * POLICY_BYTES)
        is_today = now >= start and now < day_stop
      end
      signature = (for_window > 0 and for_day > 0 and TWO_COUNTERS or ONE_COUNTER) .. window_tag .. day_tag
      -- The head of a value begins with the signature. A whole value ends with the earlier entries and the new one.
      if for_window == 0 then
        head_format, entries_at = '>c5I4I2', 12
      elseif for_day == 0 and width == 5 then
        head_format, value_format, entries_at = '>c5I4I2I2', '>c5I4I2I2c0I4B', 14
      elseif for_day == 0 then
        head_format, value_format, entries_at = '>c5I4I4I2', '>c5I4I4I2c0I5I4', 16
      elseif width == 5 then
        head_format, value_format, entries_at = '>c9I4I2I2I4I2', '>c9I4I2I2I4I2c0I4B', 24
      else
        head_format, value_format, entries_at = '>c9I4I4I2I4I2', '>c9I4I4I2I4I2c0I5I4', 26
      end
    end
  end

  -- Operations that differ only in their keys come as one.
  for place = first_key, last_key do
    local answer
    -- Here, `break` leaves the operation to the general path.
    repeat
      if not is_straight then break end
      if save then save() end

      local key = keys[place]
      local raw
      if key == written_key then raw = written else raw = get('GET', key) end
      local origin, total, count, stop, used = 0, 0, 0, 0, 0
      if raw then
        -- An error is a table.
        if raw.err or #raw < entries_at - 1 then break end
        local found
        if for_window > 0 then
          found, origin, total, count, stop, used = unpack(head_format, raw)
          origin = origin * 1000
        else
          found, stop, used = unpack(head_format, raw)
        end
        if found ~= signature or #raw ~= entries_at - 1 + count * width then break end
      end

      -- What is in use, and whether there is room for more.
      local first, oldest, freed, time, newest, held = entries_at, now, 0, now, 0, 0
      local is_refused, retry_at, day_retry_at = false, 0, 0
      if for_window > 0 then
        -- Rounded up: a unit may be forgotten late, never early.
        if granule > 1 then time = now + -now % granule end
        while count > 0 do
          oldest, freed = unpack(entry_format, raw, first)
          oldest = origin + oldest
          -- The oldest entry decides when units become free, so it must hold some.
          if oldest > now - window and freed > 0 then break end
          total, count, first = total - freed, count - 1, first + width
        end
        if count > 0 then
          newest, held = oldest, freed
          if count > 1 then
            newest, held = unpack(entry_format, raw, #raw - width + 1)
            newest = origin + newest
          end
          -- It was charged while the clock was wrong.
          if newest > now + window then break end
          -- If the clock went backwards, the charge counts with the newest entry.
          if newest > time then time = newest end
          if time - origin > most_offset then break end
        end
        if total + units > limit then
          is_refused = true
          -- More than the oldest entry would have to expire.
          if total > limit or units <= limit and total + units - limit > freed then break end
          retry_at = units > limit and -1 or oldest + window
        elseif units > most or total + units > most_total then
          break
        end
      end
      if for_day > 0 then
        stop = stop * 1000
        -- A clock is wrong, or was.
        if not is_today or stop > day_stop then break end
        if stop < day_stop then used = 0 end
        if used + day_units > day_limit then
          is_refused, day_retry_at = true, day_units > day_limit and -1 or day_stop
        elseif used + day_units > MOST_IN_A_DAY then
          break
        end
      end

      if is_refused then
        answer = pack('>B', REFUSED)
        if for_window > 0 then
          answer = answer .. pack('>dddI2', total, count > 0 and oldest + window or now, retry_at, 0)
        end
        if for_day > 0 then answer = answer .. pack('>dddI2', used, day_stop, day_retry_at, 0) end
        break
      end

      local value
      -- The time until which the key stays, and whether an earlier charge has set it.
      local stays, lives = 0, true
      if for_day > 0 then stop, used = day_stop / 1000, used + day_units end
      if for_window > 0 then
        stays = time + -time % grace + window
        -- The newest entry has set it.
        lives = count > 0 and newest > stays - window - grace
        local entries, charge = '', units
        if count == 0 then
          oldest, origin = time, time - time % 1000
        elseif newest == time and held + units <= most then
          charge, count = held + units, count - 1
          if count > 0 then entries = sub(raw, first, -width - 1) end
        else
          entries = sub(raw, first)
        end
        total, count = total + units, count + 1
        local seconds, offset = origin / 1000, time - origin
        if #entries > MANY_BYTES then
          -- Without a day, its two numbers are superfluous.
          value = pack(head_format, signature, seconds, total, count, stop, used)
            .. entries .. pack(entry_format, offset, charge)
        elseif for_day > 0 then
          value = pack(value_format, signature, seconds, total, count, stop, used, entries, offset, charge)
        else
          value = pack(value_format, signature, seconds, total, count, entries, offset, charge)
        end
      else
        value = pack(head_format, signature, stop, used)
      end
      if for_window == 0 then
        answer = pack('>BI4', ADMITTED, used)
      elseif for_day > 0 then
        answer = pack('>BI4ddI4', ADMITTED, total, oldest + window, time, used)
      else
        answer = pack('>BI4dd', ADMITTED, total, oldest + window, time)
      end
      -- The first charge of a day has set the time until which the key stays, unless its window lasts longer.
      if for_day > 0 and stays <= day_stop then stays, lives = day_stop, used > day_units end
      -- To set the time until which a key stays costs as much as to set its value.
      written_key, written = key, value
      if lives then
        call('SET', key, value, 'KEEPTTL')
      else
        call('SET', key, value, 'PX', string.format('%d', stays - now + slack))
      end
    until true
    if not answer then
      written_key = nil
      if not run then run, save = general(packed, policies_at, now, slack) end
      local behind
      answer, behind = run(at, place - first_key)
      if not is_straight then at = behind end
    end
    size = size + 1
    reply[size] = answer
  end
  if is_straight then at = at + STRAIGHT_BYTES end
end

if save then save() end
-- A clock that was passed in is not the one by which the marker expires.
local whole
if answered and given_now < 0 and now + remember_for <= marker_expires then
  whole = number .. sub(answered, 17, 24) .. table.concat(reply)
  call('SET', keys[1], whole, 'KEEPTTL')
else
  local lives = 2 * remember_for
  whole = number .. pack('>d', now + lives) .. table.concat(reply)
  call('SET', keys[1], whole, 'PX', string.format('%d', lives))
end
return whole
