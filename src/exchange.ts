import type { Readable } from 'node:stream';
import { OptionError } from './option.js';
import type { Problem, ProblemCode, ProblemFormats, QuotaState } from './problem.js';
import { isThenable } from './thenable.js';

/** What a guard may read of a request: a view of the framework's own, nothing is copied. */
export interface RequestView {
  readonly method: string;
  /** Path and query as the client sent them. */
  readonly url: string;
  /** Address of the socket's other end; absent on a Unix socket. */
  readonly remoteAddress: string | undefined;
  /** Whether the socket itself speaks TLS. */
  readonly encrypted: boolean;
  /** Every field line of one header, by lower-case name, in order: a doubled `Authorization` shows as two. */
  fieldLines(name: string): readonly string[];
  /**
   * The whole body, for a guard that has to know it before it decides. It stays in the request: the framework's own body
   * parser, or a handler that reads the request, finds all of it afterwards. Holds at most `maxBytes` in memory, and
   * rejects for no fault of the client's. Absent where a framework cannot do it.
   */
  readBody?(maxBytes: number): Promise<RequestBody>;
  /**
   * The body as it comes in, for a guard that takes it away from the framework: whoever asks must read it or throw it
   * away, and says which: to `read` it tells a client to go on that waits for leave (RFC 9110 section 10.1.1). `consumed`
   * where somebody has read of it before. Absent where a framework cannot do it.
   */
  openBody?(to: 'read' | 'discard'): Readable | 'consumed';
}

/**
 * What `readBody` came to: the bytes, none where there is no body, or
 * - `too-large`: more than was asked for, by `Content-Length` or as it came in. The body is lost: answer the request.
 * - `consumed`: somebody has read of it before, such as a body parser that stands too early.
 * - `aborted`: the client left before all of it was here.
 */
export type RequestBody = Uint8Array | 'too-large' | 'consumed' | 'aborted';

/** Where an adapter keeps the response headers until its framework takes them. */
export interface ResponseHeaders {
  get(name: string): string | undefined;
  set(name: string, value: string): void;
  remove(name: string): void;
  /** Calls `hook` just before the head of the response goes out, whoever sends it. */
  onHead(hook: () => void): void;
}

/** Who is calling, as far as it could be verified. */
export interface ClientIp {
  /** Canonical text of the address: IPv4-mapped folded to IPv4, no port, no zone. Absent without a socket address. */
  readonly ip: string | undefined;
  /** Partition key for limits: the IPv4 address, or the IPv6 prefix (a /64 unless set otherwise). */
  readonly key: string;
  /** `socket`, or the header that named the address. */
  readonly source: string;
  readonly reason: ClientIpReason;
}

/**
 * Why the resolver stopped where it did.
 * - `direct`: the address is the socket's own; no forwarding header had to be believed.
 * - `untrusted`: the first address, from the right, that is not a trusted proxy.
 * - `forwarder`: named by a caller who has authenticated as one that may forward.
 * - `all-trusted`: every address on the way is a trusted proxy; this is the leftmost.
 * - `malformed`: the next entry is no address, or there are too many; this is the last one verified.
 * - `no-address`: the socket has none (a Unix socket).
 */
export type ClientIpReason = 'direct' | 'untrusted' | 'forwarder' | 'all-trusted' | 'malformed' | 'no-address';

/** Who was let in. Limits, usage and ownership hang on `id`, so that rotating a key changes nothing. */
export interface Principal {
  /** The client, not the key it used. */
  readonly id: string;
  /** The authenticator that let it in. */
  readonly scheme: string;
  readonly scopes: readonly string[];
  /** Which credential was used; never the credential or a part of it. */
  readonly credentialId: string;
  /** When the credential ends, in epoch milliseconds. */
  readonly expiresAt?: number;
  /** The client's own figures, by a name that the service chose: what `limit({ policies: (exchange) => ... })` may read. */
  readonly limits?: Readonly<Record<string, number>>;
  /** What the service keeps with the client. */
  readonly metadata?: unknown;
  /** The claims of a verified token. */
  readonly claims?: Readonly<Record<string, unknown>>;
  /** Let in without credentials, because the service is set so: by `developmentBypass`, or an open `ingestToken`. */
  readonly bypassed?: true;
}

/** What was decided about the credentials of a request. */
export interface AuthenticationDecision {
  readonly outcome: 'allowed' | 'refused' | 'unavailable';
  /** Why: `missing`, `malformed`, `expired`, `throttled` and so on. Not for the client. */
  readonly reason: string;
  readonly scheme?: string | undefined;
  readonly credentialId?: string | undefined;
  readonly clientId?: string | undefined;
  /** The credentials themselves. Never to be kept or shown. */
  readonly token?: string | undefined;
}

/** Told of every decision about credentials. */
export type AuthenticationListener = (decision: AuthenticationDecision, exchange: Exchange) => void;

