import { randomBytes } from 'node:crypto';
import { type Duration, milliseconds } from '../../core/duration.js';
import { badOption, badSecret, callback, checkOptionNames, type OptionNames } from '../../core/option.js';
import { ACCEPTED_CLIENTS, type OtherRedisClient, portOf } from '../../core/redis/clients/any-client.js';
import {
  ACCEPTED_SUBSCRIBERS,
  type OtherSubscriber,
  subscriberPortOf,
} from '../../core/redis/clients/any-subscriber.js';
import { warnOfEviction } from '../../core/redis/eviction-policy.js';
import { canScript, isOutOfMemory, type RedisScript } from '../../core/redis/script.js';
import { noAnswer, withTimeout } from '../../core/with-timeout.js';
import type { AdoptedJob, CreatedJob, JobChange, JobRecord, JobStore, NewJob } from '../job-store.js';
import type { JobRedisClient } from './idempotency-store.js';
import { CANCEL, CHANGE, CREATE, READ, RENEW } from './job-scripts.js';
import { type JobSubscriber, JobWatchers } from './job-watchers.js';
import { NewestJobs } from './newest-jobs.js';
import { packChange, packedJob, unpackJob } from './packed-job.js';
import { TaskIndex, type TaskRedisClient } from './task-index.js';

/** The commands used of an ioredis client, version 5 or 6: a `Redis` or a `Cluster`. */
export interface JobStoreRedisClient extends JobRedisClient, TaskRedisClient {}

/** Options of `redisJobStore`. */
export interface RedisJobStoreOptions {
  /** A client of ioredis, redis 5 or `@valkey/valkey-glide`. The service creates, connects and closes it. */
  readonly client: JobStoreRedisClient | OtherRedisClient;
  /** The beginning of every key in Redis. Default `gw:jobs:`. */
  readonly prefix?: string | undefined;
  /**
   * A second client, for subscriptions only, such as `client.duplicate()`. With it, a change by another process is seen at
   * once. Without it, jobs that are followed are read every `pollInterval`, 500 of them at a time.
   */
  readonly subscriber?: JobSubscriber | OtherSubscriber | undefined;
  /** How often a job that is followed is read. Default `'500ms'`, or `'5s'` with a `subscriber`. */
  readonly pollInterval?: Duration | undefined;
  /** How long to wait for an answer. Default `'1s'`, at most `'60s'`. */
  readonly timeout?: Duration | undefined;
  /** A clock in epoch milliseconds instead of the server's own. It must be the same in all processes. */
  readonly now?: (() => number) | undefined;
}

/** A job store in Redis. It always answers with a promise. */
export interface RedisJobStore extends JobStore {
  create(job: NewJob): Promise<CreatedJob>;
  read(id: string): Promise<JobRecord | undefined>;
  change(id: string, holder: string, change: JobChange): Promise<JobRecord | undefined>;
  renew(id: string, holder: string, lease: number): Promise<JobRecord | undefined>;
  cancel(id: string): Promise<JobRecord | undefined>;
  adopt(names: readonly string[], holder: string, lease: number): Promise<AdoptedJob | undefined>;
  list(limit: number): Promise<readonly JobRecord[]>;
}

const FACTORY = 'redisJobStore';
const OPTIONS: OptionNames<RedisJobStoreOptions> = {
  client: true,
  prefix: true,
  subscriber: true,
  pollInterval: true,
  timeout: true,
  now: true,
};
const HOUR = 3_600_000;
const MAX_TIMEOUT = 60_000;
const MIN_POLL = 10;

/**
 * Keeps jobs in Redis, for several processes and through their restarts. Each verb is one script on one key, and each key
 * expires with its job. If the process of a job dies, the job is `failed` with `job-lost` when its lease ends. A task that has
 * not started is adopted by another process instead. If Redis has no memory left, new jobs are refused. A server whose `maxmemory-policy` evicts keys can forget a job; the warning `GATEWARDEN_EVICTION_RISK` reports it
 * once.
 *
 * ```ts
 * const queue = jobs({ store: redisJobStore({ client: new Redis(process.env.REDIS_URL) }) })
 * ```
 * @throws OptionError
 */
export function redisJobStore(options: RedisJobStoreOptions): RedisJobStore {
  checkOptionNames(FACTORY, options, OPTIONS);
  const { prefix = 'gw:jobs:' } = options;
  const client = portOf(options.client);
  const subscriber = options.subscriber === undefined ? undefined : subscriberPortOf(options.subscriber);
  const commands = ['incr', 'zadd', 'zrem', 'info'];
  // Not shown: it may be a URL with a password.
  if (!canScript(client) || commands.some((name) => typeof Reflect.get(client, name) !== 'function')) {
    throw badSecret(FACTORY, 'client', ACCEPTED_CLIENTS);
  }
  const isClient = subscriber !== undefined && (options.subscriber as object) === options.client;
  if (isClient || (subscriber !== undefined && typeof subscriber?.subscribe !== 'function')) {
    throw badSecret(FACTORY, 'subscriber', ACCEPTED_SUBSCRIBERS);
  }
  if (typeof prefix !== 'string') throw badOption(FACTORY, 'prefix', 'must be a string', prefix);
  const pollInterval = options.pollInterval ?? (subscriber === undefined ? '500ms' : '5s');
  return new Jobs({
    client,
    prefix,
    timeout: milliseconds(FACTORY, 'timeout', options.timeout ?? '1s', MAX_TIMEOUT),
    now: callback(FACTORY, 'now', options.now),
    watchers: new JobWatchers(milliseconds(FACTORY, 'pollInterval', pollInterval, HOUR, MIN_POLL), prefix, subscriber),
  });
}

