import { type Duration, milliseconds } from '../../core/duration.js';
import { badOption, checkOptionNames, OptionError, oneOf, positiveInteger } from '../../core/option.js';
import type { QuotaState } from '../../core/quota-state.js';
import { warnOfEviction } from '../../redis/eviction-policy.js';
import type { QuotaPolicy } from '../policy.js';
import { type Decision, type LimitStore, type Receipt, StoreError, unavailable, type Violation } from '../store.js';
import { CircuitBreaker } from './breaker.js';
import type { RedisClient } from './client.js';
import { redisKey } from './layout.js';
import { LocalShare, type Unreported } from './local-share.js';
import {
  type Answer,
  admission,
  type Charged,
  correction,
  forgetting,
  misuse,
  type Operation,
  peek,
} from './operation.js';
import { RefusalCache } from './refusal-cache.js';
import { ScriptBatch, slotOf } from './script-batch.js';
import { SettleQueue } from './settle-queue.js';

/**
 * What a Redis store tells of itself.
 * - `unavailable`: Redis does not answer; `onStoreFailure` decides from here on.
 * - `available`: it answers again.
 * - `eviction-risk`: its `maxmemory-policy` may throw counters away while they count.
 * - `correction-lost`: a charge could not be corrected, or reported, within a minute; it stays as it was.
 */
export type RedisStoreEvent =
  | { readonly kind: 'unavailable'; readonly error: unknown }
  | { readonly kind: 'available' }
  | { readonly kind: 'eviction-risk'; readonly maxmemoryPolicy: string }
  | { readonly kind: 'correction-lost'; readonly error: unknown };

/** What `redisStore` takes. */
export interface RedisStoreOptions {
  /** An ioredis client, version 5 or 6, that the service made: a `Redis` or a `Cluster`. It is neither connected nor closed. */
  readonly client: RedisClient;
  /** Stands before every key. Default `gw:`. */
  readonly prefix?: string;
  /** How long a decision may take. Default 250 ms. */
  readonly timeout?: Duration;
  /**
   * What to do when Redis does not answer: `refuse` (503), `admit` everything, or admit this process' `local` share of
   * each limit. Default `refuse`.
   */
  readonly onStoreFailure?: 'refuse' | 'admit' | 'local';
  /** How many processes share the limits, for `local`. Default 1. */
  readonly instances?: number;
  /**
   * How long a refusal may be repeated without asking Redis, at most; the time at which the request could pass is never
   * overrun. What another process gives back is hidden for so long. `false`: never. Default 1 s.
   */
  readonly refusalCache?: Duration | false;
  /** Told of every change of state. Default nobody. */
  readonly onEvent?: (event: RedisStoreEvent) => void;
  /** A clock in epoch milliseconds instead of the server's own, for tests. */
  readonly now?: () => number;
}

/** A store in Redis. */
export interface RedisStore extends LimitStore {
  admit(policies: readonly QuotaPolicy[], keys: readonly string[], units: number): Promise<Decision>;
  settle(receipt: Receipt, units: number): Promise<void>;
  peek(policies: readonly QuotaPolicy[], keys: readonly string[]): Promise<readonly QuotaState[]>;
  reset(policies: readonly QuotaPolicy[], keys: readonly string[]): Promise<void>;
  /** Stops listening to the client and probing. The client stays as it is. */
  close(): void;
}

const OPTIONS = ['client', 'prefix', 'timeout', 'onStoreFailure', 'instances', 'refusalCache', 'onEvent', 'now'];

/** Part of an admission that lies in one slot. */
interface Part {
  readonly policies: readonly QuotaPolicy[];
  readonly keys: readonly string[];
  readonly charged: readonly Charged[];
}

class RedisReceipt {
  /** What the work cost in the end. */
  actual: number | undefined;
  constructor(
    readonly store: RedisStore,
    readonly units: number,
    /** Where Redis has charged it. */
    readonly parts: Part[],
    /** The receipt of a decision that this process made by itself. */
    readonly local: Receipt | undefined,
  ) {}
}

/**
 * Counts in Redis, for several processes: the same exact decisions as `memoryStore`, by the server's clock, in one round
 * trip and one script for all policies of a request, and for all requests of one turn of the event loop. In a Cluster,
 * policies whose keys lie in several slots are charged in turn, and given back when a later one refuses.
 *
 * ```ts
 * const store = redisStore({ client: new Redis(process.env.REDIS_URL) })
 * ```
 * @throws OptionError
 */
