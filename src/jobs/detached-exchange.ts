import { Exchange } from '../core/exchange.js';
import type { Outcome } from '../core/outcome.js';
import type { RequestView, ResponseHeaders } from '../core/request-view.js';
import { UsageAccount } from '../core/usage-account.js';

/** The exchange of a job, which ends with the job. */
export class JobExchange extends Exchange {
  readonly #abort = new AbortController();

  override get signal(): AbortSignal {
    return this.#abort.signal;
  }

  override end(outcome: Outcome): void {
    if (outcome.kind === 'aborted' && this.outcome === undefined) this.#abort.abort();
    super.end(outcome);
  }

  /** Ends it for a job that was stopped before its work began. So it costs nothing, and guards that wait need not go on. */
  withdraw(): void {
    if (this.outcome !== undefined) return;
    super.end(WITHDRAWN);
    this.#abort.abort();
  }
}

const WITHDRAWN: Outcome = Object.freeze({ kind: 'refused', status: 410, code: 'job-cancelled' });

/**
 * An exchange for the work of a job, which outlives the request that asked for it. It has what the guards of that request
 * found out about the caller, and nothing of what they charged or hold. It ends with the job.
 */
export function detachedExchange(origin: Exchange): JobExchange {
  const exchange = new JobExchange(new SubmittedRequest(origin.request), new UnsentHeaders());
  exchange.requestId = origin.requestId;
  exchange.clientIp = origin.clientIp;
  exchange.principal = origin.principal;
  exchange.peerIsTrusted = origin.peerIsTrusted;
  exchange.faultReporter = origin.faultReporter;
  exchange.observer = origin.observer;
  if (origin.usageAccount !== undefined) exchange.usageAccount = new UsageAccount(origin.usageAccount.ledger, exchange);
  exchange.exceedsQuotas = origin.exceedsQuotas;
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

  get routePattern(): string | undefined {
    return this.#request.routePattern;
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
