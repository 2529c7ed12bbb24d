import type { QueuePlace } from '../../core/queue-place.js';
import type { Concurrency } from '../policy.js';

/** What a queue is for. */
export interface QueueSettings {
  /** The policy whose slots are waited for. Each partition key has a queue of its own. */
  readonly policy: Concurrency;
  /** The most tickets that wait. */
  readonly maxWaiting: number;
}

/** A request that wants a slot. */
export interface JoinRequest {
  /** The partition key of the counter of slots. */
  readonly key: string;
  /** What is served in fair order: a principal or an address, never a key or a connection. */
  readonly client: string;
  /** Its share beside other clients. Above 0. */
  readonly weight: number;
  /** The longest that it waits, in milliseconds. */
  readonly maxWait: number;
  /**
   * How long the service thinks that its job will take, in milliseconds. Undefined if it says nothing. Only the expected
   * wait depends on it, never the order.
   */
  readonly estimate: number | undefined;
  /** Called when its place changes. Undefined if there is no listener. */
  readonly onPlace: ((place: QueuePlace) => void) | undefined;
}

/**
 * The answer to a request for a slot.
 * - `turn`: the request is next, and a slot should be free. Ask the store to admit it.
 * - `waiting`: `ticket.turn` says when.
 * - `full`: it could not be served in `maxWait`, or too many wait. Nothing of it remains.
 */
export type Joined =
  | { readonly kind: 'turn'; readonly ticket: Ticket }
  | { readonly kind: 'waiting'; readonly ticket: Ticket; readonly place: QueuePlace }
  | {
      readonly kind: 'full';
      /** How long a request that comes now would wait, in milliseconds. */
      readonly expectedWait: number;
    };

/** How the waiting of a ticket ended. */
export type TurnResult =
  | { readonly kind: 'turn' }
  /** It waited for `maxWait`, or was pushed out of a full queue. Nothing of it remains. */
  | { readonly kind: 'timeout' | 'pushed-out'; readonly expectedWait: number };

/**
 * A place in a queue. The caller of `join` calls `started` or `leave` exactly once, and `ended` after `started`. Calls beyond
 * that have no effect.
 */
export interface Ticket {
  /** How the waiting ends. Rejects with a `StoreError` if the store does not answer. Asked once, at the most. */
  turn(): Promise<TurnResult>;
  /**
   * Its turn came, but a slot was missing all the same: something else holds it, or a smaller limit of the client's own is
   * full. It waits again and keeps its place, and others may pass meanwhile. Then `turn()` is asked again.
   */
  setAside(): void;
  /** Its request was admitted and holds a slot. */
  started(): void;
  /** Its request goes away without a slot: it was refused, or the client has left. */
  leave(): void;
  /** The slot is given back. The time since `started` is what the client was served. */
  ended(): void;
}

/** Requests that wait for slots, served in fair order: least served by elapsed time per weight is next. */
export interface WaitingQueue {
  join(request: JoinRequest): Joined | Promise<Joined>;
}
