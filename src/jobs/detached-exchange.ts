import { Exchange } from '../core/exchange.js';
import type { RequestView, ResponseHeaders } from '../core/request-view.js';

/**
 * An exchange for the work of a job, which outlives the request that asked for it. It has what the guards of that request
 * found out about the caller, and nothing of what they charged or hold. It ends with the job.
 */
export function detachedExchange(origin: Exchange): Exchange {
  const exchange = new Exchange(new SubmittedRequest(origin.request), new UnsentHeaders());
  exchange.requestId = origin.requestId;
  exchange.clientIp = origin.clientIp;
  exchange.principal = origin.principal;
  exchange.peerIsTrusted = origin.peerIsTrusted;
  exchange.faultReporter = origin.faultReporter;
  Object.assign(exchange.locals, origin.locals);
  return exchange;
}

/** A request whose body belongs to its handler, and whose connection may be gone. */
class SubmittedRequest implements RequestView {
  readonly method: string;
  readonly url: string;
  readonly remoteAddress: string | undefined;
  readonly encrypted: boolean;
  /** No guard of the job can have read a byte, so a refusal costs nothing. */
  readonly bodyWasRead = false;
  readonly #request: RequestView;

  constructor(request: RequestView) {
    this.method = request.method;
    this.url = request.url;
    this.remoteAddress = request.remoteAddress;
    this.encrypted = request.encrypted;
    this.#request = request;
  }

  param(name: string): string | undefined {
    return this.#request.param?.(name);
  }

  fieldLines(name: string): readonly string[] {
    return this.#request.fieldLines(name);
  }
}

/** Headers that guards set for a response that was sent long ago. */
export class UnsentHeaders implements ResponseHeaders {
  readonly #values = new Map<string, string>();

  get(name: string): string | undefined {
    return this.#values.get(name.toLowerCase());
  }

  set(name: string, value: string): void {
    this.#values.set(name.toLowerCase(), value);
  }

  remove(name: string): void {
    this.#values.delete(name.toLowerCase());
  }

  onHead(): void {}
}
