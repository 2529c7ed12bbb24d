import { Readable } from 'node:stream';
import { inspect } from 'node:util';
import { Exchange } from '../src/core/exchange.js';
import type { Guard } from '../src/core/guard.js';
import type { Principal } from '../src/core/principal.js';
import { renderReply } from '../src/core/render-reply.js';
import type { RequestView, ResponseHeaders } from '../src/core/request-view.js';
import { sequence } from '../src/core/sequence.js';
import { expectNoCredential } from './canary.js';

export type HeaderLine = readonly [name: string, value: string];

export interface TestExchangeOptions {
  readonly method?: string;
  readonly url?: string;
  /** Default 127.0.0.1; `undefined` where the socket has no address. */
  readonly remoteAddress?: string | undefined;
  readonly encrypted?: boolean;
  /** Field lines as they came over the wire; a name may repeat. */
  readonly headers?: readonly HeaderLine[];
  /** Default none. */
  readonly body?: string | Uint8Array;
  /** Instead of reading `body`; `undefined` for a view that cannot read bodies. */
  readonly readBody?: RequestView['readBody'] | undefined;
  /** Instead of a stream of `body`. */
  readonly openBody?: NonNullable<RequestView['openBody']>;
  readonly principal?: Principal | undefined;
  /** The pattern of the route, as the framework would tell it. */
  readonly routePattern?: string;
  /** Whether the server may have dropped header lines. Default undefined, as in views that never drop any. */
  readonly headersTruncated?: boolean;
}

/** A request as its client sent it. Headers are asked for by lower-case name only, as every adapter expects. */
class TestRequest implements RequestView {
  readonly method: string;
  readonly url: string;
  readonly remoteAddress: string | undefined;
  readonly encrypted: boolean;
  readonly readBody?: NonNullable<RequestView['readBody']>;
  readonly headersTruncated?: boolean;
  readonly routePattern?: string;
  readonly openBody: NonNullable<RequestView['openBody']>;
  readonly #lines: readonly HeaderLine[];

  constructor(options: TestExchangeOptions) {
    const body = Buffer.from(options.body ?? '');
    const readBody: RequestView['readBody'] =
      'readBody' in options
        ? options.readBody
        : async (maxBytes) => (body.length > maxBytes ? 'too-large' : Uint8Array.from(body));
    if (readBody !== undefined) this.readBody = readBody;
    this.openBody = options.openBody ?? (() => Readable.from([body]));
    if (options.headersTruncated !== undefined) this.headersTruncated = options.headersTruncated;
    if (options.routePattern !== undefined) this.routePattern = options.routePattern;
    this.method = options.method ?? 'GET';
    this.url = options.url ?? '/';
    this.remoteAddress = 'remoteAddress' in options ? options.remoteAddress : '127.0.0.1';
    this.encrypted = options.encrypted ?? false;
    this.#lines = options.headers ?? [];
  }

  fieldLines(name: string): readonly string[] {
    if (name !== name.toLowerCase()) throw new Error(`a header was asked for as ${name}, not in lower case`);
    return this.#lines.filter(([field]) => field.toLowerCase() === name).map(([, value]) => value);
  }
}

/** Response headers, found in any case and listed as they were written. */
export class TestResponseHeaders implements ResponseHeaders {
  readonly #entries = new Map<string, HeaderLine>();

  get(name: string): string | undefined {
    return this.#entries.get(name.toLowerCase())?.[1];
  }

  set(name: string, value: string): void {
    this.#entries.set(name.toLowerCase(), [name, value]);
  }

  remove(name: string): void {
    this.#entries.delete(name.toLowerCase());
  }

  readonly #hooks: (() => void)[] = [];

  onHead(hook: () => void): void {
    this.#hooks.push(hook);
  }

  /** What an adapter does when the head goes out. */
  send(): void {
    for (const hook of this.#hooks) hook();
  }

  /** Every header set so far, by name as it was written. */
  all(): Readonly<Record<string, string>> {
    return Object.fromEntries(this.#entries.values());
  }
}

export interface TestExchange {
  readonly exchange: Exchange;
  /** What the response would carry. */
  readonly headers: TestResponseHeaders;
  /** Everything that was reported as a fault. */
  readonly faults: readonly unknown[];
}

/** A real exchange over plain objects. Its faults are kept instead of printed. */
export function testExchange(options: TestExchangeOptions = {}): TestExchange {
  const headers = new TestResponseHeaders();
  const faults: unknown[] = [];
  const exchange = new Exchange(new TestRequest(options), headers);
  exchange.principal = options.principal;
  exchange.faultReporter = (error) => {
    faults.push(error);
  };
  return { exchange, headers, faults };
}

/** What came of a request: `passed`, or the reply as an adapter would send it. */
export interface Answer extends TestExchange {
  readonly passed: boolean;
  readonly status: number | undefined;
  readonly replyHeaders: Readonly<Record<string, string>>;
  /** Empty without a body. */
  readonly body: string;
  readonly contentType: string | undefined;
}

/** Runs a guard as an adapter would, and renders its reply. */
export async function ask(guard: Guard, options: TestExchangeOptions = {}): Promise<Answer> {
  const test = testExchange(options);
  const reply = await sequence(guard)(test.exchange);
  const rendered = reply === undefined ? undefined : renderReply(reply, test.exchange);
  expectNoCredential(
    'answer',
    inspect({ reply, rendered, headers: test.headers.all(), faults: test.faults }, { depth: 6 }),
  );
  return {
    ...test,
    passed: reply === undefined,
    status: rendered?.status ?? reply?.status,
    replyHeaders: Object.fromEntries(reply?.headers ?? []),
    body: rendered?.body ?? '',
    contentType: rendered?.headers.find(([name]) => name === 'Content-Type')?.[1],
  };
}
