import type { JobBooking, Ledger } from '../core/ledger.js';
import { bookOnlyJobs } from '../core/usage-account.js';
import { accountOf, bookedName } from './account-text.js';
import type { EndedJob } from './contract.js';
import type { WorkerEvent } from './worker-event.js';
import type { WorkerLink } from './worker-link.js';

const INTERVAL_MS = 5000;
/** A worker lists at most 10,000 jobs, mostly 100 in each part. One that lists more would be asked without end. */
const MAX_PARTS = 1000;
/** A ledger remembers for twice as long what it has booked. */
const MAX_AGE_MS = 43_200_000;

/**
 * Books the jobs that the worker says have ended, whichever gateway has sent them. So the GPU time of a job is booked also
 * if its gateway has died, or does not know how long it ran. A job that was booked before is not booked again.
 */
export class EndedJobs {
  readonly #link: WorkerLink;
  readonly #report: (event: WorkerEvent) => void;
  #ledger: Ledger | undefined = undefined;
  /** The instance that has been read, and up to which number. */
  #instance: string | undefined = undefined;
  #number = 0;
  /** The instance that keeps no list. */
  #without: string | undefined = undefined;
  /** The instance whose list was malformed, which is reported once. */
  #malformedOf: string | undefined = undefined;
  #reading: Promise<boolean> | undefined = undefined;
  #next: Promise<boolean> | undefined = undefined;

  constructor(link: WorkerLink, report: (event: WorkerEvent) => void) {
    this.#link = link;
    this.#report = report;
  }

  /**
   * Reads the list now and from time to time, and books in this ledger. Only the first call has an effect.
   * @throws TypeError for another ledger: the list does not say in which of them a job belongs, and it would be booked in both
   */
  bookIn(ledger: Ledger): void {
    if (this.#ledger === ledger) return;
    if (this.#ledger !== undefined) throw new TypeError(TWO_LEDGERS);
    this.#ledger = ledger;
    bookOnlyJobs(ledger);
    void this.read();
    // Timers of other runtimes are numbers.
    setInterval(() => void this.read(), INTERVAL_MS).unref?.();
  }

  /** Whether the worker is known to keep no list. */
  isMissingAt(instance: string): boolean {
    return this.#without === instance;
  }

  /** Whether the worker is known to keep the list. */
  isKeptBy(instance: string): boolean {
    return this.#instance === instance;
  }

  /** Books all jobs that have ended up to now. Returns whether that was possible. */
  read(): Promise<boolean> {
    if (this.#reading === undefined) return this.#start();
    // What is being read may not have the newest job.
    this.#next ??= this.#reading.then(() => {
      this.#next = undefined;
      return this.#start();
    });
    return this.#next;
  }

  #start(): Promise<boolean> {
    this.#reading ??= this.#readAll()
      .catch(() => false)
      .finally(() => {
        this.#reading = undefined;
      });
    return this.#reading;
  }

  async #readAll(): Promise<boolean> {
    const ledger = this.#ledger;
    const { instance } = this.#link;
    if (ledger === undefined || (instance !== undefined && instance === this.#without)) return false;
    for (let parts = 0; parts < MAX_PARTS; parts++) {
      const answer = await this.#link.ended(this.#number);
      if (answer.jobs === 'malformed') {
        this.#reportMalformed(answer.instance);
        return false;
      }
      if (answer.jobs === undefined) {
        this.#without = answer.instance;
        return false;
      }
      if (answer.instance !== this.#instance) {
        // It has started again, and counts from one.
        const wasOther = this.#number > 0;
        this.#instance = answer.instance;
        this.#number = 0;
        if (wasOther) continue;
      }
      const last = answer.jobs.at(-1);
      // A worker that ignores the number would be asked without end.
      if (last === undefined || last.number <= this.#number) return true;
      const bookings = answer.jobs.flatMap((job) => bookingOf(answer.instance, job));
      if (bookings.length > 0) await ledger.book(bookings);
      this.#number = last.number;
    }
    return false;
  }

  #reportMalformed(instance: string): void {
    if (this.#malformedOf === instance) return;
    this.#malformedOf = instance;
    this.#report({ kind: 'ended-jobs-unreadable', reason: 'GET /jobs/ended responds with something that is no list' });
  }
}

const TWO_LEDGERS =
  'gatewarden: worker.run books in another ledger than meterUsage; pass one ledger to both, and use one ledger for each worker';

function bookingOf(instance: string, { slot, token, account, gpuTime, end, ageMs }: EndedJob): readonly JobBooking[] {
  const of = account === undefined || ageMs > MAX_AGE_MS ? undefined : accountOf(account);
  if (of === undefined) return [];
  const how = end === 'stopped' ? 'aborted' : 'finished';
  return [{ job: bookedName(instance, slot, token), ...of, gpuTime, isFinal: true, end: how }];
}
