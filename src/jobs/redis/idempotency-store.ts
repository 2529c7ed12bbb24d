import { badOption, badSecret, checkOptionNames, type OptionNames } from '../../core/option.js';
import { ACCEPTED_CLIENTS, type OtherRedisClient, portOf } from '../../core/redis/clients/any-client.js';
import { warnOfEviction } from '../../core/redis/eviction-policy.js';
import { canScript, isOutOfMemory, RedisScript, type ScriptingClient } from '../../core/redis/script.js';
import type { Begun, IdempotencyAnswer, IdempotencyStore } from '../idempotency/idempotency-store.js';

/** The commands used of an ioredis client, version 5 or 6: a `Redis` or a `Cluster`. */
export interface JobRedisClient extends ScriptingClient {
  info(section: string): Promise<string>;
}

/** Options of `redisIdempotencyStore`. */
export interface RedisIdempotencyStoreOptions {
  /** A client of ioredis, redis 5 or `@valkey/valkey-glide`. The service creates, connects and closes it. */
  readonly client: JobRedisClient | OtherRedisClient;
  /** The beginning of every key in Redis. Default `gw:idempotency:`. */
  readonly prefix?: string | undefined;
}

const FACTORY = 'redisIdempotencyStore';
const OPTIONS: OptionNames<RedisIdempotencyStoreOptions> = { client: true, prefix: true };

/** One hash a key: `f` is the fingerprint, `h` who holds the key, and `a` the answer. Redis expires it by its own clock. */
const BEGIN = new RedisScript(`
local known = redis.call('HMGET', KEYS[1], 'f', 'h', 'a')
if known[3] then return { 'answered', known[1], known[3] } end
if known[1] and known[2] ~= ARGV[2] then return { 'running', known[1] } end
redis.call('HSET', KEYS[1], 'f', ARGV[1], 'h', ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return { 'new' }`);
const RENEW = new RedisScript(`
local known = redis.call('HMGET', KEYS[1], 'h', 'a')
if known[1] ~= ARGV[1] or known[2] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])`);
/** Sent twice, it succeeds twice: the holder stays with its answer. */
const FINISH = new RedisScript(`
local holder = redis.call('HGET', KEYS[1], 'h')
if holder and holder ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], 'f', ARGV[1], 'h', ARGV[2], 'a', ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return 1`);
const RELEASE = new RedisScript(`
local known = redis.call('HMGET', KEYS[1], 'h', 'a')
if known[1] == ARGV[1] and not known[2] then redis.call('DEL', KEYS[1]) end
return 0`);

/**
 * Remembers idempotency keys and answers in Redis, for several processes. Each verb is one script on one key. If Redis has no
 * memory left for a key, the request is refused with 503. A server whose `maxmemory-policy` evicts keys can forget an
 * answer; the warning `GATEWARDEN_EVICTION_RISK` reports it once. A server that fails over before its replica has the
 * answer can, too.
 *
 * ```ts
 * idempotent({ store: redisIdempotencyStore({ client: new Redis(process.env.REDIS_URL) }) })
 * ```
 * @throws OptionError
 */
export function redisIdempotencyStore(options: RedisIdempotencyStoreOptions): IdempotencyStore {
  checkOptionNames(FACTORY, options, OPTIONS);
  const { prefix = 'gw:idempotency:' } = options;
  const client = portOf(options.client);
  // Not shown: it may be a URL with a password.
  if (!canScript(client)) throw badSecret(FACTORY, 'client', ACCEPTED_CLIENTS);
  if (typeof prefix !== 'string') throw badOption(FACTORY, 'prefix', 'must be a string', prefix);
  let evictionChecked = false;

  return {
    async begin(key, fingerprint, holder, lease): Promise<Begun> {
      if (!evictionChecked) {
        evictionChecked = true;
        void warnOfEviction(client, FACTORY, 'idempotency keys');
      }
      try {
        return readBegun(await BEGIN.run(client, [prefix + key], [fingerprint, holder, lease]));
      } catch (error) {
        if (isOutOfMemory(error)) return { kind: 'full' };
        throw error;
      }
    },
    async renew(key, holder, lease) {
      return (await RENEW.run(client, [prefix + key], [holder, lease])) === 1;
    },
    async finish(key, fingerprint, holder, answer, ttl) {
      return (await FINISH.run(client, [prefix + key], [fingerprint, holder, packAnswer(answer), ttl])) === 1;
    },
    async release(key, holder) {
      await RELEASE.run(client, [prefix + key], [holder]);
    },
  };
}

function readBegun(reply: unknown): Begun {
  const [kind, fingerprint, answer] = Array.isArray(reply) ? reply : [];
  if (kind === 'new') return { kind };
  if (typeof fingerprint === 'string') {
    if (kind === 'running') return { kind, fingerprint };
    if (kind === 'answered' && typeof answer === 'string') return { kind, fingerprint, answer: unpackAnswer(answer) };
  }
  throw new TypeError('gatewarden: redisIdempotencyStore got an answer that its script does not give');
}

interface PackedAnswer {
  readonly status: number;
  readonly headers: IdempotencyAnswer['headers'];
  /** In base64. */
  readonly body?: string | undefined;
}

function packAnswer({ status, headers, body }: IdempotencyAnswer): string {
  const packed: PackedAnswer = {
    status,
    headers,
    body: body === undefined ? undefined : Buffer.from(body).toString('base64'),
  };
  return JSON.stringify(packed);
}

function unpackAnswer(text: string): IdempotencyAnswer {
  const { status, headers, body } = JSON.parse(text) as PackedAnswer;
  return { status, headers, body: body === undefined ? undefined : Buffer.from(body, 'base64') };
}
