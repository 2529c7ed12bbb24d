import type { QueueClient } from './queue-client.js';

/** What a new ticket brings. */
export interface Arrival {
  readonly client: string;
  readonly weight: number;
  readonly maxWait: number;
  readonly estimate: number | undefined;
}

/** A ticket of a `FairQueue`. */
export interface FairTicket {
  /** Rises with each ticket of the queue. */
  readonly order: number;
  readonly client: QueueClient;
  /** When it gives up, if it still waits then. */
  readonly deadline: number;
  readonly estimate: number | undefined;
  state: 'waiting' | 'turn' | 'running' | 'gone';
  /** When its job has started. */
  startedAt: number;
}

/** What became of a new ticket. If it is refused, nothing of it remains. */
export type Arrived =
  | {
      readonly ticket: FairTicket;
      /** How many will start before it, and one. */
      readonly position: number;
      /** Undefined if nothing is known. 0 if a slot is free and nobody waits. */
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
