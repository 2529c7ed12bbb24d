import { hash, randomBytes } from 'node:crypto';
import calculateSlot from 'cluster-key-slot';
import { StoreError, unavailable } from '../store.js';
import type { RedisClient } from './client.js';
import { packPolicy } from './layout.js';
import { type Answer, type Names, type Operation, STATUSES } from './operation.js';
import { SCRIPT } from './script.js';

const SHA = hash('sha1', SCRIPT, 'hex');
/** Operations in one call of the script: it keeps the server to itself for as long as they take. */
const MAX_OPERATIONS = 200;
/** Names under which the server remembers the latest calls; in a Cluster, in each slot. */
const MARKERS = 256;
const CLUSTER_MARKERS = 4;
/** How much longer than they count anything keys live, in milliseconds: room for a clock that is set back a little. */
const KEY_SLACK_MS = 1000;
/** The same where the clock is not the server's own, and keys expire by the server's. */
const FOREIGN_CLOCK_SLACK_MS = 3_600_000;

export interface ScriptBatchOptions {
  readonly client: RedisClient;
  readonly prefix: string;
  /** Milliseconds. */
  readonly timeout: number;
  /** Instead of the server's own clock. */
  readonly now: (() => number) | undefined;
  readonly onSuccess: () => void;
  readonly onFailure: (error: unknown) => void;
  /** Answers that came after their operations had been given up. */
  readonly onLate: (operations: readonly Operation[], answers: readonly Answer[]) => void;
}

interface Job {
  readonly operation: Operation;
  readonly resolve: (answer: Answer) => void;
  readonly reject: (error: unknown) => void;
}

/** A call of the script, ready to be sent, and sent again under the same name if need be. */
export interface Call {
  readonly operations: readonly Operation[];
  readonly keyCount: number;
  readonly args: readonly (string | number | Buffer)[];
}

export interface CallOptions {
  readonly remembered: number;
  readonly named: boolean;
  readonly timely: boolean;
}

/** The call reached the server after its deadline, by the server's clock. */
class LateCall extends StoreError {
  constructor() {
    super('GATEWARDEN_STORE_UNAVAILABLE', 'the request reached Redis too late');
  }
}

/**
 * Sends operations to Redis: all of one turn of the event loop in one call of the script, in a Cluster one for each slot.
 * Every call is answered or given up within the deadline. A call that reaches the server after that charges nothing; one
 * that the client sends twice, because a connection broke, runs once.
 */
export class ScriptBatch {
  readonly #options: ScriptBatchOptions;
  readonly #name = randomBytes(6).toString('base64url');
  #calls = 0;
  #waiting: Job[] = [];
  #scheduled = false;
  /** The server's clock less ours (`performance.now`), once it has answered. */
  #offset: number | undefined;

  constructor(options: ScriptBatchOptions) {
    this.#options = options;
  }

