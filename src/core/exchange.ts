import type { Admission } from './admission.js';
import type { AuthenticationDecision } from './authentication-decision.js';
import type { ClientIp } from './client-ip.js';
import type { Deadline } from './deadline.js';
import type { ExchangeObserver } from './exchange-observer.js';
import type { Outcome } from './outcome.js';
import { watchPreflight } from './preflight.js';
import type { Principal } from './principal.js';
import type { ProblemFormats } from './problem.js';
import type { QueuePlace } from './queue-place.js';
import type { RequestView, ResponseHeaders, ResponseReceiver } from './request-view.js';
import type { ResourceMetadata } from './resource-metadata.js';
import { ignoreRejection, isThenable } from './thenable.js';
import type { Upload } from './uploaded-file.js';
import type { UsageAccount } from './usage-account.js';

/**
 * The values that a service keeps with an exchange, in `exchange.locals`. A service declares their types once:
 *
 * ```ts
 * declare module 'gatewarden' {
 *   interface ExchangeLocals {
 *     tenant?: Tenant
 *   }
 * }
 * ```
 */
// biome-ignore lint/suspicious/noEmptyInterface: services declare its members.
export interface ExchangeLocals {}

/** Receives every decision about credentials. */
export type AuthenticationListener = (decision: AuthenticationDecision, exchange: Exchange) => void;

/** Runs once when an exchange ends. It may return a promise, which is not awaited; its rejection is reported as a fault. */
export type EndHook = (outcome: Outcome, exchange: Exchange) => unknown;

/** Receives every error on the server's side, such as a guard that threw or a hook that failed. */
export type FaultReporter = (error: unknown, exchange: Exchange) => void;

const ABORTED: Outcome = Object.freeze({ kind: 'aborted' });

/**
 * One request and its response, with what the guards found out about them. Adapters create and end it. Guards and handlers
 * read and write the rest.
 */
export class Exchange {
  readonly request: RequestView;
  /** Set by `requestId`. */
  requestId: string | undefined = undefined;
  /** Set by `clientIp`. */
  clientIp: ClientIp | undefined = undefined;
  /** Set by `authenticate`. Handlers use `principalOf`, which never returns undefined. */
  principal: Principal | undefined = undefined;
  /** Set by `upload`. */
  upload: Upload | undefined = undefined;
  /** Set by `limit`. If a route has several, this is the last one's. */
  admission: Admission | undefined = undefined;
  /** Set by `deadline`: when the exchange's job must be done. */
  deadline: Deadline | undefined = undefined;
  /** Set by `limit` while the exchange waits in its queue. */
  queuePlace: QueuePlace | undefined = undefined;

  /**
   * Set by `clientIp`: whether the other end of the socket is a trusted proxy.
   * @internal
   */
  peerIsTrusted = false;
  /** Set by `cors`. @internal */
  hasPassedCors = false;
  /**
   * Set by `securityHeaders`: the headers that the last one has set.
   * @internal
   */
  securityHeaders: readonly (readonly [name: string, value: string])[] | undefined = undefined;
  /**
   * Set by `jobs`: receives each change of `queuePlace`.
   * @internal
   */
  queueListener: ((place: QueuePlace) => void) | undefined = undefined;
  /** Set by `protectedResource`. @internal */
  resourceMetadata: ResourceMetadata | undefined = undefined;
  /**
   * Set by `audit` and `accessLog`.
   * @internal
   */
  authenticationListener: AuthenticationListener | undefined = undefined;
  /**
   * Set by `observe`, for meters.
   * @internal
   */
  observer: ExchangeObserver<Exchange> | undefined = undefined;
  /**
   * Set by `meterUsage`: where the GPU time of the exchange is booked.
   * @internal
   */
  usageAccount: UsageAccount | undefined = undefined;
  /**
   * Set by `operatorControls`: whether the client may exceed its own quotas.
   * @internal
   */
  exceedsQuotas = false;
  /**
   * Set by `problemFormat`.
   * @internal
   */
  problemFormats: ProblemFormats | undefined = undefined;
  /**
   * Set by `reportFaults`. Standard error by default.
   * @internal
   */
  faultReporter: FaultReporter = reportToStandardError;

  readonly #headers: ResponseHeaders;
  #outcome: Outcome | undefined = undefined;
  #hooks: EndHook[] | undefined = undefined;
  #abort: AbortController | undefined = undefined;
  #locals: ExchangeLocals | undefined = undefined;

