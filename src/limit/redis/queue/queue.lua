-- luacheck: std lua51, read globals KEYS ARGV redis struct cmsgpack, max line length 120
--
-- The queue of one counter of slots: src/limit/queue/fair-queue.ts and job-lengths.ts, for several processes. It decides
-- as they do, which a property test compares. Lua 5.1, as Redis 6.2 and later and Valkey run it.
--
-- Every ticket belongs to a process, its owner. An owner that has been silent for three of its intervals is passed over, and
-- its turns go back. After its lease, its tickets are gone. A turn is given to the ticket that is next, whichever process
-- calls. Every step may run twice: a client sends calls again if their replies were lost.
--
-- KEYS[1]   the queue
-- KEYS[2]   the counter of its slots, if it is in the same slot of a Cluster
-- ARGV      now; -1: the server's time
--           the owner
--           its interval
--           slots
--           the most tickets that wait
--           how long a job counts as running after its owner was last heard of
--           how long a live owner may have a turn without using it
--           the version that the caller knows; empty: it wants no snapshot
--           the owner's channel, or empty
--           the tag of the policy in the counter, in hexadecimal digits
--           then the steps, as queue-call.ts writes them
--
-- All times are milliseconds. The reply is one string of doubles, as queue-reply.ts reads it.
local SILENT_AFTER = 3
-- A ticket that waits is gone after so many intervals, and no sooner than this.
local WAITS_FOR, LEAST_WAIT = 10, 2000
local SET_ASIDE, MAX_ASIDE = 250, 4000
local MAX_REMEMBERED = 1000
local MEMORY, PRIOR, MAX_CLIENTS, MAX_SURPRISES = 32, 2, 256, 64
local MAX_OUTLIER, FEW = 8, 8
-- How long what is known of jobs is kept after the last ticket.
local KEPT_FOR = 600000
-- If decisions use another clock than the server's, by which keys expire.
local MANUAL_CLOCK_SLACK = 3600000
local SIGNATURE = 'gatewarden-queue-1:'

local WAITING, TURN, RUNNING, PUSHED_OUT, GONE = 1, 2, 3, 4, 0
-- The fields of a ticket. Its turns are counted. SINCE: when its turn came, or its job started.
-- BEFORE: what `refuse` restores.
local OWNER, NUMBER, CLIENT, ESTIMATE, ORDER, STATE, GRANT, SINCE, BEFORE = 1, 2, 3, 4, 5, 6, 7, 8, 9
-- The fields of a client. IN_VAIN: its turns in vain, since one of its jobs has started or ended.
local ID, WEIGHT, SERVICE, AS_OF, ASIDE_UNTIL, IN_VAIN = 1, 2, 3, 4, 5, 6
-- The fields of an owner.
local SEEN, INTERVAL, CHANNEL, LEASE = 1, 2, 3, 4
-- The fields of what is known of the jobs of one client. All clients together have an empty id.
local LENGTHS, LENGTH, RATIOS, RATIO = 2, 3, 4, 5

local min, max, insert, remove_at = math.min, math.max, table.insert, table.remove

local now, me = tonumber(ARGV[1]), ARGV[2]
local slots, max_waiting = tonumber(ARGV[4]), tonumber(ARGV[5])
local lease, turn_time = tonumber(ARGV[6]), tonumber(ARGV[7])
local is_manual = now >= 0
if not is_manual then
  local time = redis.call('TIME')
  now = time[1] * 1000 + time[2] / 1000
end

-- The stored state ---------------------------------------------------------------------------------------------------

