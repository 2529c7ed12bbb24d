import { retryAfterOf } from './contract.js';
import type { WorkerEvent, WorkerState } from './worker-event.js';
import { neverConnected, reasonOf, type WorkerLink } from './worker-link.js';

/** What a probe has found. */
export interface WorkerStatus {
  readonly state: WorkerState;
  /** Whether it accepts jobs now, or when it has ended one. */
  readonly isUp: boolean;
  /** In how many seconds to ask again, if it is not up. */
  readonly retryAfter: number;
}

export interface ReadinessOptions {
  /** How long a result is used, in milliseconds. */
  readonly maxAge: number;
  readonly timeout: number;
  readonly report: (event: WorkerEvent) => void;
}

const RETRY_AFTER = 5;
const READY: WorkerStatus = Object.freeze({ state: 'ready', isUp: true, retryAfter: RETRY_AFTER });
const BUSY: WorkerStatus = Object.freeze({ state: 'busy', isUp: true, retryAfter: RETRY_AFTER });
const DEAD: WorkerStatus = Object.freeze({ state: 'dead', isUp: false, retryAfter: RETRY_AFTER });

/** Asks a worker whether it is ready: one probe at a time, for all requests. */
export class Readiness {
  readonly #link: WorkerLink;
  readonly #options: ReadinessOptions;
  #status: WorkerStatus | undefined = undefined;
  #checkedAt = Number.NEGATIVE_INFINITY;
  #probe: Promise<WorkerStatus> | undefined = undefined;

  constructor(link: WorkerLink, options: ReadinessOptions) {
    this.#link = link;
    this.#options = options;
  }

  /** The state of the worker, at once if it is known. */
  check(): WorkerStatus | Promise<WorkerStatus> {
    const status = this.#status;
    if (status !== undefined && performance.now() - this.#checkedAt < this.#options.maxAge) return status;
    this.#probe ??= this.#ask();
    // A worker that computes may be slow to answer, and is not asked to be quick.
    return status?.isUp === true && this.#link.running > 0 ? status : this.#probe;
  }

  /** A job could not be sent: the last result is no longer true. */
  forget(): void {
    this.#checkedAt = Number.NEGATIVE_INFINITY;
  }

  async #ask(): Promise<WorkerStatus> {
    const { status, reason } = await this.#found();
    this.#probe = undefined;
    this.#checkedAt = performance.now();
    const previous = this.#status?.state;
    this.#status = status;
    if (previous !== status.state) this.#options.report({ kind: 'state', state: status.state, previous, reason });
    return status;
  }

  async #found(): Promise<{ readonly status: WorkerStatus; readonly reason: string }> {
    try {
      const response = await this.#link.ready(this.#options.timeout);
      if (response.status === 503)
        return { status: loading(retryAfterOf(response.headers)), reason: 'it responds 503' };
      if (!response.ok) return { status: DEAD, reason: `GET /ready responds ${response.status}` };
      if (this.#link.instance === undefined) return { status: DEAD, reason: 'it does not name its instance' };
      return { status: READY, reason: 'it responds' };
    } catch (error) {
      if (neverConnected(error)) return { status: loading(), reason: `no connection: ${reasonOf(error)}` };
      const isLate = error instanceof Error && error.name === 'TimeoutError';
      const reason = isLate ? `no response within ${this.#options.timeout} ms` : reasonOf(error);
      const wasUp = this.#status?.isUp === true;
      return { status: isLate && wasUp && this.#link.running > 0 ? BUSY : DEAD, reason };
    }
  }
}

function loading(retryAfter = RETRY_AFTER): WorkerStatus {
  return { state: 'loading', isUp: false, retryAfter };
}
