import type { QuotaState } from '../../core/quota-state.js';
import { warnOfEviction } from '../../core/redis/eviction-policy.js';
import type { QuotaPolicy } from '../policy.js';
import { type Decision, type LimitStore, type Receipt, StoreError, unavailable } from '../store.js';
import { CircuitBreaker } from './breaker.js';
import { slotOf } from './cluster-slot.js';
import { redisKey } from './layout.js';
import { OutageMode } from './outage-mode.js';
import { RedisReceipt } from './receipt.js';
import { RedisCounters } from './redis-counters.js';
import {
  checkOptions,
  type RedisStoreEvent,
  type RedisStoreOptions,
  type RedisStoreSettings,
} from './redis-store-options.js';
import { RefusalCache, requestText } from './refusal-cache.js';
import { ScriptClient } from './script-client.js';
import { SettleQueue } from './settle-queue.js';

/** A limit store in Redis. */
export interface RedisStore extends LimitStore {
  admit(policies: readonly QuotaPolicy[], keys: readonly string[], units: number): Promise<Decision>;
  settle(receipt: Receipt, units: number): Promise<void>;
  peek(policies: readonly QuotaPolicy[], keys: readonly string[]): Promise<readonly QuotaState[]>;
  reset(policies: readonly QuotaPolicy[], keys: readonly string[]): Promise<void>;
  /** Stops its timers and its use of the client. The client stays open. */
  close(): void;
}

/**
 * Counts in Redis, for several processes. It decides exactly as `memoryStore` does, by the clock of the Redis server.
 * All policies of a request are charged in one script, atomically, and all requests of one turn of the event loop share
 * one round trip. In a Cluster, keys in several slots are charged one slot after another. If a later slot refuses, the
 * earlier charges are given back.
 *
 * ```ts
 * const store = redisStore({ client: new Redis(process.env.REDIS_URL) })
 * ```
 * @throws OptionError
 */
export function redisStore(options: RedisStoreOptions): RedisStore {
  return new RedisStoreImplementation(checkOptions(options));
}

class RedisStoreImplementation implements RedisStore {
  readonly #settings: RedisStoreSettings;
  readonly #script: ScriptClient;
  readonly #breaker: CircuitBreaker;
  readonly #refusals: RefusalCache | undefined;
  readonly #outage: OutageMode;
  readonly #settles: SettleQueue;
  readonly #counters: RedisCounters;
  readonly #onReady = () => {
    this.#script.connected();
    this.#breaker.probeNow();
  };
  #checkedEviction = false;

  constructor(settings: RedisStoreSettings) {
    this.#settings = settings;
    const { client, prefix, timeout, now, instances, maxRefusalAge, mode } = settings;
    this.#breaker = new CircuitBreaker(
      () => this.#script.probe(),
      (open, error) => this.#stateChanged(open, error),
    );
    this.#script = new ScriptClient({
      client,
      prefix,
      timeout,
      now,
      onSuccess: () => this.#breaker.succeeded(),
      onFailure: (error) => this.#breaker.failed(error),
    });
    this.#settles = new SettleQueue(this.#script, (error, count) =>
      this.#emit({ kind: 'correction-lost', error, count }),
    );
    this.#refusals = maxRefusalAge === undefined ? undefined : new RefusalCache(maxRefusalAge);
    this.#outage = new OutageMode(mode, instances, () => this.#script.clock.now());
    this.#counters = new RedisCounters(
      this.#script,
      this.#settles,
      (key) => slotOf(client, key),
      (keys) => this.#refusals?.changed(keys),
    );
    client.on('ready', this.#onReady);
  }

  async admit(policies: readonly QuotaPolicy[], keys: readonly string[], units: number): Promise<Decision> {
    if (!Number.isInteger(units) || units < 1) {
      throw new RangeError(`gatewarden: quota units must be a positive integer, got ${units}`);
    }
    const redisKeys = this.#redisKeys(keys);
    const request = requestText(policies, redisKeys, units);
    const cached = this.#refusals?.get(request, redisKeys, this.#script.clock.now());
    if (cached !== undefined) return cached;
    if (this.#breaker.open) return this.#outage.admit(this, policies, redisKeys, units, noAnswer());
    this.#checkEviction();
    try {
      const decision = await this.#counters.admit(policies, redisKeys, units);
      this.#outage.learn(policies, redisKeys, decision.states, decision.at);
      if (decision.kind === 'refused') {
        this.#refusals?.add(request, decision);
        return decision;
      }
      this.#refusals?.changed(redisKeys);
      const { kind, at, states, charges } = decision;
      return { kind, at, states, receipt: new RedisReceipt(this, units, charges, undefined) };
    } catch (error) {
      if (!isOutage(error)) throw error;
      return this.#outage.admit(this, policies, redisKeys, units, error);
    }
  }

  async settle(receipt: Receipt, units: number): Promise<void> {
    if (!(receipt instanceof RedisReceipt) || receipt.store !== this) {
      throw new TypeError('gatewarden: redisStore did not make this receipt');
    }
    if (!Number.isInteger(units) || units < 0) {
      throw new RangeError(`gatewarden: settled quota units must be zero or a positive integer, got ${units}`);
    }
    if (receipt.settledUnits !== undefined) return;
    receipt.settledUnits = units;
    this.#outage.settle(receipt, units);
    await this.#counters.settle(receipt.charges, units - receipt.units);
  }

  async peek(policies: readonly QuotaPolicy[], keys: readonly string[]): Promise<readonly QuotaState[]> {
    const redisKeys = this.#redisKeys(keys);
    if (this.#breaker.open) return this.#outage.peek(policies, redisKeys, noAnswer());
    try {
      return await this.#counters.peek(policies, redisKeys);
    } catch (error) {
      if (!isOutage(error)) throw error;
      return this.#outage.peek(policies, redisKeys, error);
    }
  }

  async reset(policies: readonly QuotaPolicy[], keys: readonly string[]): Promise<void> {
    const redisKeys = this.#redisKeys(keys);
    if (this.#breaker.open) throw noAnswer();
    await this.#counters.reset(policies, redisKeys);
    this.#refusals?.changed(redisKeys);
  }

  close(): void {
    this.#settings.client.off('ready', this.#onReady);
    this.#breaker.stop();
    this.#script.stop();
    this.#settles.stop();
  }

  #redisKeys(keys: readonly string[]): readonly string[] {
    return keys.map((key) => redisKey(this.#settings.prefix, key));
  }

  #stateChanged(open: boolean, error: unknown): void {
    if (open) this.#settles.pause();
    else {
      this.#outage.report(this.#counters);
      this.#settles.retry();
    }
    this.#emit(open ? { kind: 'unavailable', error } : { kind: 'available' });
  }

  /** Once for each store. */
  #checkEviction(): void {
    if (this.#checkedEviction) return;
    this.#checkedEviction = true;
    void warnOfEviction(this.#settings.client, 'redisStore', 'quota counters', (maxmemoryPolicy) =>
      this.#emit({ kind: 'eviction-risk', maxmemoryPolicy }),
    );
  }

  #emit(event: RedisStoreEvent): void {
    try {
      this.#settings.onEvent?.(event);
    } catch (error) {
      // A fault of the callback must not decide about requests.
      console.error('gatewarden: the onEvent callback of redisStore threw:', error);
    }
  }
}

function noAnswer(): StoreError {
  return unavailable('Redis does not answer');
}

function isOutage(error: unknown): error is StoreError {
  return error instanceof StoreError && error.code === 'GATEWARDEN_STORE_UNAVAILABLE';
}
