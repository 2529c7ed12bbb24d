import { randomBytes } from 'node:crypto';
import { type AnswerWatch, watchAnswer } from '../../core/answer-watch.js';
import type { Exchange } from '../../core/exchange.js';
import type { CapturedResponse } from '../../core/request-view.js';
import { isThenable } from '../../core/thenable.js';
import { noAnswer, withTimeout } from '../../core/with-timeout.js';
import type { Begun, IdempotencyAnswer, IdempotencyStore } from './idempotency-store.js';
import { answerOf } from './recorded-answer.js';

/** How a run of a key ended, for the repeats that waited for it. `free`: nothing is remembered, so the next request runs. */
export type RunEnd =
  | { readonly kind: 'answered'; readonly answer: IdempotencyAnswer }
  | { readonly kind: 'free' | 'reused' | 'conflict' | 'unavailable' };

/** What all runs of one guard have in common. Lengths of time are milliseconds. */
export interface RunSettings {
  readonly store: IdempotencyStore;
  readonly lease: number;
  readonly ttl: number;
  readonly maxBytes: number;
  readonly timeout: number;
  readonly handlerTimeout: number;
  readonly remember: (status: number) => boolean;
  /** The runs of this process, by key. */
  readonly runs: Map<string, KeyRun>;
}

const FREE: RunEnd = { kind: 'free' };
const CONFLICT: RunEnd = { kind: 'conflict' };
/** How many repeats of one key wait at once. Each of them holds a connection that no quota counts. */
const MAX_WAITING = 16;
/** How long to wait for the end of an answer that has begun, if the client has left, in milliseconds. */
const STREAM_TIMEOUT = 10_000;
/** When an answer that the store did not take is offered again, in milliseconds: at first, later, and how often. */
const RETRIES = { first: 1000, longest: 16_000, most: 40 };

/** One request that holds a key, or tries to, and the repeats that wait for it in this process. */
export class KeyRun {
  readonly key: string;
  readonly fingerprint: string;
  readonly #settings: RunSettings;
  readonly #holder = randomBytes(16).toString('base64url');
  readonly #waiting = new Set<(end: RunEnd) => void>();
  #end: RunEnd | undefined;
  #exchange: Exchange | undefined;
  #watch: AnswerWatch | undefined;
  /** Whether the body of the request has arrived. */
  #isWhole = false;
  #isAnswered = false;
  #renewal: NodeJS.Timeout | undefined;
  #patience: NodeJS.Timeout | undefined;

  constructor(settings: RunSettings, key: string, fingerprint: string) {
    this.#settings = settings;
    this.key = key;
    this.fingerprint = fingerprint;
    settings.runs.set(key, this);
  }

