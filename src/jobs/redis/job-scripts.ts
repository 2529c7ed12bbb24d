import { RedisScript } from '../../core/redis/script.js';

/**
 * What all scripts begin with. A job is a hash: o owner, s state, v version, c b e x times of creation, start, end and expiry,
 * p place, g progress, q whether its end was requested, r result, f files, m problem, h holder, l end of the lease, t ttl,
 * n k i the task's name, payload (until it starts) and number, u the last command. The problem of a lost job is the text `lost`.
 *
 * ARGV[1] is the time, or -1 for the server's own. ARGV[2] names the command: a client library may send one twice, and the
 * second time it changes nothing and is answered as the first.
 */
const PRELUDE = `
local key, now, command = KEYS[1], tonumber(ARGV[1]), ARGV[2]
if now < 0 then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end
local function text(number) return string.format('%.0f', number) end
local function keep(job)
  local live = job.s == 'queued' or job.s == 'running'
  local untilTime = live and tonumber(job.l) + tonumber(job.t) or tonumber(job.x)
  redis.call('PEXPIRE', key, text(math.max(1, untilTime - now) + SLACK))
end
local function set(job, fields)
  for name, value in pairs(fields) do
    job[name] = value or nil
    if value then redis.call('HSET', key, name, value) else redis.call('HDEL', key, name) end
  end
end
local function finish(job, at, fields)
  fields.p, fields.k, fields.v = false, false, text(job.v + 1)
  fields.e, fields.x = text(at), text(at + tonumber(job.t))
  set(job, fields)
end
local function load()
  local flat = redis.call('HGETALL', key)
  if #flat == 0 then return nil end
  local job = {}
  for i = 1, #flat, 2 do job[flat[i]] = flat[i + 1] end
  local isDead = now >= tonumber(job.l)
  if isDead and job.s == 'queued' and job.n then
    if now >= tonumber(job.l) + tonumber(job.t) then redis.call('DEL', key) return nil end
  elseif isDead and (job.s == 'queued' or job.s == 'running') then
    finish(job, tonumber(job.l), { s = 'failed', m = 'lost' })
    keep(job)
  end
  if job.x and now >= tonumber(job.x) then redis.call('DEL', key) return nil end
  return job
end
local function isHeldBy(job, holder)
  return job and (job.s == 'queued' or job.s == 'running') and job.h == holder and now < tonumber(job.l)
end
local function reply(job, withPayload)
  local flat = {}
  for name, value in pairs(job) do
    if name ~= 'k' or withPayload then flat[#flat + 1] = name; flat[#flat + 1] = value end
  end
  return flat
end
`;

/** How much longer than its jobs Redis keeps its keys, in milliseconds: room for a clock that is set back a little. */
const KEY_SLACK = 60_000;

function jobScript(body: string): RedisScript {
  return new RedisScript(PRELUDE.replace('SLACK', String(KEY_SLACK)) + body);
}

/** owner, holder, lease, ttl, and for a task its name, payload and number. */
export const CREATE = jobScript(`
local known = load()
if known and known.u ~= command then return 'exists' end
if known then return reply(known) end
local job = { o = ARGV[3], s = 'queued', v = '1', c = text(now), h = ARGV[4], l = text(now + ARGV[5]), t = ARGV[6], u = command }
if #ARGV > 6 then job.n, job.k, job.i = ARGV[7], ARGV[8], ARGV[9] end
set(job, job)
keep(job)
return reply(job)`);

export const READ = jobScript(`
local job = load()
return job and reply(job)`);

/** holder, the states that the change is for, what it does (`set`, `start` or `end`), and names and values; '' removes. */
export const CHANGE = jobScript(`
local job = load()
if job and job.u == command then return reply(job) end
if not isHeldBy(job, ARGV[3]) or not string.find(ARGV[4], job.s, 1, true) then return nil end
local fields = { u = command }
for i = 6, #ARGV, 2 do fields[ARGV[i]] = ARGV[i + 1] ~= '' and ARGV[i + 1] end
if ARGV[5] == 'end' then
  finish(job, now, fields)
else
  if ARGV[5] == 'start' then fields.s, fields.b, fields.p, fields.k = 'running', text(now), false, false end
  fields.v = text(job.v + 1)
  set(job, fields)
end
keep(job)
redis.pcall('PUBLISH', key, job.v)
return reply(job)`);

/** holder, lease. */
export const RENEW = jobScript(`
local job = load()
if not isHeldBy(job, ARGV[3]) then return nil end
set(job, { l = text(now + ARGV[4]) })
keep(job)
return reply(job)`);

export const CANCEL = jobScript(`
local job = load()
if not job then return nil end
if job.s == 'queued' then
  finish(job, now, { s = 'cancelled' })
elseif job.s == 'running' and not job.q then
  set(job, { q = '1', v = text(job.v + 1) })
else
  return reply(job)
end
keep(job)
redis.pcall('PUBLISH', key, job.v)
return reply(job)`);

/** holder, lease, name, number. 'gone' for a task that cannot be adopted any more, and the end of its lease if not yet. */
export const ADOPT = jobScript(`
local job = load()
if not job or job.s ~= 'queued' or job.n ~= ARGV[5] or job.i ~= ARGV[6] then return 'gone' end
if job.u == command then return reply(job, true) end
if now < tonumber(job.l) then return job.l end
set(job, { h = ARGV[3], l = text(now + ARGV[4]), u = command })
keep(job)
return reply(job, true)`);

/** The tasks of one name whose lease has ended: KEYS[1] is the index, a sorted set of tasks by the end of their lease. */
export const LAPSED = new RedisScript(`
local now = tonumber(ARGV[1])
if now < 0 then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end
return redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now), 'LIMIT', 0, ARGV[2])`);
