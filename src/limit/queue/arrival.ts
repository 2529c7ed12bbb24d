import type { FairTicket } from './queue-client.js';

/** What a new ticket brings. */
export interface Arrival {
  readonly client: string;
  readonly weight: number;
  readonly maxWait: number;
  readonly estimate: number | undefined;
}

/** What became of a new ticket. If it is refused, nothing of it remains. */
export type Arrived =
  | {
      readonly ticket: FairTicket;
      /** How many will start before it, and one. */
      readonly position: number;
      /** Undefined if nothing is known. 0 if a slot is free and the queue is empty. */
      readonly expectedWait: number | undefined;
      /** Made room for it, and is gone. */
      readonly pushedOut: FairTicket | undefined;
    }
  | { readonly ticket: undefined; readonly expectedWait: number | undefined };

/** The place of a ticket that waits. */
export interface FairPlace {
  readonly ticket: FairTicket;
  /** 1 for the one that is next. */
  readonly position: number;
  /** Undefined before the first job has ended. */
  readonly expectedWait: number | undefined;
}
