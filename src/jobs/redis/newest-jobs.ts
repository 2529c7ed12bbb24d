import { RedisScript, type ScriptingClient } from '../../core/redis/script.js';

/** The most jobs that are known by their age. */
const MAX_IDS = 1000;

/**
 * KEYS[1] is a sorted set of ids by their number, and KEYS[2] the last number. ARGV: the id, the most ids, and the least time
 * to keep both. It needs no other commands than the index of tasks.
 */
const ADD = new RedisScript(`
local number = redis.call('INCR', KEYS[2])
redis.call('ZADD', KEYS[1], number, ARGV[1])
for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', number - ARGV[2], 'LIMIT', 0, 100)) do
  redis.call('ZREM', KEYS[1], id)
end
if redis.call('PTTL', KEYS[2]) < tonumber(ARGV[3]) then
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
  redis.call('PEXPIRE', KEYS[2], ARGV[3])
end
return number`);
const LIST = new RedisScript(`
local number = tonumber(redis.call('GET', KEYS[2]) or '0')
return redis.call('ZRANGEBYSCORE', KEYS[1], number - ARGV[1] + 1, '+inf')`);

/** How long a list stays whose jobs may still run, beyond their `ttl`, in milliseconds. */
const WEEK = 604_800_000;

/** The ids of the newest jobs, for operators. It is beside the jobs, and may have ids of jobs that are gone. */
export class NewestJobs {
  readonly #client: ScriptingClient;
  readonly #keys: readonly string[];

  constructor(client: ScriptingClient, prefix: string) {
    this.#client = client;
    this.#keys = [`${prefix}{newest}`, `${prefix}{newest}:number`];
  }

  /** In the background: a job that is not listed is served all the same. `ttl` in milliseconds. */
  add(id: string, ttl: number): void {
    ADD.run(this.#client, this.#keys, [id, MAX_IDS, ttl + WEEK]).catch(() => undefined);
  }

  async list(limit: number): Promise<readonly string[]> {
    const ids = await LIST.run(this.#client, this.#keys, [Math.min(limit, MAX_IDS)]);
    return Array.isArray(ids) ? ids.reverse() : [];
  }
}