/** A file that came with a request and was found to be what the service takes. */
export interface UploadedFile {
  /** The name of its form field. */
  readonly field: string;
  /** What the client calls it, without any path or control character. Never a name to store it under. */
  readonly filename: string | undefined;
  /** The media type, by its content. */
  readonly type: string;
  /** Its size. */
  readonly bytes: number;
  /** Of images: pixels of the largest page. */
  readonly width?: number;
  readonly height?: number;
  /** Frames or pages of an image. */
  readonly pages?: number;
  /** Where it is on the disk, until the exchange settles; undefined where it is in memory. */
  readonly path: string | undefined;
  /** What the `handOver` of `upload` gave for it. */
  readonly handedOver?: unknown;
  /** Its content, from the beginning. Once the exchange has settled it is gone: then the stream fails. */
  stream(): Readable;
  /** Its content. Once the exchange has settled it is gone: then this rejects. */
  buffer(): Promise<Buffer>;
}

/** What a multipart request brought. */
export interface Upload {
  /** The values of each text field, in order. */
  readonly fields: ReadonlyMap<string, readonly string[]>;
  readonly files: readonly UploadedFile[];
}

/** Quota units charged for this exchange by one `limit` guard. */
export interface Admission {
  readonly quotas: readonly QuotaState[];
  /**
   * Corrects the charge to what the work really cost, in whole quota units from zero: refunds the difference or adds
   * it. Only the first correction counts, and none reaches into a later window.
   */
  settle(units: number): void | Promise<void>;
}

/**
 * How an exchange ended: `refused` by a guard, `completed` by the handler, or `aborted` because the connection closed
 * before the response was finished (whatever status had been set by then).
 */
export type Outcome =
  | { readonly kind: 'refused'; readonly status: number; readonly code: ProblemCode | undefined }
  | { readonly kind: 'completed'; readonly status: number }
  | { readonly kind: 'aborted' };

/** An answer instead of the handler's. Without a problem it has no body (a preflight). */
export interface Reply {
  readonly status: number;
  readonly headers: readonly (readonly [name: string, value: string])[];
  readonly problem: Problem | undefined;
}

/** Lets the exchange go on (`undefined`) or answers it. Thrown errors are faults: they become a 500, never a pass. */
export type Guard = (exchange: Exchange) => Reply | undefined | Promise<Reply | undefined>;

/** Told once how an exchange ended; may give a promise, which nobody waits for. */
export type SettledHook = (outcome: Outcome, exchange: Exchange) => unknown;

/** Told of everything that went wrong on the server's side: a guard that threw, a hook that failed. */
export type FaultReporter = (error: unknown, exchange: Exchange) => void;

const ABORTED: Outcome = Object.freeze({ kind: 'aborted' });
const NO_HEADERS: Reply['headers'] = Object.freeze([]);

/** A reply that refuses with `problem`. */
export function refuse(problem: Problem, headers: Reply['headers'] = NO_HEADERS): Reply {
  return { status: problem.status, headers, problem };
}

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
  #hooks: SettledHook[] | undefined = undefined;
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
  onSettled(hook: SettledHook): void {
    if (this.#outcome !== undefined) this.#run(hook, this.#outcome);
    else if (this.#hooks === undefined) this.#hooks = [hook];
    else this.#hooks.push(hook);
  }

  /** For adapters: ends the exchange. The first call decides; later ones change nothing. */
  settle(outcome: Outcome): void {
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
    this.settle(ABORTED);
  }

  /** Reports a fault. A reporter that fails itself changes nothing. */
  fault(error: unknown): void {
    // There is nobody left to tell of a reporter's own failure, and the request must not suffer for it.
    try {
      const result: unknown = this.faultReporter(error, this);
      if (isThenable(result)) Promise.resolve(result).catch(() => {});
    } catch {}
  }

  #run(hook: SettledHook, outcome: Outcome): void {
    try {
      const result = hook(outcome, this);
      if (isThenable(result)) Promise.resolve(result).catch((error: unknown) => this.fault(error));
    } catch (error) {
      this.fault(error);
    }
  }
}

/**
 * Lets go of a promise that a callback gave where none is waited for: what it gave is refused for not being of its type,
 * and its own failure must not end the process.
 */
export function disown(value: unknown): void {
  if (isThenable(value)) Promise.resolve(value).catch(() => undefined);
}

function reportToStandardError(error: unknown): void {
  console.error('gatewarden:', error);
}

/**
 * The principal of an authenticated exchange. Never undefined.
 * @throws when no `authenticate` let the caller in: none stood before, or it was optional and found no credentials.
 */
export function principalOf(exchange: Exchange): Principal {
  if (exchange.principal === undefined) {
    throw new Error('gatewarden: no principal: put authenticate(...), not optional, before what calls principalOf');
  }
  return exchange.principal;
}

/**
 * Sends faults to `report` instead of standard error. Put it first.
 * @throws OptionError when `report` is no function
 */
export function reportFaults(report: FaultReporter): Guard {
  if (typeof report !== 'function') throw new OptionError('gatewarden: reportFaults takes a function');
  return function reportFaults(exchange) {
    exchange.faultReporter = report;
    return undefined;
  };
}