export function redisStore(options: RedisStoreOptions): RedisStore {
  checkOptionNames('redisStore', options, OPTIONS);
  const { client, prefix = 'gw:', onEvent = () => undefined, now } = options;
  if (typeof client?.evalsha !== 'function' || typeof client.on !== 'function') {
    // Not shown: what stands here by mistake may be a URL with a password.
    throw new OptionError('gatewarden: redisStore "client" must be an ioredis client');
  }
  if (typeof prefix !== 'string' || /[{}]/.test(prefix)) {
    throw badOption('redisStore', 'prefix', 'must be a string without braces', prefix);
  }
  for (const [name, value] of Object.entries({ onEvent, now })) {
    if (value !== undefined && typeof value !== 'function')
      throw badOption('redisStore', name, 'must be a function', value);
  }
  const { refusalCache = '1s' } = options;
  return new RedisStoreImplementation({
    client,
    prefix,
    timeout: milliseconds('redisStore', 'timeout', options.timeout ?? '250ms', 60_000),
    mode: oneOf('redisStore', 'onStoreFailure', options.onStoreFailure ?? 'refuse', ['refuse', 'admit', 'local']),
    instances: positiveInteger('redisStore', 'instances', options.instances ?? 1, 1_000_000),
    maxAge: refusalCache === false ? undefined : milliseconds('redisStore', 'refusalCache', refusalCache, 60_000),
    onEvent,
    now,
  });
}

interface Settings {
  readonly client: RedisClient;
  readonly prefix: string;
  readonly timeout: number;
  readonly mode: 'refuse' | 'admit' | 'local';
  readonly instances: number;
  readonly maxAge: number | undefined;
  readonly onEvent: (event: RedisStoreEvent) => void;
  readonly now: (() => number) | undefined;
}

class RedisStoreImplementation implements RedisStore {
  readonly #settings: Settings;
  readonly #batch: ScriptBatch;
  readonly #breaker: CircuitBreaker;
  readonly #refusals: RefusalCache | undefined;
  readonly #local: LocalShare | undefined;
  readonly #settles: SettleQueue;
  /** By the local share's own receipt. */
  readonly #decidedLocally = new WeakMap<Receipt, RedisReceipt>();
  readonly #onReady = () => this.#breaker.probeNow();
  #checkedEviction = false;

