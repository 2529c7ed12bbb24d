import type { ServerClock } from '../server-clock.js';
import type { QueueScript } from './queue-script.js';

/** What all queues of a store share. */
export interface QueueSurroundings {
  readonly script: QueueScript;
  readonly clock: ServerClock;
  /** Keeps the tickets of processes apart. */
  readonly owner: string;
  /** How long a call may take, in milliseconds. */
  readonly timeout: number;
  /** How often Redis is asked about a queue in which so many tickets wait, in milliseconds. */
  readonly intervalFor: (waiting: number) => number;
  /** For the next ticket. */
  readonly nextNumber: () => number;
  /** The channel at which this process listens, or empty. */
  readonly channel: () => string;
}

/** Waiting tickets of which Redis gets no news are gone after so many intervals, and no sooner than this. As in queue.lua. */
const WAITS_FOR = 10;
const LEAST_WAIT_MS = 2000;

/** For how long a ticket waits of which Redis does not hear, in milliseconds. */
export function waitingLease(interval: number): number {
  return Math.max(LEAST_WAIT_MS, WAITS_FOR * interval);
}

/** So many may wait before the interval grows: the longer a queue, the more each question costs Redis. */
const FEW = 200;

/** A function that returns the interval for so many waiting tickets. */
export function growingInterval(interval: number): (waiting: number) => number {
  return (waiting) => interval * Math.max(1, Math.ceil(waiting / FEW));
}
