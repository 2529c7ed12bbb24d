import type { Exchange } from '../core/exchange.js';
import type { JobBooking } from '../core/ledger.js';
import type { AccountOfJob } from './account-text.js';
import { type ExchangeJobs, jobsOf, type Place } from './exchange-jobs.js';

/**
 * The newest slot of the policy `name`, or of the only `concurrency` that counts all callers together, in which no job of
 * this exchange has run.
 * @throws TypeError that says what to write
 */
function slotOf(jobs: ExchangeJobs, name: string | undefined): Place {
  const named = [...jobs.held()].filter(
    ({ hold }) => hold.kind === 'concurrency' && (name === undefined ? hold.isGlobal : hold.policy === name),
  );
  const free = named.filter((place) => !jobs.isTaken(place));
  const [place] = free;
  const policies = new Set(free.map(({ hold }) => hold.policy));
  if (policies.size > 1) {
    throw new TypeError(
      `gatewarden: worker.run found ${policies.size} slots that count all callers; write worker({ slots: '${place?.hold.policy}' })`,
    );
  }
  if (place !== undefined) return place;
  if (jobs.hasTaken(name)) throw new TypeError(ONE_JOB);
  throw new TypeError(
    name === undefined
      ? "gatewarden: worker.run found no slot; put limit({ by: 'global', policies: concurrency({ limit: 1 }) }) before the handler of this route, and do not release it"
      : `gatewarden: worker.run found no slot of the policy "${name}"; put concurrency({ name: '${name}', limit }) into the limit(...) of this route, and do not release it`,
  );
}

const ONE_JOB =
  'gatewarden: worker.run ran a job in this slot before; each job needs an admission of its own, so let the limit run again';

/** A job's slot, what it uses, and what that costs. */
export class JobAccount {
  readonly place: Place;
  /** Each is aborted when something is lost that the job needs. */
  readonly lost: readonly AbortSignal[];
  readonly #jobs: ExchangeJobs;
  readonly #gpu: readonly Place[];
  readonly #held: ReadonlySet<Place['admission']>;
  readonly #usage: Exchange['usageAccount'];

  /** @throws TypeError if the exchange holds no slot for the job */
  constructor(exchange: Exchange, slots: string | undefined) {
    this.#jobs = jobsOf(exchange);
    this.#usage = exchange.usageAccount;
    this.place = slotOf(this.#jobs, slots);
    this.#gpu = this.#jobs.take(this.place);
    this.#held = new Set([...this.#jobs.held()].map(({ admission }) => admission));
    this.lost = [...new Set([this.place, ...this.#gpu].map(({ admission }) => admission))].map(({ lost }) => lost);
  }

  /** The job is sent. Returns what a booking needs to know, if usage is metered. */
  sent(): AccountOfJob | undefined {
    const usage = this.#usage;
    if (usage === undefined) return undefined;
    usage.jobStarted();
    return { client: usage.client, place: usage.place };
  }

  /** Books what the job has used, together with its settlement if `pay` or `forgive` follow. */
  book(booking: JobBooking): void {
    this.#usage?.book(booking);
  }

  /** Books what no settlement has taken. */
  flush(): void {
    this.#usage?.flush();
  }

  /** Holds what the exchange holds until the job has ended. */
  holdUntil(ended: Promise<void>): void {
    for (const admission of this.#held) admission.holdUntil(ended);
  }

  /** The job has used the GPU for this long. */
  pay(milliseconds: number): void {
    this.#jobs.end(this.place, this.#gpu, milliseconds);
  }

  /** The job costs nothing: neither GPU time, nor what was charged together with its slot. */
  forgive(): void {
    this.#jobs.end(this.place, this.#gpu, undefined);
  }
}
