import type { JobBooking } from '../ledger.js';
import type { BookingArguments } from './usage-keys.js';

/** A ledger in Redis, for a store that books in one step with a settlement. */
export interface LedgerTarget {
  /** The client of the server, or the Cluster, in which the ledger is. */
  readonly client: object;
  /** Called before the first booking in a place of a Cluster. */
  open(place: string): void;
  arguments(booking: JobBooking): BookingArguments;
}

const targets = new WeakMap<object, LedgerTarget>();

/** For a ledger in Redis: lets stores on the same server book in it. */
export function offerTarget(ledger: object, target: LedgerTarget): void {
  targets.set(ledger, target);
}

/** Undefined for a ledger that is not in Redis. */
export function targetOf(ledger: object): LedgerTarget | undefined {
  return targets.get(ledger);
}
