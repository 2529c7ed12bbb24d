import type { Ledger } from '../../core/ledger.js';
import type { QuotaState } from '../../core/quota-state.js';
import { warnOfEviction } from '../../core/redis/eviction-policy.js';
import type { QuotaPolicy } from '../policy.js';
import type { QueueSettings, WaitingQueue } from '../queue/waiting-queue.js';
import { type Decision, type Receipt, type SettledJobs, unavailable } from '../store.js';
import { checkSettledUnits, checkUnits } from '../units.js';
import { HotCounters } from './ahead/hot-counters.js';
import type { DecideOtherwise } from './ahead/hot-decisions.js';
import { bookingPlace, JobBookings } from './booking.js';
import { Circuits } from './circuits.js';
import { slotOf } from './cluster-slot.js';
import { redisKeysOf } from './layout.js';
import { correction } from './operation.js';
import { isOutage, noAnswer } from './outage.js';
import { OutageMode } from './outage-mode.js';
import { RedisQueues } from './queue/queue-store.js';
import { admitted, PartsReceipt, type RedisDecision, receiptOf, type SlotCharges } from './receipt.js';
import { RedisCounters } from './redis-counters.js';
import type { RedisStore } from './redis-limit-store.js';
import {
  checkOptions,
  type RedisStoreEvent,
  type RedisStoreOptions,
  type RedisStoreSettings,
} from './redis-store-options.js';
import { RefusalCache, requestText } from './refusal-cache.js';
import { ScriptClient } from './script-client.js';
import { SettleQueue } from './settle-queue.js';
import { eventReporter } from './store-events.js';

