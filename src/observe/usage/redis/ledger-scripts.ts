import BOOK from '../../../core/redis/book.lua';
import { RedisScript } from '../../../core/redis/script.js';

/**
 * Adds to rows once, however often the call arrives. KEYS: the batch, all days, the day. ARGV: how long to remember the
 * batch, how long to keep the day, then fields and what is added to them. A figure that can rise no more stays as it is,
 * and does not keep the others from being added.
 */
export const ADD = new RedisScript(`
-- If one of these is no hash, nothing is marked as added.
redis.call('HLEN', KEYS[2])
redis.call('HLEN', KEYS[3])
if not redis.call('SET', KEYS[1], '1', 'NX', 'PX', ARGV[1]) then return 0 end
for i = 3, #ARGV, 2 do
  redis.pcall('HINCRBY', KEYS[2], ARGV[i], ARGV[i + 1])
  redis.pcall('HINCRBY', KEYS[3], ARGV[i], ARGV[i + 1])
end
redis.call('PEXPIRE', KEYS[3], ARGV[2])
return 1
`);

/**
 * Books jobs. KEYS: all days, today, the day before, then a key for each job. ARGV: today and the day before, how long to
 * remember a job and to keep a day, then for each job its client, its milliseconds, whether they are final, and its end.
 */
export const BOOK_JOBS = new RedisScript(`
local function book(...)
${BOOK}
end
local today, yesterday, keep_job, keep_day = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
for i = 4, #KEYS do
  local at = 5 + (i - 4) * 4
  book(KEYS[i], KEYS[1], KEYS[2], KEYS[3], ARGV[at], tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2]),
    tonumber(ARGV[at + 3]), today, yesterday, keep_job, keep_day)
end
return 1
`);

/** Reads a part of a hash. ARGV: the cursor, and about how many fields. */
export const SCAN = new RedisScript(`return redis.call('HSCAN', KEYS[1], ARGV[1], 'COUNT', ARGV[2])`);

/** Adds a place to the set of them, or reads the set. ARGV: the place, if there is one. */
export const PLACES = new RedisScript(`
if ARGV[1] then return redis.call('SADD', KEYS[1], ARGV[1]) end
return redis.call('SMEMBERS', KEYS[1])
`);
