import { hash } from 'node:crypto';
import { dayBefore } from '../calendar-day.js';
import type { JobBooking } from '../ledger.js';

/** How long a job is remembered, so that it is booked once, in milliseconds. Workers list jobs for half as long. */
export const KEEP_JOB = 86_400_000;

/** The keys of a ledger in one place. In a Cluster, a place is a hash tag: all its keys are in one slot. */
export class UsageKeys {
  readonly #base: string;

  constructor(prefix: string, place: string) {
    this.#base = place === '' ? prefix : `${prefix}{${place}}:`;
  }

  /** A hash of all figures of all clients. */
  get all(): string {
    return `${this.#base}all`;
  }

  /** The same for one day. */
  day(day: string): string {
    return `${this.#base}day:${day}`;
  }

  /** What was booked of a job. */
  job(name: string): string {
    return `${this.#base}job:${hash('sha256', name, 'base64url').slice(0, 22)}`;
  }

  /** Marks a batch that was written. */
  batch(name: string): string {
    return `${this.#base}batch:${name}`;
  }
}

/** A booking as book.lua reads it. Lengths of time are in milliseconds. */
export interface BookingArguments {
  /** The job, all days, today, and the day before. */
  readonly keys: readonly [job: string, all: string, day: string, dayBefore: string];
  readonly client: string;
  readonly gpuTime: number;
  readonly isFinal: 0 | 1;
  /** 1: finished, 2: aborted, 0: neither is counted. */
  readonly ending: 0 | 1 | 2;
  readonly today: string;
  readonly yesterday: string;
  readonly keepJob: number;
  readonly keepDay: number;
}

const ENDINGS = { finished: 1, aborted: 2 } as const;

export function bookingArguments(
  { job, client, gpuTime, isFinal, end }: JobBooking,
  keys: UsageKeys,
  today: string,
  keepDay: number,
): BookingArguments {
  const yesterday = dayBefore(today);
  return {
    keys: [keys.job(job), keys.all, keys.day(today), keys.day(yesterday)],
    client,
    gpuTime,
    isFinal: isFinal ? 1 : 0,
    ending: end === undefined ? 0 : ENDINGS[end],
    today,
    yesterday,
    keepJob: KEEP_JOB,
    keepDay,
  };
}
