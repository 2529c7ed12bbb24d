import type { AdmissionHold } from '../core/admission.js';
import type { Exchange } from '../core/exchange.js';
import { reportedGpuTime, reportGpuTime } from '../core/gpu-time.js';
import { isThenable } from '../core/thenable.js';
import type { BoundPolicies, BoundPolicy } from './bound-policies.js';
import { learn } from './estimate.js';
import { type Leased, type LeaseKeeper, leaseKeeperOf } from './lease-keeper.js';
import { observedStore, type StoreCalls } from './observed-store.js';
import { holds } from './policy.js';
import type { QueuedSlot } from './queue/limit-queue.js';
import type { Hold, LimitStore, Receipt } from './store.js';

/** What an admission was charged, and where. */
export interface Charge {
  readonly exchange: Exchange;
  readonly store: LimitStore;
  readonly bound: BoundPolicies;
  readonly keys: readonly string[];
  readonly receipt: Receipt;
}

const NOTHING: readonly AdmissionHold[] = Object.freeze([]);

/** What one admission holds, from the decision until the exchange and its work have ended. */
export class AdmissionHolds implements Leased {
  readonly lease: number;
  readonly #charge: Charge;
  readonly #keeper: LeaseKeeper;
  /** If it waited in a queue for one of its holds. */
  readonly #slot: QueuedSlot | undefined;
  readonly #startedAt = performance.now();
  /** What the policies still hold, by their places. */
  readonly #live = new Map<number, AdmissionHold>();
  /** What `list` has returned, until it changes. */
  #list: readonly AdmissionHold[] | undefined = undefined;
  #lost: AbortController | undefined = undefined;
  #isLost = false;
  /** The same from begin to end, so that nothing is counted down that was not counted up. */
  readonly #observer: Exchange['observer'];
  /** The GPU time of the exchange before this admission. */
  readonly #earlierGpuTime: number;
  /** Work that has not settled. */
  #pending = 0;
  /** Runs when the exchange and all work have ended. */
  #onEnd: (() => void) | undefined = undefined;

  constructor(charge: Charge, granted: readonly (Hold | undefined)[], slot?: QueuedSlot) {
    this.#charge = charge;
    this.#slot = slot;
    this.#observer = charge.exchange.observer;
    this.#earlierGpuTime = reportedGpuTime(charge.exchange);
    this.#keeper = leaseKeeperOf(charge.store);
    let lease = Number.POSITIVE_INFINITY;
    charge.bound.policies.forEach((policy, i) => {
      if (!holds(policy)) return;
      const hold = granted[i];
      if (hold === undefined) throw new TypeError(`gatewarden: the store of limit holds nothing of "${policy.name}"`);
      const { name, kind, by } = policy;
      this.#live.set(i, { policy: name, kind, isGlobal: by === 'global', ...hold, lease: policy.lease });
      lease = Math.min(lease, policy.lease);
    });
    this.lease = lease;
    this.#keeper.add(this);
    for (const { policy } of this.#live.values()) this.#observer?.held?.(charge.exchange, policy, 1);
  }

  /** What has neither ended nor been lost. */
  get list(): readonly AdmissionHold[] {
    this.#list ??= this.#isLost ? NOTHING : Object.freeze([...this.#live.values()]);
    return this.#list;
  }

  /** Milliseconds since the admission, at least one. */
  get elapsed(): number {
    return Math.max(1, Math.ceil(performance.now() - this.#startedAt));
  }

  get lost(): AbortSignal {
    if (this.#lost === undefined) {
      this.#lost = new AbortController();
      if (this.#isLost) this.#lost.abort(lostHold());
    }
    return this.#lost.signal;
  }

  isLive(place: number): boolean {
    return this.#live.has(place);
  }

  /** The holds of these policies end with these units. If those are the work's own, they teach estimates. */
  settled(units: readonly (number | undefined)[], mayTeach: boolean): void {
    const { bound, keys, exchange } = this.#charge;
    const account = exchange.usageAccount;
    units.forEach((used, i) => {
      if (used === undefined || !this.#live.has(i)) return;
      this.#noteEnd(i);
      this.#live.delete(i);
      const { kind, name, by } = bound.policies[i] as BoundPolicy;
      if (kind === 'gpu-time') {
        reportGpuTime(exchange, this.#earlierGpuTime + used);
        if (account?.hasJobs === false) account.bookHeld(`${by === 'global'} ${name}`, used);
      }
      if (mayTeach && used > 0 && exchange.outcome?.kind !== 'aborted') {
        learn(bound.policies[i] as BoundPolicy, keys[i] as string, exchange, used);
      }
    });
    this.#ended();
  }

  release(): void | Promise<void> {
    if (this.#live.size === 0) return undefined;
    for (const i of this.#live.keys()) this.#noteEnd(i);
    this.#live.clear();
    this.#ended();
    return this.giveBack(() => this.#store.release(this.#charge.receipt));
  }

  /** Tells the store what has ended. Its queue serves the next once the store has freed the slot, or has failed to. */
  giveBack(tell: () => void | Promise<void>): void | Promise<void> {
    const { ticket, place } = this.#slot ?? {};
    if (ticket === undefined || place === undefined || this.#live.has(place)) return tell();
    const end = (): void => ticket.ended();
    let told: void | Promise<void>;
    try {
      told = tell();
    } catch (error) {
      end();
      throw error;
    }
    if (isThenable(told)) Promise.resolve(told).then(end, end);
    else end();
    return told;
  }

  holdUntil(work: PromiseLike<unknown>): void {
    this.#pending++;
    const settled = (): void => {
      this.#pending--;
      this.#endIfDone();
    };
    Promise.resolve(work).then(settled, settled);
  }

  /** The exchange has ended. Calls `end` when all work has settled, which may be at once. */
  whenDone(end: () => void): void {
    this.#onEnd = end;
    this.#endIfDone();
  }

  renew(): boolean | Promise<boolean> {
    return this.#store.renew(this.#charge.receipt);
  }

  lose(): void {
    for (const i of this.#live.keys()) this.#noteEnd(i);
    this.#isLost = true;
    this.#list = undefined;
    this.#lost?.abort(lostHold());
    this.#slot?.ticket.ended();
  }

  fault(error: unknown): void {
    this.#charge.exchange.fault(error);
  }

  get #store(): StoreCalls {
    return observedStore(this.#charge.exchange, this.#charge.store);
  }

  /** What was lost has ended before. */
  #noteEnd(place: number): void {
    const hold = this.#live.get(place);
    if (hold !== undefined && !this.#isLost) this.#observer?.held?.(this.#charge.exchange, hold.policy, -1);
  }

  #endIfDone(): void {
    const end = this.#onEnd;
    if (this.#pending > 0 || end === undefined) return;
    this.#onEnd = undefined;
    end();
  }

  #ended(): void {
    this.#list = undefined;
    if (this.#live.size === 0) this.#keeper.remove(this);
  }
}

function lostHold(): Error {
  return new Error('gatewarden: a hold was lost, since it could not be renewed in time; its work must stop');
}
