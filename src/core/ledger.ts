/** What one client has used. */
export interface Usage {
  readonly requests: number;
  /** Refusals by problem code. Their sum is at most `requests`. */
  readonly refusals: Readonly<Record<string, number>>;
  /** Responses with a status of 500 or above that were not refusals. */
  readonly errors: number;
  readonly bytesIn: number;
  readonly bytesOut: number;
  /** Milliseconds. */
  readonly gpuTime: number;
  readonly jobsStarted: number;
  /** Jobs that ended by themselves, also those that failed. */
  readonly jobsFinished: number;
  /** Jobs that were stopped: the client left, or the deadline passed. */
  readonly jobsAborted: number;
}

/** The usage of one client: on one day, or in all. */
export interface UsageRow extends Usage {
  /** The id of the principal. `anonymous` for all callers without one. */
  readonly client: string;
}

/** The figures by which a report can be sorted, in descending order; `client` in ascending order. */
export type UsageOrder = 'client' | 'requests' | 'errors' | 'bytesIn' | 'bytesOut' | 'gpuTime' | 'jobsStarted';

/** Which part of a ledger is read. */
export interface UsageQuery {
  /** A day such as `2026-11-22`, in the ledger's time zone. Default: all days together. */
  readonly day?: string | undefined;
  /** Only this client. */
  readonly client?: string | undefined;
  /** Default `gpuTime`. */
  readonly sort?: UsageOrder | undefined;
  /** Rows to skip. Default 0. */
  readonly offset?: number | undefined;
  /** The most rows to return. Default 100, at most 1000. */
  readonly limit?: number | undefined;
}

/** A part of a ledger. */
export interface UsagePage {
  readonly rows: readonly UsageRow[];
  /** How many rows there are, on all pages. */
  readonly total: number;
}

/** What is added to the row of one client, today. */
export type UsageChange = {
  readonly client: string;
  /** The problem code of one refusal. */
  readonly refusal?: string | undefined;
} & {
  readonly [Figure in Exclude<keyof Usage, 'refusals'>]?: Usage[Figure] | undefined;
};

/** The GPU time of one job. */
export interface JobBooking {
  /** Names the job. Whatever is booked under one name is one job. At most 128 characters. */
  readonly job: string;
  readonly client: string;
  /** A whole number of milliseconds. */
  readonly gpuTime: number;
  /**
   * Whether this is the worker's own word. It replaces a figure that a gateway has measured, on the day on which that was
   * booked. No booking replaces a final one.
   */
  readonly isFinal: boolean;
  /** How the job ended, which is counted once. Undefined for work that was no job of a worker. */
  readonly end?: 'finished' | 'aborted' | undefined;
  /**
   * Where the ledger keeps the booking, if it has several places. All bookings of one job must name the same one. Only a
   * text that the ledger has chosen itself.
   */
  readonly place?: string | undefined;
}

/**
 * Keeps the account of who has used what, per day and in all. GPU time is booked once for each job, whatever happens. A
 * ledger that cannot book throws or rejects.
 */
export interface Ledger {
  /** Adds to rows. It is called for every exchange, so a ledger that is far away collects what is added, and writes it later. */
  add(changes: readonly UsageChange[]): void | Promise<void>;
  /** Books the GPU time of jobs. To repeat a booking changes nothing. It has an effect when this returns or resolves. */
  book(bookings: readonly JobBooking[]): void | Promise<void>;
  /** Reads all that was added or booked here, and what other processes have written. */
  read(query?: UsageQuery): UsagePage | Promise<UsagePage>;
  /** Today, in the ledger's time zone, such as `2026-11-22`. */
  today(): string;
  /** Writes what was not written yet, and stops. For the end of the process. */
  close(): void | Promise<void>;
}