  /** For adapters. */
  constructor(request: RequestView, headers: ResponseHeaders) {
    this.request = request;
    this.#headers = headers;
    if (request.method === 'OPTIONS') watchPreflight(this);
  }

  /** How the exchange ended; undefined until then. */
  get outcome(): Outcome | undefined {
    return this.#outcome;
  }

  /** The service's own values, for its guards and handlers. Empty at first, and without any inherited member. */
  get locals(): ExchangeLocals {
    this.#locals ??= Object.create(null) as ExchangeLocals;
    return this.#locals;
  }

  /** Aborted when the client leaves before the response is finished. Pass it to all work done for this request. */
  get signal(): AbortSignal {
    if (this.#abort === undefined) {
      this.#abort = new AbortController();
      if (this.#outcome !== undefined && this.abortsSignal(this.#outcome)) this.#abort.abort();
    }
    return this.#abort.signal;
  }

  /** The current value of a response header. */
  get(name: string): string | undefined {
    return this.#headers.get(name);
  }

  /** Sets a response header. The handler can still replace it. */
  set(name: string, value: string): void {
    this.#headers.set(name, value);
  }

  /** Removes a response header. */
  remove(name: string): void {
    this.#headers.remove(name);
  }

  /** Sets a response header unless it has a value. Returns whether it was set. */
  setDefault(name: string, value: string): boolean {
    const isNew = this.#headers.get(name) === undefined;
    if (isNew) this.#headers.set(name, value);
    return isNew;
  }

  /** Adds a member to a list-valued response header such as `Vary` or `RateLimit`. */
  append(name: string, value: string): void {
    const before = this.#headers.get(name);
    this.#headers.set(name, before === undefined ? value : `${before}, ${value}`);
  }

  /**
   * Runs `hook` just before the response's head is sent. This is the last moment at which a header can be set. Hooks run in
   * reverse order of registration.
   */
  onHead(hook: () => void): void {
    this.#headers.onHead(() => {
      try {
        hook();
      } catch (error) {
        this.fault(error);
      }
    });
  }

  /**
   * As `capture` of the response headers. False if the framework cannot do it.
   * @internal
   */
  capture(maxBytes: number, done: ResponseReceiver): boolean {
    this.#headers.capture?.(maxBytes, done, (error) => this.fault(error));
    return this.#headers.capture !== undefined;
  }

  /**
   * Runs `hook` once when the exchange ends, or immediately if it has ended. Hooks run in reverse order of registration, so
   * that the log of an early guard sees what later guards did at the end. A hook that fails is reported as a fault and does
   * not change the response.
   */
  onEnd(hook: EndHook): void {
    if (this.#outcome !== undefined) this.#run(hook, this.#outcome);
    else if (this.#hooks === undefined) this.#hooks = [hook];
    else this.#hooks.push(hook);
  }

  /** For adapters: ends the exchange. Only the first call has an effect. */
  end(outcome: Outcome): void {
    if (this.#outcome !== undefined) return;
    this.#outcome = outcome;
    if (this.abortsSignal(outcome)) this.#abort?.abort();
    const hooks = this.#hooks;
    if (hooks === undefined) return;
    this.#hooks = undefined;
    for (let i = hooks.length - 1; i >= 0; i--) {
      const hook = hooks[i];
      if (hook !== undefined) this.#run(hook, outcome);
    }
  }

  /** For adapters: ends the exchange because the connection closed before the response was finished. */
  abort(): void {
    this.end(ABORTED);
  }

  /** Whether an exchange that ends like this aborts its signal. @internal */
  protected abortsSignal(outcome: Outcome): boolean {
    return outcome.kind === 'aborted';
  }

  /** Reports a fault. If the reporter itself fails, that failure is ignored: the request must not suffer for it. */
  fault(error: unknown): void {
    try {
      ignoreRejection(this.faultReporter(error, this) as unknown);
    } catch {}
  }

  #run(hook: EndHook, outcome: Outcome): void {
    try {
      const result = hook(outcome, this);
      if (isThenable(result)) Promise.resolve(result).catch((error: unknown) => this.fault(error));
    } catch (error) {
      this.fault(error);
    }
  }
}

const reportToStandardError = (error: unknown): void => console.error('gatewarden:', error);