  constructor(settings: Settings) {
    this.#settings = settings;
    const { client, prefix, timeout, now, instances, maxAge, mode } = settings;
    this.#breaker = new CircuitBreaker(
      // It leaves its name behind: a server that answers but cannot write is not back.
      () => this.#batch.send(this.#batch.prepare([], { remembered: timeout, named: false, timely: true })),
      (open, error) => this.#changed(open, error),
    );
    this.#batch = new ScriptBatch({
      client,
      prefix,
      timeout,
      now,
      onSuccess: () => this.#breaker.succeeded(),
      onFailure: (error) => this.#breaker.failed(error),
      onLate: (operations, answers) => this.#giveBackLate(operations, answers),
    });
    this.#settles = new SettleQueue(this.#batch, (error) => this.#tell({ kind: 'correction-lost', error }));
    this.#refusals = maxAge === undefined ? undefined : new RefusalCache(maxAge);
    this.#local = mode === 'local' ? new LocalShare(instances, () => this.#batch.serverNow()) : undefined;
    client.on('ready', this.#onReady);
  }

  async admit(policies: readonly QuotaPolicy[], keys: readonly string[], units: number): Promise<Decision> {
    if (!Number.isInteger(units) || units < 1) {
      throw new RangeError(`gatewarden: quota units must be a positive integer, got ${units}`);
    }
    const redisKeys = keys.map((key) => redisKey(this.#settings.prefix, key));
    const request = requestOf(policies, redisKeys, units);
    const known = this.#refusals?.get(request, redisKeys, this.#batch.serverNow());
    if (known !== undefined) return known;
    if (this.#breaker.open) return this.#withoutRedis(policies, redisKeys, units, unavailable('Redis does not answer'));
    this.#checkEviction();
    try {
      const decision = await this.#decide(policies, redisKeys, units);
      this.#local?.learn(policies, redisKeys, decision.states, decision.at);
      if (decision.kind === 'refused') this.#refusals?.add(request, decision);
      else this.#refusals?.changed(redisKeys);
      return decision;
    } catch (error) {
      if (!(error instanceof StoreError) || error.code !== 'GATEWARDEN_STORE_UNAVAILABLE') throw error;
      return this.#withoutRedis(policies, redisKeys, units, error);
    }
  }

  async settle(receipt: Receipt, units: number): Promise<void> {
    if (!(receipt instanceof RedisReceipt) || receipt.store !== this) {
      throw new TypeError('gatewarden: redisStore did not make this receipt');
    }
    if (!Number.isInteger(units) || units < 0) {
      throw new RangeError(`gatewarden: settled quota units must be an integer from zero, got ${units}`);
    }
    if (receipt.actual !== undefined) return;
    receipt.actual = units;
    if (receipt.local !== undefined) this.#local?.settle(receipt.local, units);
    await this.#correct(receipt.parts, units - receipt.units);
  }

  async peek(policies: readonly QuotaPolicy[], keys: readonly string[]): Promise<readonly QuotaState[]> {
    const redisKeys = this.#redisKeys(keys);
    if (this.#breaker.open) return this.#peekWithoutRedis(policies, redisKeys, unavailable('Redis does not answer'));
    try {
      const states: QuotaState[] = new Array(policies.length);
      for (const { places, part } of this.#parts(policies, redisKeys)) {
        const answer = await this.#run(peek(part.policies, part.keys));
        places.forEach((place, i) => {
          states[place] = stateOf(part.policies[i] as QuotaPolicy, answer.charged[i] as Charged);
        });
      }
      return states;
    } catch (error) {
      if (!(error instanceof StoreError) || error.code !== 'GATEWARDEN_STORE_UNAVAILABLE') throw error;
      return this.#peekWithoutRedis(policies, redisKeys, error);
    }
  }

  async reset(policies: readonly QuotaPolicy[], keys: readonly string[]): Promise<void> {
    const redisKeys = this.#redisKeys(keys);
    for (const { part } of this.#parts(policies, redisKeys)) await this.#run(forgetting(part.policies, part.keys));
    this.#refusals?.changed(redisKeys);
  }

  close(): void {
    this.#settings.client.off('ready', this.#onReady);
    this.#breaker.stop();
    this.#settles.stop();
  }

  #redisKeys(keys: readonly string[]): readonly string[] {
    return keys.map((key) => redisKey(this.#settings.prefix, key));
  }

  /** Asks Redis, slot by slot in a Cluster; a refusal gives back what earlier slots have charged. */
  async #decide(policies: readonly QuotaPolicy[], keys: readonly string[], units: number): Promise<Decision> {
    const states: QuotaState[] = new Array(policies.length);
    const violations: (Violation | undefined)[] = new Array(policies.length);
    const charged: Part[] = [];
    let at = 0;
    let refused = false;
    const parts = this.#parts(policies, keys);
    try {
      for (const { places, part } of parts) {
        const answer: Answer = await this.#run(
          refused ? peek(part.policies, part.keys) : admission(part.policies, part.keys, units),
        );
        at = answer.at;
        if (!refused && answer.status === 'admitted') charged.push({ ...part, charged: answer.charged });
        if (answer.status === 'refused') refused = true;
        places.forEach((place, i) => {
          const policy = part.policies[i] as QuotaPolicy;
          const figures = answer.charged[i] as Charged;
          const state = stateOf(policy, figures);
          states[place] = state;
          if (answer.status === 'refused' && figures.time !== 0) {
            violations[place] = { state, retryAt: figures.time < 0 ? null : figures.time };
          }
        });
      }
    } catch (error) {
      void this.#correct(charged, -units);
      throw error;
    }
    if (!refused) return { kind: 'admitted', at, states, receipt: new RedisReceipt(this, units, charged, undefined) };
    if (charged.length > 0) await this.#correct(charged, -units);
    return { kind: 'refused', at, states, violations: violations.filter((violation) => violation !== undefined) };
  }

  /** The charges of one admission by slot; all together where there is no Cluster. */
  #parts(policies: readonly QuotaPolicy[], keys: readonly string[]): readonly { places: number[]; part: Part }[] {
    const bySlot = new Map<number, number[]>();
    keys.forEach((key, i) => {
      if (keys.some((other, j) => j < i && other === key && policies[j]?.id === policies[i]?.id)) {
        throw new RangeError(`gatewarden: policy "${policies[i]?.name}" stands twice in one admission for one key`);
      }
      const slot = this.#settings.client.isCluster ? slotOf(key) : 0;
      const places = bySlot.get(slot);
      if (places === undefined) bySlot.set(slot, [i]);
      else places.push(i);
    });
    return [...bySlot.values()].map((places) => ({
      places,
      part: {
        policies: places.map((place) => policies[place] as QuotaPolicy),
        keys: places.map((place) => keys[place] as string),
        charged: [],
      },
    }));
  }

  /** Runs one operation; once more where the server's day was not the one we thought. */
  async #run(operation: Operation): Promise<Answer> {
    let answer = await this.#batch.run(operation);
    if (answer.status === 'other-day') answer = await this.#batch.run(operation);
    if (answer.status === 'admitted' || answer.status === 'refused') return answer;
    throw misuse(operation.keys, answer.status);
  }

  async #correct(parts: readonly Part[], delta: number): Promise<void> {
    if (delta === 0) return;
    await Promise.all(
      parts.map(async ({ policies, keys, charged }) => {
        await this.#settles.send(correction(policies, keys, charged, delta));
        this.#refusals?.changed(keys);
      }),
    );
  }

  #withoutRedis(policies: readonly QuotaPolicy[], keys: readonly string[], units: number, error: StoreError): Decision {
    switch (this.#settings.mode) {
      case 'admit':
        return {
          kind: 'admitted',
          at: this.#batch.serverNow(),
          states: [],
          receipt: new RedisReceipt(this, units, [], undefined),
        };
      case 'local': {
        const decision = (this.#local as LocalShare).admit(policies, keys, units);
        if (decision.kind === 'refused') return decision;
        const receipt = new RedisReceipt(this, units, [], decision.receipt);
        this.#decidedLocally.set(decision.receipt, receipt);
        return { ...decision, receipt };
      }
      default:
        throw error;
    }
  }

  #peekWithoutRedis(
    policies: readonly QuotaPolicy[],
    keys: readonly string[],
    error: StoreError,
  ): readonly QuotaState[] {
    switch (this.#settings.mode) {
      case 'admit': {
        const resetAt = this.#batch.serverNow();
        return policies.map(({ name, limit }) => ({ name, limit, remaining: limit, resetAt }));
      }
      case 'local':
        return (this.#local as LocalShare).peek(policies, keys);
      default:
        throw error;
    }
  }

  /** An answer that nobody waited for: whoever asked has been refused, so the charge is given back. */
  #giveBackLate(operations: readonly Operation[], answers: readonly Answer[]): void {
    operations.forEach((operation, i) => {
      const undo = operation.undo?.(answers[i] as Answer);
      if (undo !== undefined) void this.#settles.send(undo);
    });
  }

  #changed(open: boolean, error: unknown): void {
    if (!open) {
      for (const unreported of this.#local?.report() ?? []) this.#report(unreported);
      this.#settles.retry();
    }
    this.#tell(open ? { kind: 'unavailable', error } : { kind: 'available' });
  }

  /** Charges in Redis what was admitted without it; corrects it at once where it was settled before the answer came. */
  #report({ receipt: local, policies, keys, units }: Unreported): void {
    const receipt = this.#decidedLocally.get(local);
    for (const { part } of this.#parts(policies, keys)) {
      void this.#settles.send(admission(part.policies, part.keys, units, true), ({ charged }) => {
        if (receipt === undefined) return;
        const known = { ...part, charged };
        if (receipt.actual === undefined) receipt.parts.push(known);
        else void this.#correct([known], receipt.actual - units);
      });
    }
  }

  /** Once for each store. */
  #checkEviction(): void {
    if (this.#checkedEviction) return;
    this.#checkedEviction = true;
    void warnOfEviction(this.#settings.client, 'redisStore', 'quota counters', (maxmemoryPolicy) =>
      this.#tell({ kind: 'eviction-risk', maxmemoryPolicy }),
    );
  }

  #tell(event: RedisStoreEvent): void {
    try {
      this.#settings.onEvent(event);
    } catch (error) {
      // A listener's failure must not decide about requests.
      console.error('gatewarden: onEvent of redisStore failed:', error);
    }
  }
}

function stateOf({ name, limit }: QuotaPolicy, { total, resetAt }: Charged): QuotaState {
  return { name, limit, remaining: Math.max(0, limit - total), resetAt };
}

/** What makes two requests the same to the refusal cache. */
function requestOf(policies: readonly QuotaPolicy[], keys: readonly string[], units: number): string {
  let text = String(units);
  policies.forEach(({ id, limit }, i) => {
    text += ` ${id} ${limit} ${keys[i]}`;
  });
  return text;
}
