import type { Exchange } from '../../core/exchange.js';
import { OptionError } from '../../core/option.js';
import type { QueuePlace } from '../../core/queue-place.js';
import { isThenable } from '../../core/thenable.js';
import type { BoundPolicies, BoundPolicy } from '../bound-policies.js';
import { observedStore } from '../observed-store.js';
import type { Concurrency, PartitionBy } from '../policy.js';
import type { Decision, LimitStore } from '../store.js';
import { type CheckedQueueOptions, checkWeight } from './queue-options.js';
import { lacksOnlySlots, queuedPlace } from './queued-place.js';
import { QueuedTurn } from './queued-turn.js';
import type { Joined, JoinRequest, Ticket, WaitingQueue } from './waiting-queue.js';

/** How a request came through the queue. */
export type Queued =
  | { readonly kind: 'decided'; readonly decision: Decision; readonly slot: QueuedSlot | undefined }
  | NotServed
  /** The exchange has ended. */
  | { readonly kind: 'gone' };

/** A request that gets no slot in time. */
export interface NotServed {
  readonly kind: 'queue-full' | 'queue-timeout';
  /** How long a request that comes now would wait, in milliseconds. */
  readonly expectedWait: number;
}

/** What a request was admitted to in its turn: the ticket ends with the hold of the policy at this place. */
export interface QueuedSlot {
  readonly ticket: Ticket;
  readonly place: number;
}

/** What a request will be charged. */
export interface Charge {
  readonly exchange: Exchange;
  readonly bound: BoundPolicies;
  readonly keys: readonly string[];
  readonly units: readonly number[];
}

/** A request on its way through the queue. */
export interface QueuedRequest extends Charge {
  readonly join: JoinRequest;
  /** A place that comes later than that is no longer true. */
  isOver: boolean;
}

/** The queue of one `limit` guard. */
export class LimitQueue {
  readonly #options: CheckedQueueOptions;
  readonly #store: LimitStore;
  readonly #partitionKey: (by: PartitionBy, exchange: Exchange) => string;
  readonly #queues = new WeakMap<BoundPolicies, { readonly place: number; readonly queue: WaitingQueue }>();

  constructor(
    options: CheckedQueueOptions,
    store: LimitStore,
    partitionKey: (by: PartitionBy, exchange: Exchange) => string,
  ) {
    if (store.queue === undefined) throw new OptionError(NO_QUEUES);
    this.#options = options;
    this.#store = store;
    this.#partitionKey = partitionKey;
  }

  /** Whether a request can lack a slot: a function may return policies without any. */
  isFor({ policies }: BoundPolicies): boolean {
    return policies.some(({ kind }) => kind === 'concurrency');
  }

  /** Which of the policies is queued for. @throws OptionError if none is, or if a request takes more than one slot */
  placeIn(bound: BoundPolicies): number {
    return this.#of(bound).place;
  }

  /** What a request asks of the queue. Throws for a client or a weight that cannot be. */
  request(charge: Charge): QueuedRequest {
    const { exchange, bound, keys, units } = charge;
    const { maxWait, by, weight, onQueue } = this.#options;
    const gpuTime = bound.policies.findIndex(({ kind }) => kind === 'gpu-time');
    const wantsPlaces = onQueue !== undefined || exchange.queueListener !== undefined;
    const request = { ...charge, isOver: false };
    const join: JoinRequest = {
      key: keys[this.placeIn(bound)] as string,
      client: this.#partitionKey(by, exchange),
      weight: typeof weight === 'number' ? weight : checkWeight(weight(exchange)),
      maxWait: Math.min(maxWait, exchange.deadline?.remaining() ?? maxWait),
      estimate: gpuTime === -1 ? undefined : units[gpuTime],
      onPlace: wantsPlaces ? (place) => !request.isOver && this.#moved(exchange, place) : undefined,
    };
    return Object.assign(request, { join });
  }

  /** Charges a request, after waiting for its turn if slots are all that it lacks. */
  admit(request: QueuedRequest): Queued | Promise<Queued> {
    const { queue } = this.#of(request.bound);
    return after(this.#refusalByOthers(request), (refusal) => {
      if (refusal !== undefined) return decided(refusal);
      return after(queue.join(request.join), (joined) => this.#joined(request, joined));
    });
  }

