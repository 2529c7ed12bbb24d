import type { Exchange } from '../../core/exchange.js';
import { type ExchangeObserver, isObservedBy, observe } from '../../core/exchange-observer.js';
import type { Outcome } from '../../core/outcome.js';
import { PROBLEM_CODES } from '../../core/problem.js';
import type { Reply } from '../../core/reply.js';
import { LabelValues, OTHER } from './label-values.js';
import type { Meters } from './meters.js';

/** The route of requests for which the framework found none, or has not found it yet. */
const NO_ROUTE = 'none';
/** For what the code of a service names: guards, policies, codes and reasons. */
const MAX_NAMES = 100;
const PASSED = 'passed';
const ANSWERED = 'answered';

/** A decision whose route may not be known yet. */
interface Decision {
  readonly guard: string;
  readonly code: string;
}

/** Measures exchanges. */
export class ExchangeMeter implements ExchangeObserver<Exchange> {
  readonly #meters: Meters;
  readonly #routes: LabelValues;
  readonly #guards = new LabelValues(MAX_NAMES);
  readonly #policies = new LabelValues(MAX_NAMES);
  readonly #codes = new LabelValues(MAX_NAMES, [...PROBLEM_CODES, PASSED, ANSWERED]);
  readonly #reasons = new LabelValues(MAX_NAMES);
  /** What the guards of an exchange decided, until it ends. */
  readonly #decisions = new WeakMap<Exchange, Decision[]>();

  constructor(meters: Meters, maxRoutes: number) {
    this.#meters = meters;
    this.#routes = new LabelValues(maxRoutes, [NO_ROUTE, OTHER]);
  }

  /**
   * Begins to measure an exchange. Returns what is called at its end, or undefined if it is measured already, itself or as the
   * request that a job comes from.
   */
  begin(exchange: Exchange): ((outcome: Outcome) => void) | undefined {
    if (isObservedBy(exchange, this)) return undefined;
    observe(exchange, this);
    const decisions: Decision[] = [];
    this.#decisions.set(exchange, decisions);
    // Lets the adapter watch which route is chosen.
    void exchange.request.routePattern;
    const startedAt = performance.now();
    this.#meters.inFlight(1);
    return (outcome) => {
      this.#meters.inFlight(-1);
      const route = this.#routeOf(exchange);
      const status = outcome.kind === 'aborted' ? 'none' : String(outcome.status);
      this.#meters.requests(1, route, outcome.kind, status);
      this.#meters.requestDuration((performance.now() - startedAt) / 1000, route, outcome.kind);
      for (const { guard, code } of decisions.splice(0)) this.#meters.decisions(1, guard, code, route);
    };
  }

  guardEnded(exchange: Exchange, name: string, duration: number, reply: Reply | undefined): void {
    const guard = this.#guards.of(name === '' ? 'unnamed' : name);
    this.#meters.guardDuration(duration / 1000, guard);
    const code = this.#codes.of(codeOf(reply));
    const decisions = exchange.outcome === undefined ? this.#decisions.get(exchange) : undefined;
    if (decisions !== undefined) decisions.push({ guard, code });
    else this.#meters.decisions(1, guard, code, this.#routeOf(exchange));
    if (reply?.problem?.code.startsWith('upload-')) {
      this.#meters.uploads(1, code, this.#reasons.of(reasonOf(reply.problem)));
    }
  }

  storeAnswered(_exchange: Exchange, operation: string, duration: number, error: unknown): void {
    this.#meters.storeDuration(duration / 1000, operation, error === undefined ? 'ok' : 'error');
  }

  waiting(_exchange: Exchange, change: number): void {
    this.#meters.waiting(change);
  }

  held(_exchange: Exchange, policy: string, change: number): void {
    this.#meters.holds(change, this.#policies.of(policy));
  }

  gpuTime(exchange: Exchange, milliseconds: number): void {
    this.#meters.gpu(milliseconds / 1000, this.#routeOf(exchange));
  }

  jobStarted(): void {
    this.#meters.jobs(1);
  }

  jobEnded(exchange: Exchange, end: string, duration: number): void {
    this.#meters.jobs(-1);
    this.#meters.jobDuration(duration / 1000, this.#routeOf(exchange), end);
  }

  #routeOf({ request }: Exchange): string {
    return this.#routes.of(request.routePattern ?? NO_ROUTE);
  }
}

function codeOf(reply: Reply | undefined): string {
  if (reply === undefined) return PASSED;
  return reply.problem?.code ?? ANSWERED;
}

/** Which of the reasons, or which part was too large. What the client has sent is not shown. */
function reasonOf(problem: object): string {
  if ('reason' in problem) return String(problem.reason);
  return 'part' in problem ? String(problem.part) : 'none';
}