local raw = redis.call('GET', KEYS[1])
local queue
if raw then
  local is_ours = string.sub(raw, 1, #SIGNATURE) == SIGNATURE
  local ok, value = pcall(cmsgpack.unpack, is_ours and string.sub(raw, #SIGNATURE + 1) or '')
  if not is_ours or not ok or type(value) ~= 'table' then
    error('this value was not written by this version; delete it or choose another prefix')
  end
  queue = value
else
  -- Versions of a queue that was lost differ from those of this one.
  queue = { version = math.floor(now), virtual = 0, now = now, order = 0, lengths = '' }
  queue.owners, queue.clients, queue.tickets = {}, {}, {}
end
-- Counters know this time. That of the queue does not step back: what the server's clock has lost is added.
local clock = now
if not is_manual then
  queue.behind = max(queue.behind or 0, (queue.last or queue.now) - now)
  now = now + queue.behind
end
now = max(now, queue.now)
queue.last = now

local owners, tickets, clients = queue.owners, queue.tickets, queue.clients
-- Clients by id, and of each client: its tickets that wait, how many have a turn or run, how many run.
local client_of, waits, taken, runs = {}, {}, {}, {}
-- The caller's tickets by number.
local own = {}
local all_waiting, all_taken, all_running = 0, 0, 0
-- Whether a ticket has come back that was there before.
local is_unsorted = false
-- The owners to wake.
local woken = {}

local function add_client(client)
  client_of[client[ID]], waits[client], taken[client], runs[client] = client, {}, 0, 0
  return client
end

for _, client in ipairs(clients) do add_client(client) end
for _, ticket in ipairs(tickets) do
  local client, state = client_of[ticket[CLIENT]], ticket[STATE]
  if ticket[OWNER] == me then own[ticket[NUMBER]] = ticket end
  if state == WAITING then
    -- Tickets are stored in their order.
    insert(waits[client], ticket)
    all_waiting = all_waiting + 1
  elseif state ~= PUSHED_OUT then
    taken[client] = taken[client] + 1
    all_taken = all_taken + 1
    if state == RUNNING then
      runs[client] = runs[client] + 1
      all_running = all_running + 1
    end
  end
end

-- Whether virtual time is up to date.
local is_current = false

local function changed()
  queue.version = queue.version + 1
  is_current = false
end

-- Owners -------------------------------------------------------------------------------------------------------------

local function silence(ticket)
  local owner = owners[ticket[OWNER]]
  return now - owner[SEEN], owner
end

local function is_silent(ticket)
  local silent, owner = silence(ticket)
  return silent > SILENT_AFTER * owner[INTERVAL]
end

-- Service and virtual time -------------------------------------------------------------------------------------------

local function is_active(client) return #waits[client] > 0 or taken[client] > 0 end

local function service(client)
  return client[SERVICE] + (runs[client] * (now - client[AS_OF])) / client[WEIGHT]
end

local function fold(client)
  client[SERVICE] = service(client)
  client[AS_OF] = now
end

local function virtual_time()
  local running, weight, least, most = 0, 0, math.huge, -math.huge
  for _, client in ipairs(clients) do
    if is_active(client) then
      running, weight = running + runs[client], weight + client[WEIGHT]
      if #waits[client] > 0 then
        local served = service(client)
        least, most = min(least, served), max(most, served)
      end
    end
  end
  -- No ticket waits.
  if most < least then return queue.virtual end
  return min(most, max(least, queue.virtual + (running * (now - queue.now)) / weight))
end

local function forget(place)
  client_of[clients[place][ID]] = nil
  remove_at(clients, place)
end

-- Brings virtual time up to date, and forgets what it has passed.
local function advance()
  if is_current then return end
  is_current = true
  queue.virtual = virtual_time()
  queue.now = now
  for place = #clients, 1, -1 do
    local client = clients[place]
    if not is_active(client) and service(client) <= queue.virtual then forget(place) end
  end
end

local function activate(id, weight)
  local client = client_of[id]
  if not client then
    client = add_client({ id, weight, queue.virtual, now, -1, 0 })
    insert(clients, client)
    return client
  end
  if #waits[client] == 0 then
    fold(client)
    client[SERVICE] = max(client[SERVICE], queue.virtual)
  end
  if weight ~= client[WEIGHT] then
    fold(client)
    client[WEIGHT] = weight
  end
  return client
end

-- No ticket waits any longer: the client that is served had no rival, and all that come begin alike.
local function restart()
  queue.virtual = 0
  for place = #clients, 1, -1 do
    local client = clients[place]
    if is_active(client) then client[SERVICE], client[AS_OF] = 0, now else forget(place) end
  end
end

-- A client has lost a ticket. The least of too many services is forgotten.
local function rest(client)
  if is_active(client) then return end
  local inactive, least = 0, nil
  for place, other in ipairs(clients) do
    if not is_active(other) then
      inactive = inactive + 1
      if not least or service(other) < service(clients[least]) then least = place end
    end
  end
  if inactive > MAX_REMEMBERED then forget(least) end
end

-- Tickets ------------------------------------------------------------------------------------------------------------

local function unwait(client, ticket)
  for place, other in ipairs(waits[client]) do
    if other == ticket then
      remove_at(waits[client], place)
      all_waiting = all_waiting - 1
      return
    end
  end
end

-- Puts a ticket to its place among those of its client that wait.
local function put_back(client, ticket)
  local list = waits[client]
  local place = #list + 1
  while place > 1 and list[place - 1][ORDER] > ticket[ORDER] do place = place - 1 end
  insert(list, place, ticket)
  ticket[STATE] = WAITING
  all_waiting = all_waiting + 1
end

local function untake(client)
  taken[client] = taken[client] - 1
  all_taken = all_taken - 1
end

-- Takes a ticket out, and forgets its client if that is no longer needed. Virtual time is up to date.
local function remove(ticket, state)
  local client = client_of[ticket[CLIENT]]
  if ticket[STATE] == WAITING then unwait(client, ticket) else untake(client) end
  if all_waiting == 0 then restart() end
  ticket[STATE] = state
  changed()
  rest(client)
end

-- The job of a ticket no longer runs.
local function stop_running(ticket)
  local client = client_of[ticket[CLIENT]]
  fold(client)
  runs[client] = runs[client] - 1
  all_running = all_running - 1
  -- What held its next ticket back may be this job.
  client[ASIDE_UNTIL], client[IN_VAIN] = -1, 0
end

local function drop(ticket)
  if ticket[STATE] == PUSHED_OUT then
    ticket[STATE] = GONE
    return
  end
  advance()
  if ticket[STATE] == RUNNING then stop_running(ticket) end
  remove(ticket, GONE)
end

local function take_turn_back(ticket)
  advance()
  untake(client_of[ticket[CLIENT]])
  put_back(client_of[ticket[CLIENT]], ticket)
  changed()
end

-- A turn could not be used. The more often in a row, the longer the client is passed over.
local function set_aside(ticket)
  take_turn_back(ticket)
  local client = client_of[ticket[CLIENT]]
  client[ASIDE_UNTIL] = now + min(SET_ASIDE * 2 ^ (client[IN_VAIN] or 0), MAX_ASIDE)
  client[IN_VAIN] = (client[IN_VAIN] or 0) + 1
end

-- The first ticket of a client whose owner is not silent.
local function head(client)
  for place, ticket in ipairs(waits[client]) do
    if not is_silent(ticket) then return ticket, place end
  end
end

-- Whether client a is served before client b.
local function is_before(a, a_head, b, b_head)
  local difference = service(a) - service(b)
  if difference ~= 0 then return difference < 0 end
  if taken[a] ~= taken[b] then return taken[a] < taken[b] end
  return a_head[ORDER] < b_head[ORDER]
end

-- How many slots are held, also by requests that do not queue. general.lua describes the
-- counters. 0 if they cannot be read: then a turn is in vain, and comes back.
local function read_held()
  local counters = KEYS[2] and redis.pcall('GET', KEYS[2])
  if type(counters) ~= 'string' then return 0 end
  local tag = string.gsub(ARGV[10], '%x%x', function(digits) return string.char(tonumber(digits, 16)) end)
  -- By kind: the bytes of a head, where it has the number of its entries, the bytes of an entry.
  local kinds = { [0] = { 6 }, { 8, 6, 5 }, { 10, 8, 9 }, { 11 }, { 8, 6, 22 } }
  local count = string.byte(counters, 1) - 128
  local head, entries, held = 2 + count * 4, {}, 0
  for i = 1, count do
    local own, flags = struct.unpack('>c3B', counters, i * 4 - 2)
    local kind = kinds[flags % 8]
    entries[i] = { own, kind[3] and struct.unpack('>I2', counters, head + kind[2]) or 0, kind[3] or 0, flags % 8 }
    head = head + kind[1]
  end
  for i = 1, count do
    local own, number, width, kind = unpack(entries[i])
    for place = head, head + (number - 1) * width, width do
      if own == tag and kind == 4 then
        local units, expiry = struct.unpack('>I4I6', counters, place + 8)
        if expiry > clock then held = held + units end
      end
      if width == 0 then break end
    end
    head = head + number * width
  end
  return held
end

local held
local function is_free()
  if all_taken >= slots or now < (queue.grants_from or 0) then return false end
  if not held then
    local ok, number = pcall(read_held)
    held = ok and number or 0
  end
  return slots - held > all_taken - all_running
end

-- Gives turns while slots are free.
local function grant()
  while all_waiting > 0 and is_free() do
    local next, ticket, place
    for _, client in ipairs(clients) do
      if #waits[client] > 0 and client[ASIDE_UNTIL] <= now then
        local first, at = head(client)
        if first and (not next or is_before(client, first, next, ticket)) then
          next, ticket, place = client, first, at
        end
      end
    end
    if not next then return end
    remove_at(waits[next], place)
    all_waiting = all_waiting - 1
    taken[next] = taken[next] + 1
    all_taken = all_taken + 1
    if all_waiting == 0 then restart() end
    ticket[STATE], ticket[GRANT], ticket[SINCE] = TURN, ticket[GRANT] + 1, now
    if ticket[OWNER] ~= me then woken[ticket[OWNER]] = true end
    changed()
  end
end

-- The client that loses its last ticket to a newcomer: that with most tickets. Nil if it is the newcomer's own.
local function loser_to(id)
  local most = 1 + (client_of[id] and #waits[client_of[id]] or 0)
  local loser
  local function last(client) return waits[client][#waits[client]][ORDER] end
  for _, client in ipairs(clients) do
    local number = #waits[client]
    local is_later = loser and number == most and last(client) > last(loser)
    if client[ID] ~= id and (number > most or is_later) then most, loser = number, client end
  end
  return loser
end

-- The lengths of jobs ------------------------------------------------------------------------------------------------

-- Most calls do not need them.
local lengths
local function known()
  if not lengths then
    lengths = queue.lengths ~= '' and cmsgpack.unpack(queue.lengths)
      or { all = { '', 0, 0, 0, 0 }, clients = {}, surprises = {}, next = 0 }
    lengths.of = {}
    for _, one in ipairs(lengths.clients) do lengths.of[one[1]] = one end
  end
  return lengths
end

-- A client's own mean counts for more with each of its jobs.
local function blended(id, count, mean)
  local one, all = known().of[id], known().all
  if not one then return all[mean] end
  return (one[count] * one[mean] + PRIOR * all[mean]) / (one[count] + PRIOR)
end

-- Nil before the first job has ended.
local function expected(id, estimate)
  local all = known().all
  if all[LENGTHS] == 0 then return nil end
  if estimate >= 0 and all[RATIOS] > 0 then return estimate * blended(id, RATIOS, RATIO) end
  return blended(id, LENGTHS, LENGTH)
end

local function left(id, estimate, age)
  local ordinary = expected(id, estimate)
  if not ordinary then return nil end
  local remain = {}
  for _, surprise in ipairs(known().surprises) do
    if surprise * ordinary > age then insert(remain, surprise * ordinary - age) end
  end
  if #remain == 0 then return ordinary end
  table.sort(remain)
  return remain[math.floor(#remain / 2) + 1]
end

local function add_to_mean(one, count, mean, value)
  one[count] = min(one[count] + 1, MEMORY)
  one[mean] = one[mean] + (value - one[mean]) / one[count]
end

-- One client's endless job must not make the jobs of all others look long.
local function bounded(all, count, mean, value)
  return all[count] < FEW and value or min(value, MAX_OUTLIER * all[mean])
end

local function learn(id, estimate, length)
  local took, is_known = max(1, length), known()
  local one = is_known.of[id] or { id, 0, 0, 0, 0 }
  for place, other in ipairs(is_known.clients) do
    if other == one then
      remove_at(is_known.clients, place)
      break
    end
  end
  insert(is_known.clients, one)
  is_known.of[id] = one
  local all = is_known.all
  add_to_mean(one, LENGTHS, LENGTH, took)
  add_to_mean(all, LENGTHS, LENGTH, bounded(all, LENGTHS, LENGTH, took))
  if estimate >= 0 then
    add_to_mean(one, RATIOS, RATIO, took / estimate)
    add_to_mean(all, RATIOS, RATIO, bounded(all, RATIOS, RATIO, took / estimate))
  end
  -- Of what is expected now: before, a few tiny jobs would make an ordinary one a thousand times as long as expected.
  is_known.surprises[is_known.next + 1] = took / (expected(id, estimate) or took)
  is_known.next = (is_known.next + 1) % MAX_SURPRISES
  if #is_known.clients > MAX_CLIENTS then
    is_known.of[is_known.clients[1][1]] = nil
    remove_at(is_known.clients, 1)
  end
  is_known.is_dirty = true
end

-- Steps --------------------------------------------------------------------------------------------------------------

local JOINED, FULL, OVER = 0, 1, 2
-- The answers to `join`: ticket number, answer, order, client.
local joined, unknown = {}, {}
local at = 11

local function argument()
  at = at + 1
  return ARGV[at - 1]
end

local function number() return tonumber(argument()) end

-- Makes a ticket from the data that precede a step.
local function new_ticket(id, weight, estimate, order, name)
  local client, was_current = client_of[id], is_current
  local is_within = client and #waits[client] > 0
  local before = client and { 0, client[WEIGHT], client[SERVICE], client[AS_OF] } or { 0 }
  client = activate(id, weight)
  if order < 0 then order = queue.order + 1 end
  if order <= queue.order then is_unsorted = true end
  -- Redis has lost this queue. First, all processes come back with their tickets.
  if order > queue.order + 1 then queue.grants_from = now + SILENT_AFTER * tonumber(ARGV[3]) end
  queue.order = max(queue.order, order)
  local ticket = { me, name, id, estimate, order, WAITING, 0, 0, before }
  put_back(client, ticket)
  insert(tickets, ticket)
  own[name] = ticket
  changed()
  -- Virtual time is still between the services of those that wait.
  is_current = was_current and (is_within or service(client) == queue.virtual)
  before[1] = queue.version
  return ticket
end

local step = {}

function step.join()
  local name, id, weight, estimate, order, may_push_out = number(), argument(), number(), number(), number(), number()
  local ticket, answer = own[name], JOINED
  if not ticket or ticket[STATE] == GONE then
    advance()
    local loser
    if (all_waiting > 0 or all_taken >= slots) and all_waiting >= max_waiting then
      loser = loser_to(id)
      answer = not loser and FULL or may_push_out == 0 and OVER or JOINED
    end
    if answer == JOINED then
      ticket = new_ticket(id, weight, estimate, order, name)
      if loser then
        local last = waits[loser][#waits[loser]]
        remove(last, PUSHED_OUT)
        if last[OWNER] ~= me then woken[last[OWNER]] = true end
      end
    end
  end
  insert(joined, { name, answer, ticket and ticket[ORDER] or -1, id, estimate })
end

function step.leave()
  local ticket = own[number()]
  if ticket and ticket[STATE] ~= GONE then drop(ticket) end
end

-- It would wait for too long. If nothing has happened since it came, nothing of it remains.
function step.refuse()
  local ticket = own[number()]
  if not ticket or ticket[STATE] == GONE then return end
  local before, client = ticket[BEFORE], client_of[ticket[CLIENT]]
  if before[1] ~= queue.version or ticket[STATE] ~= WAITING then return drop(ticket) end
  unwait(client, ticket)
  ticket[STATE] = GONE
  changed()
  if before[2] then
    client[WEIGHT], client[SERVICE], client[AS_OF] = before[2], before[3], before[4]
  else
    for place, other in ipairs(clients) do
      if other == client then
        forget(place)
        break
      end
    end
  end
end

function step.aside()
  local ticket, turn = own[number()], number()
  if not ticket or ticket[STATE] ~= TURN or ticket[GRANT] ~= turn then return end
  set_aside(ticket)
end

function step.start()
  local name, id, weight, estimate, order = number(), argument(), number(), number(), number()
  local ticket = own[name]
  if ticket and ticket[STATE] == RUNNING then return end
  advance()
  -- Its turn went back, or Redis has forgotten it: it holds a slot all the same.
  if not ticket or ticket[STATE] == GONE or ticket[STATE] == PUSHED_OUT then
    if ticket then ticket[STATE] = GONE end
    ticket = new_ticket(id, weight, estimate, order, name)
  end
  local client = client_of[ticket[CLIENT]]
  if ticket[STATE] == WAITING then
    unwait(client, ticket)
    taken[client] = taken[client] + 1
    all_taken = all_taken + 1
    if all_waiting == 0 then restart() end
  end
  fold(client)
  client[IN_VAIN] = 0
  runs[client] = runs[client] + 1
  all_running = all_running + 1
  ticket[STATE], ticket[SINCE] = RUNNING, now
  changed()
end

function step.stop()
  local ticket = own[number()]
  if not ticket or ticket[STATE] ~= RUNNING then return end
  advance()
  stop_running(ticket)
  learn(ticket[CLIENT], ticket[ESTIMATE], now - ticket[SINCE])
  remove(ticket, GONE)
end

function step.list()
  local named = {}
  for name in string.gmatch(argument(), '%d+') do
    name = tonumber(name)
    named[name] = true
    if not own[name] or own[name][STATE] == GONE then insert(unknown, name) end
  end
  for name, ticket in pairs(own) do
    if not named[name] and ticket[STATE] ~= GONE then drop(ticket) end
  end
end

-- The call -----------------------------------------------------------------------------------------------------------

owners[me] = { now, tonumber(ARGV[3]), ARGV[9], lease }

for _, ticket in ipairs(tickets) do
  local silent, owner = silence(ticket)
  local state, interval = ticket[STATE], owner[INTERVAL]
  if state == TURN and (silent > SILENT_AFTER * interval or now - ticket[SINCE] > turn_time) then
    -- Its owner may live, and not use its turn.
    if silent > SILENT_AFTER * interval then take_turn_back(ticket) else set_aside(ticket) end
    state = WAITING
  end
  local lasts = max(LEAST_WAIT, WAITS_FOR * interval)
  if state == RUNNING then lasts = max(owner[LEASE], WAITS_FOR * interval) end
  if silent > lasts then drop(ticket) end
end
grant()

while at <= #ARGV do
  step[argument()]()
  grant()
end

-- What is stored.
local stay, heard = {}, {}
for _, ticket in ipairs(tickets) do
  if ticket[STATE] ~= GONE then
    insert(stay, ticket)
    heard[ticket[OWNER]] = owners[ticket[OWNER]]
  end
end
if is_unsorted then table.sort(stay, function(a, b) return a[ORDER] < b[ORDER] end) end
queue.tickets, queue.owners = stay, heard
if lengths and lengths.is_dirty then
  lengths.of, lengths.is_dirty = nil, nil
  queue.lengths = cmsgpack.pack(lengths)
end
local lives = KEPT_FOR + lease + (is_manual and MANUAL_CLOCK_SLACK or 0)
-- As good as deleted, without a command more.
if #stay == 0 and queue.lengths == '' then lives = 1 end
if raw or lives > 1 then
  redis.call('SET', KEYS[1], SIGNATURE .. cmsgpack.pack(queue), 'PX', string.format('%.0f', lives))
end

-- Owners without a channel ask at their intervals. So do those that this user may not publish to.
for owner in pairs(woken) do
  if heard[owner] and heard[owner][CHANNEL] ~= '' then redis.pcall('PUBLISH', heard[owner][CHANNEL], KEYS[1]) end
end

-- The reply ----------------------------------------------------------------------------------------------------------

local reply = {}
local function say(...) insert(reply, struct.pack('>' .. string.rep('d', select('#', ...)), ...)) end
local function say_list(list)
  say(#list)
  for _, value in ipairs(list) do say(value) end
end

say(queue.version)

-- The process that the snapshot is for. The lengths of what was stored are those of `lengths`, or still packed.
if lengths then
  lengths.of = {}
  for _, one in ipairs(lengths.clients) do lengths.of[one[1]] = one end
end

-- Clients with tickets that count.
local shown, place_of = {}, {}
for _, client in ipairs(clients) do
  if is_active(client) then
    insert(shown, client)
    place_of[client[ID]] = #shown
  end
end

say(#joined)
for _, one in ipairs(joined) do
  local name, answer, order, id, estimate = unpack(one)
  say(name, answer, order)
  if answer ~= JOINED then
    say(place_of[id] or 0, client_of[id] and service(client_of[id]) or 0)
  end
end

local turns, pushed_out = {}, {}
for name, ticket in pairs(own) do
  if ticket[STATE] == TURN then
    insert(turns, name)
    insert(turns, ticket[GRANT])
  elseif ticket[STATE] == PUSHED_OUT then
    insert(pushed_out, name)
  end
end
say_list(turns)
say_list(pushed_out)
say_list(unknown)

if ARGV[8] == '' or tonumber(ARGV[8]) == queue.version then
  say(0)
  return table.concat(reply)
end
say(1, known().all[LENGTHS] > 0 and 1 or 0, virtual_time(), #shown)
local running_of = {}
for _, ticket in ipairs(stay) do
  local id, state = ticket[CLIENT], ticket[STATE]
  if state == TURN or state == RUNNING then
    running_of[id] = running_of[id] or {}
    insert(running_of[id], left(id, ticket[ESTIMATE], state == RUNNING and now - ticket[SINCE] or 0) or 0)
  end
end
for _, client in ipairs(shown) do
  local id, live = client[ID], {}
  for _, ticket in ipairs(waits[client]) do
    if not is_silent(ticket) then
      insert(live, ticket[ORDER])
      insert(live, expected(id, ticket[ESTIMATE]) or 0)
    end
  end
  say(service(client), client[WEIGHT])
  say_list(running_of[id] or {})
  say_list(live)
end
return table.concat(reply)
