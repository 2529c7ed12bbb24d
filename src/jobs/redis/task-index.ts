import type { RedisScript, ScriptingClient } from '../../core/redis/script.js';
import type { AdoptedJob } from '../job-store.js';
import { ADOPT, LAPSED } from './job-scripts.js';
import { type PackedJob, packedJob, unpackJob } from './packed-job.js';

/** The commands of an ioredis client that the index of tasks uses. */
export interface TaskRedisClient extends ScriptingClient {
  incr(key: string): Promise<number>;
  zadd(key: string, score: string | number, member: string): Promise<unknown>;
  zrem(key: string, member: string): Promise<unknown>;
}

/** What the index needs of its store. */
export interface TaskIndexOptions {
  readonly client: TaskRedisClient;
  readonly prefix: string;
  /** The time, or -1 for the server's own. */
  readonly now: () => number;
  readonly inTime: <T>(answer: Promise<T>) => Promise<T>;
  /** Runs a script on a job. */
  readonly run: (script: RedisScript, id: string, args: readonly (string | number)[]) => Promise<unknown>;
}

/** How many tasks are looked at in one call of `adopt`. */
const MAX_CANDIDATES = 100;
const NUMBER_DIGITS = 16;

/**
 * Finds the tasks that can be adopted: a sorted set for each name, with the end of the lease of each task that is queued. A
 * member is the task's number and the job's id. It is in other slots of a Cluster than the jobs, so it may be out of date:
 * the job decides, and the index is corrected.
 */
export class TaskIndex {
  readonly #options: TaskIndexOptions;

  constructor(options: TaskIndexOptions) {
    this.#options = options;
  }

  /** Numbers rise, so that the oldest task is known. */
  async nextNumber(): Promise<string> {
    const { client, prefix, inTime } = this.#options;
    return String(await inTime(client.incr(`${prefix}{tasks}`))).padStart(NUMBER_DIGITS, '0');
  }

  async add(id: string, job: PackedJob): Promise<void> {
    const { client, inTime } = this.#options;
    const place = this.#placeOf(id, job);
    if (place !== undefined) await inTime(client.zadd(place.key, job.get('l') ?? 0, place.member));
  }

  /** If this fails, the index is out of date until the next renewal. */
  async renew(id: string, job: PackedJob): Promise<void> {
    if (job.get('s') === 'queued') await this.add(id, job).catch(() => undefined);
  }

  /** In the background: `adopt` removes what is left. */
  remove(id: string, job: PackedJob): void {
    const place = this.#placeOf(id, job);
    if (place === undefined || job.get('s') === 'queued') return;
    this.#options.client.zrem(place.key, place.member).catch(() => undefined);
  }

  async adopt(names: readonly string[], holder: string, lease: number): Promise<AdoptedJob | undefined> {
    const { client, run, inTime } = this.#options;
    const found = await Promise.all([...new Set(names)].map((name) => this.#lapsed(name)));
    const candidates = found.flat().sort((a, b) => (a.number < b.number ? -1 : 1));
    for (const { name, number, id } of candidates) {
      const [key, member] = [this.#keyOf(name), `${number}:${id}`];
      const reply = await run(ADOPT, id, [holder, lease, name, number]);
      if (Array.isArray(reply)) {
        const job = packedJob(reply);
        await this.add(id, job);
        return { record: unpackJob(id, job), task: { name, payload: job.get('k') ?? '' } };
      }
      await inTime(reply === 'gone' ? client.zrem(key, member) : client.zadd(key, String(reply), member));
    }
    return undefined;
  }

  async #lapsed(name: string): Promise<readonly { name: string; number: string; id: string }[]> {
    const { client, now, inTime } = this.#options;
    const members = await inTime(LAPSED.run(client, [this.#keyOf(name)], [now(), MAX_CANDIDATES]));
    if (!Array.isArray(members)) return [];
    return members.map((member: string) => ({
      name,
      number: member.slice(0, NUMBER_DIGITS),
      id: member.slice(NUMBER_DIGITS + 1),
    }));
  }

  #placeOf(id: string, job: PackedJob): { key: string; member: string } | undefined {
    const [name, number] = [job.get('n'), job.get('i')];
    return name === undefined || number === undefined
      ? undefined
      : { key: this.#keyOf(name), member: `${number}:${id}` };
  }

  #keyOf(name: string): string {
    return `${this.#options.prefix}{tasks}:${name}`;
  }
}