interface Settings {
  readonly client: JobStoreRedisClient;
  readonly prefix: string;
  readonly timeout: number;
  readonly now: (() => number) | undefined;
  readonly watchers: JobWatchers;
}

class Jobs implements RedisJobStore {
  readonly #settings: Settings;
  readonly #tasks: TaskIndex;
  readonly #newest: NewestJobs;
  readonly #reads = new Map<string, Promise<JobRecord | undefined>>();
  #evictionChecked = false;

  constructor(settings: Settings) {
    this.#settings = settings;
    const { client, prefix, timeout, now } = settings;
    this.#newest = new NewestJobs(client, prefix);
    this.#tasks = new TaskIndex({
      client,
      prefix,
      now: () => now?.() ?? -1,
      inTime: (answer) => withTimeout(answer, timeout, () => noAnswer('Redis', timeout)),
      run: (script, id, args) => this.#run(script, id, args),
    });
  }

  async create({ id, owner, holder, lease, ttl, task }: NewJob): Promise<CreatedJob> {
    if (!this.#evictionChecked) {
      this.#evictionChecked = true;
      void warnOfEviction(this.#settings.client, FACTORY, 'jobs');
    }
    try {
      const number = task === undefined ? undefined : await this.#tasks.nextNumber();
      const ofTask = task === undefined || number === undefined ? [] : [task.name, task.payload, number];
      const reply = await this.#run(CREATE, id, [owner, holder, lease, ttl, ...ofTask]);
      if (reply === 'exists') return { kind: 'exists' };
      const job = packedJob(reply);
      // The job is promised to its client only when it is here.
      await this.#tasks.add(id, job);
      this.#newest.add(id, ttl);
      return { kind: 'created', record: unpackJob(id, job) };
    } catch (error) {
      if (isOutOfMemory(error)) return { kind: 'full' };
      throw error;
    }
  }

  /** All who follow a job look at it at the same moment. They share one command. */
  read(id: string): Promise<JobRecord | undefined> {
    const shared = this.#reads.get(id);
    if (shared !== undefined) return shared;
    const answer = this.#read(id);
    this.#reads.set(id, answer);
    // Before anything else arrives: a later read may have seen a change.
    queueMicrotask(() => this.#reads.delete(id));
    return answer;
  }

  async #read(id: string): Promise<JobRecord | undefined> {
    return this.#record(id, await this.#run(READ, id, []));
  }

  async change(id: string, holder: string, change: JobChange): Promise<JobRecord | undefined> {
    const reply = await this.#run(CHANGE, id, [holder, ...packChange(change)]);
    const isOver = change.kind === 'start' || change.kind === 'end';
    if (isOver && isPresent(reply)) this.#tasks.remove(id, packedJob(reply));
    return this.#changed(id, reply);
  }

  async renew(id: string, holder: string, lease: number): Promise<JobRecord | undefined> {
    const reply = await this.#run(RENEW, id, [holder, lease]);
    if (isPresent(reply)) await this.#tasks.renew(id, packedJob(reply));
    return this.#record(id, reply);
  }

  async cancel(id: string): Promise<JobRecord | undefined> {
    const reply = await this.#run(CANCEL, id, []);
    if (isPresent(reply)) this.#tasks.remove(id, packedJob(reply));
    return this.#changed(id, reply);
  }

  adopt(names: readonly string[], holder: string, lease: number): Promise<AdoptedJob | undefined> {
    return this.#tasks.adopt(names, holder, lease);
  }

  async list(limit: number): Promise<readonly JobRecord[]> {
    const { timeout } = this.#settings;
    const ids = await withTimeout(this.#newest.list(limit), timeout, () => noAnswer('Redis', timeout));
    const records = await Promise.all(ids.map((id) => this.read(id)));
    return records.filter((record) => record !== undefined);
  }

  watch(id: string, onChange: () => void): () => void {
    return this.#settings.watchers.watch(id, onChange);
  }

  /** `command` names this call, so that Redis knows it again. */
  async #run(script: RedisScript, id: string, args: readonly (string | number)[]): Promise<unknown> {
    const { client, prefix, timeout, now } = this.#settings;
    const command = randomBytes(9).toString('base64url');
    const answer = script.run(client, [prefix + id], [now?.() ?? -1, command, ...args]);
    return withTimeout(answer, timeout, () => noAnswer('Redis', timeout));
  }

  #changed(id: string, reply: unknown): JobRecord | undefined {
    const record = this.#record(id, reply);
    if (record !== undefined) this.#settings.watchers.changed(id);
    return record;
  }

  #record(id: string, reply: unknown): JobRecord | undefined {
    return isPresent(reply) ? unpackJob(id, packedJob(reply)) : undefined;
  }
}

/** Redis has no job where a script returns nothing. */
function isPresent(reply: unknown): boolean {
  return reply !== null && reply !== undefined;
}
