import type { Exchange } from '../core/exchange.js';
import type { JobEnd } from '../core/exchange-observer.js';
import { reportedGpuTime, reportGpuTime } from '../core/gpu-time.js';
import { type AccountOfJob, accountText, bookedName } from './account-text.js';
import type { EndedJobs } from './ended-jobs.js';
import type { JobAccount } from './job-account.js';
import { untilGone } from './job-ending.js';
import { cancelled, deadlineExceeded, type JobFailure, unavailable } from './job-result.js';
import type { Readiness } from './readiness.js';
import type { WorkerEvent, WorkerJob } from './worker-event.js';
import type { WorkerLink } from './worker-link.js';

/** What all jobs of one worker have in common. */
export interface RunContext {
  readonly link: WorkerLink;
  readonly readiness: Readiness;
  readonly ended: EndedJobs;
  readonly report: (event: WorkerEvent) => void;
  /** How long to wait for the worker's word after the deadline, in milliseconds. */
  readonly grace: number;
  readonly chargeFailures: boolean;
}

/**
 * Why a job is stopped before it has ended by itself: the client has left, the deadline has passed, the hold or the
 * connection was lost, or the answer is no longer read.
 */
export type Stop = 'client' | 'deadline' | 'hold' | 'connection' | 'unread';

/** What a timer can wait. */
const MAX_TIMER = 2_147_483_647;

/** Stops that are not the client's doing, and cost it nothing. */
const OWN_FAULTS: readonly Stop[] = ['hold', 'connection'];

/**
 * The life of one job, from the moment at which its slot is held for it until the worker has said that it has ended. Once
 * stopped, a job that the worker may have is cancelled there, and its slot waits for the worker's word.
 */
export class JobLife {
  /** Ends the connection of the job's request. */
  readonly connection = new AbortController();
  readonly #context: RunContext;
  readonly #exchange: Exchange;
  readonly #account: JobAccount;
  readonly #job: WorkerJob;
  #timer: NodeJS.Timeout | undefined;
  /** The instance that may have the job. */
  #sentTo: string | undefined = undefined;
  #sentAt = 0;
  /** Who was told that the job has started. */
  #observer: Exchange['observer'] = undefined;
  /** Whose usage the job is. Undefined if usage is not metered. */
  #of: AccountOfJob | undefined = undefined;
  /** When the worker stops the job by itself at the latest. */
  #endsAt = 0;
  #stop: Stop | undefined = undefined;
  #hasEnded = false;
  #resolveEnded: () => void = () => undefined;

  constructor(context: RunContext, exchange: Exchange, account: JobAccount, job: WorkerJob) {
    this.#context = context;
    this.#exchange = exchange;
    this.#account = account;
    this.#job = job;
  }