  #of(bound: BoundPolicies): { readonly place: number; readonly queue: WaitingQueue } {
    let found = this.#queues.get(bound);
    if (found === undefined) {
      const place = queuedPlace(bound.policies);
      const policy = bound.policies[place] as BoundPolicy & Concurrency;
      const queue = this.#store.queue?.({ policy, maxWaiting: this.#options.maxWaiting });
      if (queue === undefined) throw new OptionError(NO_QUEUES);
      found = { place, queue };
      this.#queues.set(bound, found);
    }
    return found;
  }

  /**
   * Refuses a request at once for which waiting would not help: another policy than `concurrency` has no room for it. Nothing
   * is charged. Undefined if they all have.
   */
  #refusalByOthers({ exchange, bound, keys, units }: Charge): Decision | undefined | Promise<Decision | undefined> {
    const { policies } = bound;
    if (policies.every(({ kind }) => kind === 'concurrency')) return undefined;
    return after(this.#store.peek(policies, keys), (states) => {
      const isFull = ({ kind }: BoundPolicy, i: number) =>
        kind !== 'concurrency' && (states[i]?.remaining ?? Number.POSITIVE_INFINITY) < (units[i] as number);
      if (!policies.some(isFull)) return undefined;
      // Only a refusal says when to come again.
      const store = observedStore(exchange, this.#store);
      return after(store.admit(policies, keys, units), (decision) => {
        if (decision.kind === 'refused') return lacksOnlySlots(decision.violations, bound) ? undefined : decision;
        // There is room after all. It must not overtake those that wait.
        return after(store.settle(decision.receipt, bound.noUnits), () => undefined);
      });
    });
  }

  #joined(request: QueuedRequest, joined: Joined): Queued | Promise<Queued> {
    if (joined.kind === 'full') return { kind: 'queue-full', expectedWait: joined.expectedWait };
    const turn = new QueuedTurn(request.exchange, joined.ticket);
    if (joined.kind === 'waiting') return this.#wait(request, turn, joined.place);
    return after(this.#tryToStart(request, turn), (queued) => queued ?? this.#wait(request, turn));
  }

  /** Waits until the request has its slot or goes away. */
  async #wait(request: QueuedRequest, turn: QueuedTurn, place?: QueuePlace): Promise<Queued> {
    const { exchange } = request;
    const { observer } = exchange;
    observer?.waiting?.(exchange, 1);
    try {
      if (place !== undefined) this.#waits(exchange, place);
      for (;;) {
        const result = await turn.next();
        if (result.kind === 'gone') return result;
        if (result.kind !== 'turn') {
          const kind = result.kind === 'timeout' ? 'queue-timeout' : 'queue-full';
          return { kind, expectedWait: result.expectedWait };
        }
        const queued = await this.#tryToStart(request, turn);
        if (queued !== undefined) return queued;
      }
    } catch (error) {
      turn.ticket.leave();
      throw error;
    } finally {
      request.isOver = true;
      observer?.waiting?.(exchange, -1);
      exchange.queuePlace = undefined;
    }
  }

  /** Asks the store for everything at once. Undefined if a slot is missing all the same, so that the request waits again. */
  #tryToStart(
    { exchange, bound, keys, units }: Charge,
    { ticket }: QueuedTurn,
  ): Queued | undefined | Promise<Queued | undefined> {
    const failed = (error: unknown): never => {
      ticket.leave();
      throw error;
    };
    const apply = (decision: Decision): Queued | undefined => {
      if (decision.kind === 'admitted') {
        ticket.started();
        return { kind: 'decided', decision, slot: { ticket, place: this.placeIn(bound) } };
      }
      if (decision.kind === 'refused' && lacksOnlySlots(decision.violations, bound)) {
        ticket.setAside();
        return undefined;
      }
      ticket.leave();
      return decided(decision);
    };
    if (exchange.outcome !== undefined) {
      ticket.leave();
      return GONE;
    }
    try {
      const decision = observedStore(exchange, this.#store).admit(bound.policies, keys, units);
      return isThenable(decision) ? Promise.resolve(decision).then(apply).catch(failed) : apply(decision);
    } catch (error) {
      return failed(error);
    }
  }

  #waits(exchange: Exchange, place: QueuePlace): void {
    if (this.#options.headers) {
      exchange.set('Queue-Position', String(place.position));
      if (place.expectedWait !== undefined) exchange.set('Queue-Expected-Wait', seconds(place.expectedWait));
    }
    this.#moved(exchange, place);
  }

  #moved(exchange: Exchange, place: QueuePlace): void {
    if (exchange.outcome !== undefined) return;
    exchange.queuePlace = place;
    for (const listener of [exchange.queueListener, this.#options.onQueue]) {
      try {
        const returned: unknown = listener?.(place, exchange);
        if (isThenable(returned)) Promise.resolve(returned).catch((error: unknown) => exchange.fault(error));
      } catch (error) {
        exchange.fault(error);
      }
    }
  }
}

const GONE: Queued = { kind: 'gone' };
const NO_QUEUES =
  'gatewarden: limit "queue" needs a store that has queues, such as memoryStore() or redisStore(...); this one has none';

function decided(decision: Decision): Queued {
  return { kind: 'decided', decision, slot: undefined };
}

/** Whole seconds, rounded up. */
function seconds(milliseconds: number): string {
  return String(Math.ceil(milliseconds / 1000));
}

/** Goes on with a value, now or when its promise is fulfilled. */
function after<T, U>(value: T | Promise<T>, next: (value: T) => U | Promise<U>): U | Promise<U> {
  return isThenable(value) ? Promise.resolve(value).then(next) : next(value);
}
