import { randomBytes } from 'node:crypto';
import { type Duration, milliseconds } from '../../core/duration.js';
import { badOption, badSecret, checkOptionNames, type OptionNames } from '../../core/option.js';
import { ACCEPTED_CLIENTS, type OtherRedisClient, portOf } from '../../core/redis/clients/any-client.js';
import { warnOfEviction } from '../../core/redis/eviction-policy.js';
import { canScript, isOutOfMemory, RedisScript, type ScriptingClient } from '../../core/redis/script.js';
import { warn } from '../../core/warning.js';
import { noAnswer, withTimeout } from '../../core/with-timeout.js';
import { type AddedMeasure, MAX_MEASURES, type Measure, type OperatorStore, readMeasure } from '../operator-store.js';

/** The commands used of an ioredis client, version 5 or 6: a `Redis` or a `Cluster`. */
export interface OperatorRedisClient extends ScriptingClient {
  info(section: string): Promise<string>;
}

/** Options of `redisOperatorStore`. */
export interface RedisOperatorStoreOptions {
  /** A client of ioredis, redis 5 or `@valkey/valkey-glide`. The service creates, connects and closes it. */
  readonly client: OperatorRedisClient | OtherRedisClient;
  /** The beginning of the key in Redis. Default `gw:operator:`. */
  readonly prefix?: string | undefined;
  /** How long to wait for an answer. Default `'1s'`, at most `'60s'`. */
  readonly timeout?: Duration | undefined;
}

/** An operator store in Redis. It always answers with a promise. */
export interface RedisOperatorStore extends OperatorStore {
  list(): Promise<readonly Measure[]>;
  add(measure: Measure): Promise<AddedMeasure>;
  remove(kind: Measure['kind'], client: string): Promise<boolean>;
}

const FACTORY = 'redisOperatorStore';
const OPTIONS: OptionNames<RedisOperatorStoreOptions> = { client: true, prefix: true, timeout: true };
const MAX_TIMEOUT = 60_000;

/** One hash: the field `v` is another text after each change, and every other field is a measure in JSON. */
const LIST = new RedisScript(`
if ARGV[1] ~= '' and redis.call('HGET', KEYS[1], 'v') == ARGV[1] then return 'same' end
return redis.call('HGETALL', KEYS[1])`);
/** ARGV: field, measure, the time, the most measures, what the field \`v\` becomes. */
const ADD = new RedisScript(`
local function isOver(text)
  local ends = cjson.decode(text)['until']
  return ends and ends <= tonumber(ARGV[3])
end
local known = redis.call('HGET', KEYS[1], ARGV[1])
if known and not isOver(known) then return 'exists' end
if not known and redis.call('HLEN', KEYS[1]) > tonumber(ARGV[4]) then
  local all = redis.call('HGETALL', KEYS[1])
  for i = 1, #all, 2 do
    if all[i] ~= 'v' and isOver(all[i + 1]) then redis.call('HDEL', KEYS[1], all[i]) end
  end
  if redis.call('HLEN', KEYS[1]) > tonumber(ARGV[4]) then return 'full' end
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2], 'v', ARGV[5])
return 'added'`);
const REMOVE = new RedisScript(`
if redis.call('HDEL', KEYS[1], ARGV[1]) == 0 then return 0 end
redis.call('HSET', KEYS[1], 'v', ARGV[2])
return 1`);

/**
 * Keeps the measures of operators in Redis, for several processes and through their restarts. Nothing expires: the server
 * needs `maxmemory-policy noeviction`, and a persistence of its own. The warning `GATEWARDEN_EVICTION_RISK` reports another
 * policy once.
 *
 * ```ts
 * const controls = operatorControls({ store: redisOperatorStore({ client: new Redis(process.env.REDIS_URL) }), sink })
 * ```
 * @throws OptionError
 */
export function redisOperatorStore(options: RedisOperatorStoreOptions): RedisOperatorStore {
  checkOptionNames(FACTORY, options, OPTIONS);
  const { prefix = 'gw:operator:' } = options;
  const client = portOf(options.client);
  // Not shown: it may be a URL with a password.
  if (!canScript(client)) throw badSecret(FACTORY, 'client', ACCEPTED_CLIENTS);
  if (typeof prefix !== 'string') throw badOption(FACTORY, 'prefix', 'must be a string', prefix);
  const timeout = milliseconds(FACTORY, 'timeout', options.timeout ?? '1s', MAX_TIMEOUT);
  const keys = [`${prefix}measures`];
  let evictionChecked = false;
  let known: { readonly version: string; readonly measures: readonly Measure[] } | undefined;

  const run = (script: RedisScript, args: readonly (string | number)[]) =>
    withTimeout(script.run(client, keys, args), timeout, () => noAnswer('Redis', timeout));

  async function add(measure: Measure): Promise<AddedMeasure> {
    const packed = [fieldOf(measure.kind, measure.client), JSON.stringify(measure), measure.since];
    try {
      const reply = await run(ADD, [...packed, MAX_MEASURES, newVersion()]);
      if (reply === 'added' || reply === 'exists' || reply === 'full') return reply;
    } catch (error) {
      if (isOutOfMemory(error)) return 'full';
      throw error;
    }
    throw new TypeError(STRANGE);
  }

  /** The field `v` is never removed, so the server has lost its data. A suspended client must not come in because of that. */
  async function restored(measures: readonly Measure[]): Promise<readonly Measure[]> {
    warn(`${FACTORY}: Redis has lost the measures of operators; those that this process knows are written again`, {
      code: 'GATEWARDEN_OPERATOR_DATA_LOST',
    });
    await Promise.all(measures.map(add));
    return measures;
  }

  return {
    async list() {
      if (!evictionChecked) {
        evictionChecked = true;
        void warnOfEviction(client, FACTORY, 'suspensions');
      }
      const before = known;
      const reply = await run(LIST, [before?.version ?? '']);
      if (reply === 'same' && before !== undefined) return before.measures;
      const { version, measures } = unpacked(reply);
      if (version === undefined && before !== undefined && before.measures.length > 0) return restored(before.measures);
      known = version === undefined ? undefined : { version, measures };
      return measures;
    },
    add,
    async remove(kind, client) {
      return (await run(REMOVE, [fieldOf(kind, client), newVersion()])) === 1;
    },
  };
}

/** Never `v`. */
function fieldOf(kind: Measure['kind'], client: string): string {
  return `${kind}:${client}`;
}

function newVersion(): string {
  return randomBytes(9).toString('base64url');
}

/** @throws TypeError for what is no measure: to go on without it could let a suspended client in */
function unpacked(reply: unknown): { readonly version: string | undefined; readonly measures: readonly Measure[] } {
  if (!Array.isArray(reply) || reply.some((part) => typeof part !== 'string')) throw new TypeError(STRANGE);
  let version: string | undefined;
  const measures: Measure[] = [];
  for (let i = 0; i + 1 < reply.length; i += 2) {
    if (reply[i] === 'v') {
      version = reply[i + 1];
      continue;
    }
    const measure = readMeasure(parsed(reply[i + 1]));
    if (measure === undefined) throw new TypeError(STRANGE);
    measures.push(measure);
  }
  return { version, measures };
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

const STRANGE =
  'gatewarden: redisOperatorStore got something from Redis that is no measure; does another program use its key?';
