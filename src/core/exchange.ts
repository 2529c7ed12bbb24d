import type { Admission } from './admission.js';
import type { AuthenticationDecision } from './authentication-decision.js';
import type { ClientIp } from './client-ip.js';
import type { Outcome } from './outcome.js';
import type { Principal } from './principal.js';
import type { ProblemFormats } from './problem.js';
import type { RequestView, ResponseHeaders } from './request-view.js';
import { isThenable } from './thenable.js';
import type { Upload } from './uploaded-file.js';

/** Told of every decision about credentials. */
export type AuthenticationListener = (decision: AuthenticationDecision, exchange: Exchange) => void;

/** Told once how an exchange ended; may give a promise, which nobody waits for. */
export type EndHook = (outcome: Outcome, exchange: Exchange) => unknown;

/** Told of everything that went wrong on the server's side: a guard that threw, a hook that failed. */
export type FaultReporter = (error: unknown, exchange: Exchange) => void;

const ABORTED: Outcome = Object.freeze({ kind: 'aborted' });

/**
 * One request on its way through the guards, and what they found out about it. Adapters make it and settle it; guards
 * and handlers read and write the rest.
 */
export class Exchange {
  readonly request: RequestView;
  /** Written by `requestId`. */
  requestId: string | undefined = undefined;
  /** Written by `clientIp`. */
  clientIp: ClientIp | undefined = undefined;
  /** Written by `clientIp`: whether the other end of the socket is a proxy that it trusts. */
  peerIsTrusted = false;
  /** Written by `authenticate`. Handlers use `principalOf`, which is never undefined. */
  principal: Principal | undefined = undefined;
  /** Written by `securityHeaders`: what the last one has set. */
  securityHeaders: readonly (readonly [name: string, value: string])[] | undefined = undefined;
  /** Written by `upload`. */
  upload: Upload | undefined = undefined;
  /** Written by `audit`. */
  authenticationListener: AuthenticationListener | undefined = undefined;
  /** Written by `limit`; where several stand on a route, the last one's. */
  admission: Admission | undefined = undefined;
  /** Written by `problemFormat`. */
  problemFormats: ProblemFormats | undefined = undefined;
  /** Written by `reportFaults`; standard error until then. */
  faultReporter: FaultReporter = reportToStandardError;

  readonly #headers: ResponseHeaders;
  #outcome: Outcome | undefined = undefined;
  #hooks: EndHook[] | undefined = undefined;
  #abort: AbortController | undefined = undefined;

  constructor(request: RequestView, headers: ResponseHeaders) {
    this.request = request;
    this.#headers = headers;
  }

  /** How the exchange ended, once it has. */
  get outcome(): Outcome | undefined {
    return this.#outcome;
  }

  /** Aborted when the client leaves before the response is finished. Hand it to whatever works for this request. */
  get signal(): AbortSignal {
    if (this.#abort === undefined) {
      this.#abort = new AbortController();
      if (this.#outcome?.kind === 'aborted') this.#abort.abort();
    }
    return this.#abort.signal;
  }

  /** A response header as it stands. */
  get(name: string): string | undefined {
    return this.#headers.get(name);
  }

  /** Sets a response header. What the handler sets itself afterwards stands. */
  set(name: string, value: string): void {
    this.#headers.set(name, value);
  }

  /** Takes a response header back. */
  remove(name: string): void {
    this.#headers.remove(name);
  }

  /** Sets a response header unless it is there already; tells whether it has. */
  setDefault(name: string, value: string): boolean {
    if (this.#headers.get(name) !== undefined) return false;
    this.#headers.set(name, value);
    return true;
  }

  /** Adds a member to a list-valued response header such as `Vary` or `RateLimit`. */
  append(name: string, value: string): void {
    const before = this.#headers.get(name);
    this.#headers.set(name, before === undefined ? value : `${before}, ${value}`);
  }

  /** Runs `hook` just before the response's head goes out: the last moment at which a header may be set. */
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
   * Runs `hook` once when the exchange ends, or at once when it has ended. Hooks run in reverse order of registration,
   * so that what a later guard settles is seen by an earlier guard's log. A hook that fails is reported, and hides
   * nothing from the client.
   */
  onEnd(hook: EndHook): void {
    if (this.#outcome !== undefined) this.#run(hook, this.#outcome);
    else if (this.#hooks === undefined) this.#hooks = [hook];
    else this.#hooks.push(hook);
  }

  /** For adapters: ends the exchange. The first call decides; later ones change nothing. */
  end(outcome: Outcome): void {
    if (this.#outcome !== undefined) return;
    this.#outcome = outcome;
    if (outcome.kind === 'aborted') this.#abort?.abort();
    const hooks = this.#hooks;
    if (hooks === undefined) return;
    this.#hooks = undefined;
    for (let i = hooks.length - 1; i >= 0; i--) {
      const hook = hooks[i];
      if (hook !== undefined) this.#run(hook, outcome);
    }
  }

  /** For adapters: the connection closed before the response was finished. */
  abort(): void {
    this.end(ABORTED);
  }

  /** Reports a fault. A reporter that fails itself changes nothing. */
  fault(error: unknown): void {
    // There is nobody left to tell of a reporter's own failure, and the request must not suffer for it.
    try {
      const result: unknown = this.faultReporter(error, this);
      if (isThenable(result)) Promise.resolve(result).catch(() => {});
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

function reportToStandardError(error: unknown): void {
  console.error('gatewarden:', error);
}