  /** Asks the store for the key. */
  async begin(): Promise<Begun> {
    const { store, lease } = this.#settings;
    const begun = store.begin(this.key, this.fingerprint, this.#holder, lease);
    if (!isThenable(begun)) return begun;
    return this.#inTime(begun).catch((error: unknown) => {
      // It may still take the key for a request that is refused now.
      void Promise.resolve(begun)
        .then(({ kind }) => (kind === 'new' ? this.#released() : undefined))
        .catch(() => undefined);
      throw error;
    });
  }

  /** Waits for the end of this run, at most `timeout` milliseconds, and no longer than the exchange of the repeat. */
  join(exchange: Exchange, timeout: number): Promise<RunEnd> {
    if (this.#end !== undefined) return Promise.resolve(this.#end);
    if (this.#waiting.size >= MAX_WAITING) return Promise.resolve(CONFLICT);
    return new Promise((resolve) => {
      const stop = (end: RunEnd): void => {
        clearTimeout(timer);
        this.#waiting.delete(stop);
        resolve(end);
      };
      const timer = setTimeout(stop, timeout, CONFLICT);
      this.#waiting.add(stop);
      exchange.onEnd(() => stop(FREE));
    });
  }

  /** The run is over. */
  settle(end: RunEnd): void {
    this.#settings.runs.delete(this.key);
    this.#tell(end);
  }

  /** Holds the key, which the store has given, until the exchange is answered. Throws if it cannot see the answer. */
  async hold(exchange: Exchange, isWhole: boolean): Promise<void> {
    const { lease, handlerTimeout } = this.#settings;
    this.#exchange = exchange;
    this.#isWhole = isWhole;
    try {
      this.#capture(exchange);
    } catch (error) {
      await this.release();
      throw error;
    }
    this.#watch = watchAnswer(exchange, () => void this.#giveUp());
    this.#renewal = setInterval(() => void this.#renew(), lease / 3);
    this.#renewal.unref?.();
    let hasBegun = false;
    exchange.onHead(() => {
      hasBegun = true;
    });
    exchange.onEnd(({ kind }) => {
      if (this.#isAnswered) return;
      // The client has left. The handler may still be at work, but a stream to a client that has left mostly never ends.
      const patience = kind === 'aborted' && hasBegun ? Math.min(handlerTimeout, STREAM_TIMEOUT) : handlerTimeout;
      this.#patience = setTimeout(() => void this.#giveUp(), patience);
      this.#patience.unref?.();
    });
  }

  #capture(exchange: Exchange): void {
    if (exchange.capture(this.#settings.maxBytes, (response) => this.#answered(response))) return;
    throw new Error('gatewarden: idempotent cannot read responses on this server: its adapter has no capture');
  }

  /** Frees the key. The next request with it runs. */
  release(): void | Promise<void> {
    this.#stopTimers();
    const released = this.#released();
    if (!isThenable(released)) return this.settle(FREE);
    return this.#inTime(released).then(
      () => this.settle(FREE),
      (error: unknown) => {
        this.#exchange?.fault(error);
        this.settle(FREE);
      },
    );
  }

  #giveUp(): void | Promise<void> {
    if (this.#isAnswered) return;
    this.#isAnswered = true;
    return this.release();
  }

  #answered(response: CapturedResponse): void | Promise<void> {
    if (this.#isAnswered) return;
    this.#isAnswered = true;
    const replied = this.#watch?.replied;
    const isRefused = replied?.kind === 'refused' && replied.status === response.status;
    // An error that a parser found in a body that broke off.
    const isCutOff = !this.#isWhole && this.#exchange?.outcome?.kind === 'aborted' && response.status >= 400;
    if (isRefused || isCutOff || !this.#isRemembered(response.status)) return this.release();
    const answer = answerOf(response, this.#settings.maxBytes);
    const finished = this.#offer(answer);
    if (!isThenable(finished)) return this.#finished(answer, finished);
    return finished.then(
      (isStored) => this.#finished(answer, isStored),
      (error: unknown) => this.#offerLater(answer, error, 0),
    );
  }

  /** An answer that may be final is not given twice. */
  #isRemembered(status: number): boolean {
    try {
      return this.#settings.remember(status) !== false;
    } catch (error) {
      this.#exchange?.fault(error);
      return true;
    }
  }

  #offer(answer: IdempotencyAnswer): boolean | Promise<boolean> {
    const { store, ttl } = this.#settings;
    try {
      const finished = store.finish(this.key, this.fingerprint, this.#holder, answer, ttl);
      return isThenable(finished) ? this.#inTime(finished) : finished;
    } catch (error) {
      return Promise.reject(error);
    }
  }

  #finished(answer: IdempotencyAnswer, isStored: boolean): void {
    this.#stopTimers();
    if (isStored !== true) this.#exchange?.fault(new Error(LOST));
    this.settle({ kind: 'answered', answer });
  }

  /** The client gets the answer all the same, and repeats that reach this process do. */
  #offerLater(answer: IdempotencyAnswer, error: unknown, attempt: number): void {
    this.#exchange?.fault(error);
    this.#tell({ kind: 'answered', answer });
    if (attempt >= RETRIES.most) {
      this.#finished(answer, true);
      return;
    }
    this.#patience = setTimeout(
      () => {
        Promise.resolve(this.#offer(answer)).then(
          (isStored) => this.#finished(answer, isStored),
          (again: unknown) => this.#offerLater(answer, again, attempt + 1),
        );
      },
      Math.min(RETRIES.first * 2 ** attempt, RETRIES.longest),
    );
    this.#patience.unref?.();
  }

  async #renew(): Promise<void> {
    const { store, lease } = this.#settings;
    try {
      const isHeld = await this.#inTime(Promise.resolve(store.renew(this.key, this.#holder, lease)));
      if (!isHeld) clearInterval(this.#renewal);
    } catch {
      // The next renewal may succeed, and what becomes of the answer is reported.
    }
  }

  #released(): void | Promise<void> {
    try {
      return this.#settings.store.release(this.key, this.#holder);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  #tell(end: RunEnd): void {
    this.#end ??= end;
    for (const stop of [...this.#waiting]) stop(end);
  }

  #stopTimers(): void {
    clearInterval(this.#renewal);
    clearTimeout(this.#patience);
  }

  #inTime<T>(answer: PromiseLike<T>): Promise<T> {
    return withTimeout(answer, this.#settings.timeout, () => this.#late(), { background: true });
  }

  #late(): Error {
    return noAnswer('the idempotency store', this.#settings.timeout);
  }
}

const LOST =
  'gatewarden: idempotent lost its key before the request was answered, so a repeat may have run it again; ' +
  'raise "lease" above the longest time for which this process or the store may stand still';