  /** The server's time, as far as is known. */
  serverNow(): number {
    if (this.#options.now !== undefined) return this.#options.now();
    return this.#offset === undefined ? Date.now() : Math.floor(performance.now() + this.#offset);
  }

  run(operation: Operation): Promise<Answer> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ operation, resolve, reject });
      if (this.#scheduled) return;
      this.#scheduled = true;
      setImmediate(() => this.#flush());
    });
  }

  /**
   * A call of the script for these operations, which all lie in one slot. `remembered` is how long, in milliseconds, the
   * server knows it again, by a name of its own where `named` (else one of a few which later calls take over). `timely`
   * calls count nothing once the deadline has passed.
   */
  prepare(operations: readonly Operation[], { remembered, named, timely }: CallOptions): Call {
    const { prefix, now, timeout, client } = this.#options;
    const serverNow = this.serverNow();
    const keys = new Map<string, number>();
    const places = new Map<string, number>();
    const policies: Buffer[] = [];
    const names: Names = {
      key(key) {
        const known = keys.get(key);
        if (known !== undefined) return known;
        // KEYS[1] is the marker, and Lua counts from one.
        const place = keys.size + 2;
        keys.set(key, place);
        return place;
      },
      policy(policy) {
        const name = `${policy.id} ${policy.limit}`;
        const known = places.get(name);
        if (known !== undefined) return known;
        const place = policies.push(packPolicy(policy, serverNow));
        places.set(name, place);
        return place;
      },
    };
    const packed = operations.map((operation) => operation.pack(names));
    const number = ++this.#calls;
    const [first] = keys.keys();
    const tag = client.isCluster && first !== undefined ? tagOfSlot(calculateSlot(first)) : '';
    const marker = `${prefix}{${tag}}:${this.#name}:${named ? number : `r${number % (client.isCluster ? CLUSTER_MARKERS : MARKERS)}`}`;
    const latest = timely && this.#offset !== undefined ? serverNow + timeout : '';
    const slack = now === undefined ? KEY_SLACK_MS : FOREIGN_CLOCK_SLACK_MS;
    return {
      operations,
      keyCount: keys.size + 1,
      args: [
        marker,
        ...keys.keys(),
        now === undefined ? '' : serverNow,
        latest,
        remembered,
        slack,
        number,
        policies.length,
        ...policies,
        ...packed,
      ],
    };
  }

  /** Parts what is to be sent into calls: not too many operations in one, and in a Cluster none of two slots. */
  grouped<T extends { readonly operation: Operation }>(items: readonly T[]): readonly (readonly T[])[] {
    const groups: T[][] = [];
    const open = new Map<number, T[]>();
    for (const item of items) {
      const slot = this.#options.client.isCluster ? calculateSlot(item.operation.keys[0] ?? '') : 0;
      let group = open.get(slot);
      if (group === undefined || group.length === MAX_OPERATIONS) {
        group = [];
        groups.push(group);
        open.set(slot, group);
      }
      group.push(item);
    }
    return groups;
  }

  /** Sends a call and reads its answers. Rejects when there are none within the deadline, or the call came too late. */
  async send(call: Call, onLate?: ScriptBatchOptions['onLate']): Promise<readonly Answer[]> {
    const { timeout, onSuccess, onFailure } = this.#options;
    const reply = this.#evaluate(call);
    let timer: NodeJS.Timeout | undefined;
    const givenUp = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(unavailable(`Redis did not answer within ${timeout} ms`)), timeout);
    });
    try {
      const value = await Promise.race([reply, givenUp]);
      onSuccess();
      return this.#read(call, value);
    } catch (error) {
      const failure = failureOf(error, call);
      if (failure.code === 'GATEWARDEN_STORE_UNAVAILABLE') onFailure(failure);
      // A call that is sent until it is answered has nothing to take back.
      reply.then((value) => onLate?.(call.operations, this.#read(call, value))).catch(() => undefined);
      throw failure;
    } finally {
      clearTimeout(timer);
    }
  }

  async #evaluate({ keyCount, args }: Call): Promise<unknown> {
    const { client } = this.#options;
    try {
      return await client.evalsha(SHA, keyCount, ...args);
    } catch (error) {
      if (!(error instanceof Error) || !error.message.startsWith('NOSCRIPT')) throw error;
      return client.eval(SCRIPT, keyCount, ...args);
    }
  }

  #flush(): void {
    const jobs = this.#waiting;
    this.#waiting = [];
    this.#scheduled = false;
    for (const group of this.grouped(jobs)) void this.#deliver(group, true);
  }

  async #deliver(jobs: readonly Job[], again: boolean): Promise<void> {
    try {
      const operations = jobs.map(({ operation }) => operation);
      const { timeout, onLate } = this.#options;
      const call = this.prepare(operations, { remembered: timeout * 2, named: false, timely: true });
      const answers = await this.send(call, onLate);
      jobs.forEach((job, i) => {
        job.resolve(answers[i] as Answer);
      });
    } catch (error) {
      // The server's clock has moved against ours; now it is known anew.
      if (again && error instanceof LateCall) return this.#deliver(jobs, false);
      for (const { reject } of jobs) reject(error);
    }
  }

  #read({ operations }: Call, reply: unknown): readonly Answer[] {
    if (!Array.isArray(reply) || reply.length < 2) throw unavailable("Redis gave an answer that is not the script's");
    let cursor = 0;
    const next = (): number => Number(reply[cursor++]);
    const outcome = next();
    const at = next();
    this.#offset = at - performance.now();
    if (STATUSES[outcome] === 'late') throw new LateCall();
    if (STATUSES[outcome] === 'lost') throw unavailable('Redis has run the call, and its answer is lost');
    return operations.map((operation) => {
      const status = STATUSES[next()];
      if (status === undefined || status === 'late' || status === 'lost')
        throw unavailable("Redis gave an answer that is not the script's");
      return operation.read(status, at, next);
    });
  }
}

/** The slot of a Cluster in which a key lies. */
export function slotOf(key: string): number {
  return calculateSlot(key);
}

const slotTags = new Map<number, string>();
let triedTags = 0;

/** A short hash tag that leads to a slot: found by trying, and kept, as are those found on the way. */
function tagOfSlot(slot: number): string {
  let tag = slotTags.get(slot);
  while (tag === undefined) {
    const tried = (triedTags++).toString(36);
    const found = calculateSlot(tried);
    if (!slotTags.has(found)) slotTags.set(found, tried);
    if (found === slot) tag = tried;
  }
  return tag;
}

/** An error of the client's as the store tells it: an outage, or a misuse that waiting does not mend. */
function failureOf(error: unknown, { args, keyCount }: Call): StoreError {
  if (error instanceof StoreError) return error;
  const message = error instanceof Error ? error.message : String(error);
  const keys = args.slice(1, keyCount).join(', ');
  // Replies such as OOM, READONLY or LOADING name the script too, but tell of the server's state.
  if (/^ERR\b.*script/is.test(message) || message.includes('subscriber mode')) {
    return new StoreError('GATEWARDEN_STORE_DATA', `redisStore cannot count ${keys}: ${message}`, error);
  }
  return unavailable(message, error);
}