  /** Holds the slot until the job has ended, and watches what may stop it. */
  begin(deadlineMs: number): void {
    const { signal } = this.#exchange;
    this.#account.holdUntil(
      new Promise<void>((resolve) => {
        this.#resolveEnded = resolve;
      }),
    );
    const longest = Math.min(deadlineMs + this.#context.grace, MAX_TIMER);
    this.#endsAt = performance.now() + longest;
    this.#timer = setTimeout(this.#onDeadline, longest);
    signal.addEventListener('abort', this.#onLeave);
    this.#exchange.onEnd(this.#onExchangeEnd);
    for (const lost of this.#account.lost) {
      if (lost.aborted) {
        this.#onLost();
        return;
      }
      lost.addEventListener('abort', this.#onLost);
    }
  }

  /** Why the job was stopped, if it was. */
  get failure(): JobFailure | undefined {
    switch (this.#stop) {
      case undefined:
        return undefined;
      case 'deadline':
        return deadlineExceeded();
      case 'hold':
        return unavailable('a hold was lost');
      case 'connection':
        return unavailable('the connection was lost');
      default:
        return cancelled();
    }
  }

  /** How long ago the job was sent, in milliseconds. */
  get elapsed(): number {
    return performance.now() - this.#sentAt;
  }

  /** The job is on its way to the worker. */
  sent(instance: string): void {
    this.#sentTo = instance;
    this.#of ??= this.#account.sent();
    if (this.#observer === undefined) {
      this.#observer = this.#exchange.observer;
      this.#observer?.jobStarted?.(this.#exchange);
    }
    this.#sentAt = performance.now();
    this.#context.link.running++;
  }

  /** What the worker keeps with the job, so that other gateways can book it. */
  get accountText(): string | undefined {
    return this.#of && accountText(this.#of);
  }

  /** The worker does not have the job, and says so. */
  refused(): void {
    if (this.#sentTo === undefined) return;
    this.#sentTo = undefined;
    this.#context.link.running--;
  }

  /** Ends the connection. If the worker may have the job, it is cancelled, and pays for what it uses until it is gone. */
  stop(stop: Stop): void {
    if (this.#stop !== undefined) return;
    this.#stop = stop;
    this.unwatch();
    if (this.#sentTo === undefined) this.end();
    else if (!this.#hasEnded) void this.#cancel(this.#sentTo, stop);
    this.connection.abort();
  }

  /**
   * The job has ended and has to pay for so many milliseconds, undefined if it costs nothing. `spent` is what it has used
   * of the GPU all the same, and `isWord` whether the worker has said so.
   */
  end(used?: number, end: JobEnd = 'failed', spent = used ?? 0, isWord = false): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    clearTimeout(this.#timer);
    for (const lost of this.#account.lost) lost.removeEventListener('abort', this.#onLost);
    if (this.#sentTo !== undefined) this.#context.link.running--;
    if (spent > 0) reportGpuTime(this.#exchange, reportedGpuTime(this.#exchange) + Math.ceil(spent));
    if (this.#observer !== undefined) this.#observer.jobEnded?.(this.#exchange, end, this.elapsed);
    this.#book(spent, end, isWord);
    if (used === undefined) this.#account.forgive();
    else this.#account.pay(used);
    this.#account.flush();
    this.#resolveEnded();
  }

  /** There is a result, and nothing of it is still to come. */
  unwatch(): void {
    clearTimeout(this.#timer);
    this.#exchange.signal.removeEventListener('abort', this.#onLeave);
  }

  /**
   * Books what the job has used. If the worker has not said that, its list of jobs that have ended has the job, unless it
   * never ran. What was measured here counts only for a worker without such a list.
   */
  #book(spent: number, end: JobEnd, isWord: boolean): void {
    const instance = this.#sentTo;
    const of = this.#of;
    if (instance === undefined || of === undefined) return;
    const { slot, token } = this.#job;
    const how = end === 'aborted' || this.#stop !== undefined ? 'aborted' : 'finished';
    const gpuTime = Math.max(0, Math.ceil(spent));
    const booking = { job: bookedName(instance, slot, token), ...of, gpuTime, isFinal: isWord, end: how } as const;
    const { ended } = this.#context;
    if (isWord || ended.isMissingAt(instance)) {
      this.#account.book(booking);
      return;
    }
    void ended.read().then((wasRead) => {
      // A worker that has started again has lost its list.
      if (wasRead && ended.isKeptBy(instance)) return;
      this.#account.book(booking);
      this.#account.flush();
    });
  }

  readonly #onDeadline = (): void => this.stop('deadline');
  readonly #onLeave = (): void => this.stop('client');
  /** The rest of the answer will not be read. */
  readonly #onExchangeEnd = (): void => this.stop('unread');
  readonly #onLost = (): void => {
    this.#context.report({ kind: 'hold-lost', job: this.#job });
    this.stop('hold');
  };

  async #cancel(instance: string, stop: Stop): Promise<void> {
    const { link, report, chargeFailures } = this.#context;
    const { lost } = this.#account.place.admission;
    const { slot, token } = this.#job;
    let ranUntil: number | undefined;
    // Without the hold, the slot may belong to another job, whose token stops this one if the cancel does not arrive.
    if (lost.aborted) await link.cancel(slot, token, instance).catch(() => undefined);
    else ranUntil = await untilGone(link, this.#job, instance, lost, report);
    // While the worker was silent, the job may have ended by itself, at its deadline at the latest.
    const used = (ranUntil ?? Math.min(performance.now(), this.#endsAt)) - this.#sentAt;
    const end = stop === 'client' || stop === 'unread' ? 'aborted' : 'failed';
    this.end(chargeFailures || !OWN_FAULTS.includes(stop) ? used : undefined, end, used);
  }
}