export type { RedisStore } from './redis-limit-store.js';

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
  readonly #circuits: Circuits;
  readonly #refusals: RefusalCache | undefined;
  readonly #outage: OutageMode;
  readonly #settles: SettleQueue;
  readonly #counters: RedisCounters;
  readonly #queues: RedisQueues;
  readonly #onReady = () => {
    this.#script.connected();
    this.#circuits.probeNow();
  };
  readonly #hot: HotCounters | undefined;
  readonly #otherwise: DecideOtherwise = async (policies, keys, units, error) =>
    isOutage(error)
      ? this.#outage.admit(this, policies, this.#redisKeys(keys), units, error)
      : this.#admit(policies, keys, units);
  readonly #emit: (event: RedisStoreEvent) => void;
  #checkedEviction = false;

  constructor(settings: RedisStoreSettings) {
    this.#settings = settings;
    this.#emit = eventReporter(settings.onEvent);
    const { client, prefix, timeout, now, instances, maxRefusalAge, mode, ahead } = settings;
    this.#circuits = new Circuits(
      client,
      (slot) => this.#script.probe(slot),
      (open, error) => this.#stateChanged(open, error),
      () => this.#report(),
    );
    const reports = {
      onSuccess: (slot: number) => {
        this.#circuits.succeeded(slot);
        // Also after a single failure, which does not open the breaker.
        if (this.#outage.hasUnreported) this.#report();
      },
      onFailure: (slot: number, error: unknown) => this.#circuits.failed(slot, error),
      isAway: (slot: number) => this.#circuits.isOpen(slot),
    };
    this.#script = new ScriptClient({ client, prefix, timeout, now, ...reports });
    this.#settles = new SettleQueue(this.#script, (error, count) => this.#lost(error, count));
    this.#refusals = maxRefusalAge === undefined ? undefined : new RefusalCache(maxRefusalAge);
    this.#outage = new OutageMode(mode, instances, () => this.#script.clock.now());
    this.#counters = new RedisCounters(
      this.#script,
      this.#settles,
      (key) => slotOf(client, key),
      (keys) => this.#refusals?.changed(keys),
    );
    this.#hot =
      ahead === undefined
        ? undefined
        : new HotCounters(
            ahead,
            this.#counters,
            this.#script.clock,
            (key) => this.#isAway([key]),
            (charges, units) => this.#giveBack(charges, units),
            (receipt, count) => this.settle(receipt, new Array(count).fill(0)),
          );
    this.#queues = new RedisQueues({ ...settings, ...reports, clock: this.#script.clock });
    client.on('ready', this.#onReady);
  }

  admit(policies: readonly QuotaPolicy[], keys: readonly string[], units: readonly number[]): Promise<Decision> {
    const hot = this.#hot;
    if (hot === undefined) return this.#admit(policies, keys, units);
    return hot.decisions.admit(this, policies, keys, units, this.#otherwise);
  }

  #admit(policies: readonly QuotaPolicy[], keys: readonly string[], units: readonly number[]): Promise<Decision> {
    try {
      checkUnits(policies, units);
      const redisKeys = this.#redisKeys(keys);
      const request = this.#refusals === undefined ? '' : requestText(policies, redisKeys, units);
      const cached = this.#refusals?.get(request, redisKeys, this.#script.clock.now());
      if (cached !== undefined) return Promise.resolve(cached);
      const decide = (decision: RedisDecision | undefined, error: unknown): Decision => {
        if (decision === undefined) return this.#outage.admit(this, policies, redisKeys, units, error);
        this.#outage.learn(policies, redisKeys, decision.states, decision.at);
        if (decision.kind === 'refused') {
          this.#refusals?.add(request, decision);
          return decision;
        }
        this.#refusals?.changed(redisKeys);
        this.#hot?.charged(policies, keys, redisKeys, units);
        return admitted(this, policies, units, decision);
      };
      if (this.#isAway(redisKeys)) return Promise.resolve(decide(undefined, noAnswer()));
      this.#checkEviction();
      return this.#counters.admit(policies, redisKeys, units, decide);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  async settle(receipt: Receipt, units: readonly (number | undefined)[], jobs?: SettledJobs): Promise<void> {
    const own = receiptOf(this, receipt);
    checkSettledUnits(units);
    if (receipt instanceof PartsReceipt)
      return receipt.settle(units, (part, its) => this.settle(part, its, part === receipt.rest ? jobs : undefined));
    const settled = own.settle(units);
    this.#outage.settle(own, settled);
    const bookings = jobs && new JobBookings(this.#settings.client, jobs);
    await this.#counters.settle(own.charges, own.changesFor(settled), bookings);
  }

  bookingPlace(receipt: Receipt, ledger: Ledger): string | undefined {
    return bookingPlace(this.#settings.client, ledger, receiptOf(this, receipt).held());
  }

  async renew(receipt: Receipt): Promise<boolean> {
    const held = receiptOf(this, receipt).held();
    if (held.length === 0) return true;
    if (held.some(({ keys }) => this.#isAway(keys))) throw noAnswer();
    return this.#counters.renew(held);
  }

  async release(receipt: Receipt): Promise<void> {
    const own = receiptOf(this, receipt);
    await this.#counters.settle(own.charges, own.release());
  }

  async peek(policies: readonly QuotaPolicy[], keys: readonly string[]): Promise<readonly QuotaState[]> {
    const redisKeys = this.#redisKeys(keys);
    if (this.#isAway(redisKeys)) return this.#outage.peek(policies, redisKeys, noAnswer());
    try {
      return await this.#counters.peek(policies, redisKeys);
    } catch (error) {
      return this.#outage.peek(policies, redisKeys, error);
    }
  }

  async reset(policies: readonly QuotaPolicy[], keys: readonly string[]): Promise<void> {
    const redisKeys = this.#redisKeys(keys);
    if (this.#isAway(redisKeys)) throw noAnswer();
    await this.#counters.reset(policies, redisKeys);
    this.#hot?.forget(policies, keys);
    this.#refusals?.changed(redisKeys);
  }

  queue(settings: QueueSettings): WaitingQueue {
    return this.#queues.open(settings);
  }

  close(): void {
    this.#settings.client.off('ready', this.#onReady);
    this.#queues.stop();
    this.#hot?.stop();
    this.#circuits.stop();
    this.#script.stop();
    this.#settles.stop();
    const count = this.#outage.takeLost(true);
    if (count > 0) this.#lost(unavailable('the store was closed before Redis was back'), count);
  }

  #redisKeys(keys: readonly string[]): readonly string[] {
    return redisKeysOf(this.#settings.prefix, keys);
  }

  /** Whether a server does not answer that has one of these keys. */
  #isAway(redisKeys: readonly string[]): boolean {
    return (
      this.#circuits.isAnyOpen && redisKeys.some((key) => this.#circuits.isOpen(slotOf(this.#settings.client, key)))
    );
  }

  #stateChanged(open: boolean, error: unknown): void {
    // In a Cluster, the other servers go on.
    if (!open) this.#settles.retry();
    else if (!this.#script.isCluster) this.#settles.pause();
    this.#emit(open ? { kind: 'unavailable', error } : { kind: 'available' });
  }

  /** These units were never admitted, so they do not count against what clients may give back. */
  #giveBack({ policies, keys, charged }: SlotCharges, units: number): void {
    const given = correction(policies, keys, charged, [-units]);
    void this.#settles.send(given, () => this.#refusals?.changed(keys));
  }

  #report(): void {
    this.#outage.report(this.#counters);
    const count = this.#outage.takeLost(false);
    if (count > 0) this.#lost(unavailable('more local admissions waited for Redis than can be remembered'), count);
  }

  #lost(error: unknown, count: number): void {
    this.#emit({ kind: 'correction-lost', error, count });
  }

  /** Once for each store. */
  #checkEviction(): void {
    if (this.#checkedEviction) return;
    this.#checkedEviction = true;
    void warnOfEviction(this.#settings.client, 'redisStore', 'quota counters', (maxmemoryPolicy) =>
      this.#emit({ kind: 'eviction-risk', maxmemoryPolicy }),
    );
  }
}
