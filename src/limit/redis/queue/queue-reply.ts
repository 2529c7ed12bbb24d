import type { ClientSnapshot, WaitingSnapshot } from '../../queue/expected-wait.js';
import { type StoreError, unavailable } from '../../store.js';
import { QueueSnapshot } from './queue-snapshot.js';

/** How Redis answers a `join`. */
export type JoinAnswer =
  | { readonly kind: 'joined'; readonly order: number }
  /** `over`: the queue is full, but this ticket may push out another. */
  | {
      readonly kind: 'full' | 'over';
      /** The place of its client in the snapshot; -1 if it is not there. */
      readonly client: number;
      /** The service of its client, in milliseconds. 0 for a newcomer. */
      readonly service: number;
    };

/** The reply of queue.lua to one call. Tickets are named by their numbers. */
export interface QueueReply {
  readonly version: number;
  readonly joins: ReadonlyMap<number, JoinAnswer>;
  /** The caller's tickets that have a turn, and the number of that turn. */
  readonly turns: ReadonlyMap<number, number>;
  readonly pushedOut: readonly number[];
  /** Listed tickets that Redis does not have. */
  readonly unknown: readonly number[];
  /** Undefined if it has not changed, or was not asked for. */
  readonly snapshot: QueueSnapshot | undefined;
}

/** Reads a reply. `slots` are those of the policy. @throws StoreError */
export function readQueueReply(bytes: unknown, slots: number): QueueReply {
  if (!Buffer.isBuffer(bytes)) throw unknownReply();
  try {
    return read(new Doubles(bytes), slots);
  } catch (error) {
    throw error instanceof RangeError ? unknownReply() : error;
  }
}

function read(doubles: Doubles, slots: number): QueueReply {
  const version = doubles.next();
  const joins = new Map<number, JoinAnswer>();
  for (let left = doubles.next(); left > 0; left--) {
    const number = doubles.next();
    const kind = doubles.next();
    const order = doubles.next();
    if (kind === 0) joins.set(number, { kind: 'joined', order });
    else joins.set(number, { kind: kind === 1 ? 'full' : 'over', client: doubles.next() - 1, service: doubles.next() });
  }
  const turns = new Map<number, number>();
  const numbers = doubles.list();
  for (let i = 0; i < numbers.length; i += 2) turns.set(numbers[i] as number, numbers[i + 1] as number);
  const pushedOut = doubles.list();
  const unknown = doubles.list();
  const snapshot = doubles.next() === 1 ? readSnapshot(doubles, slots) : undefined;
  return { version, joins, turns, pushedOut, unknown, snapshot };
}

function readSnapshot(doubles: Doubles, slots: number): QueueSnapshot {
  const areLengthsKnown = doubles.next() === 1;
  const virtualTime = doubles.next();
  const clients: ClientSnapshot[] = [];
  for (let left = doubles.next(); left > 0; left--) {
    const service = doubles.next();
    const weight = doubles.next();
    const running = doubles.list();
    const tickets = doubles.list();
    const waiting: WaitingSnapshot[] = [];
    for (let i = 0; i < tickets.length; i += 2) {
      waiting.push({ order: tickets[i] as number, length: tickets[i + 1] as number });
    }
    clients.push({ service, weight, running, waiting });
  }
  return new QueueSnapshot(slots, clients, areLengthsKnown, virtualTime);
}

/** Numbers that are read from front to back. @throws RangeError at the end */
class Doubles {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  next(): number {
    this.#at += 8;
    return this.#bytes.readDoubleBE(this.#at - 8);
  }

  list(): readonly number[] {
    const list: number[] = [];
    for (let left = this.next(); left > 0; left--) list.push(this.next());
    return list;
  }
}

function unknownReply(): StoreError {
  return unavailable('Redis sent a reply that is not the reply of the script');
}
