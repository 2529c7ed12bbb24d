import type { EventEmitter } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Readable } from 'node:stream';
import type { Exchange } from '../core/exchange.js';
import type { RequestBody, RequestView, ResponseHeaders } from '../core/request-view.js';
import { bodyOf, streamOf, unlessReset } from './http2.js';
import { discardUnread, openBody, readBody } from './request-body.js';
import { mergedVary } from './vary.js';

/** A request as node:http gives it, and what Express and the exchange add to it. */
export interface NodeRequest extends IncomingMessage {
  /** Express' whole target, where a router has shortened `url`. */
  originalUrl?: string;
  exchange?: Exchange;
}

const NO_LINES: readonly string[] = Object.freeze([]);

/** The view and the response headers of one node:http exchange, in one object over the framework's own two. */
export class NodeHttpMessage implements RequestView, ResponseHeaders {
  readonly #request: NodeRequest;
  readonly #response: ServerResponse;
  #vary: string | undefined;

  constructor(request: NodeRequest, response: ServerResponse) {
    this.#request = request;
    this.#response = response;
  }

  get method(): string {
    return this.#request.method ?? '';
  }

  get url(): string {
    return this.#request.originalUrl ?? this.#request.url ?? '';
  }

  get remoteAddress(): string | undefined {
    return this.#request.socket.remoteAddress;
  }

  get encrypted(): boolean {
    return 'encrypted' in this.#request.socket && this.#request.socket.encrypted === true;
  }

  fieldLines(name: string): readonly string[] {
    if (name === 'host' && streamOf(this.#response) !== undefined) return this.#authority();
    return this.#lines(name);
  }

  /** Over HTTP/2 it stands for `Host`; where both are there and differ, they show as two (RFC 9113 section 8.3.1). */
  #authority(): readonly string[] {
    const hosts = this.#lines('host');
    const [authority] = this.#lines(':authority');
    return authority === undefined || hosts.includes(authority) ? hosts : [authority, ...hosts];
  }

  #lines(name: string): readonly string[] {
    const folded = this.#request.headers[name];
    if (folded === undefined) return NO_LINES;
    // Node folds or drops repeated lines in `headers`; only the raw ones tell.
    const raw = this.#request.rawHeaders;
    const lines: string[] = [];
    for (let i = 0; i + 1 < raw.length; i += 2) {
      const field = raw[i];
      if (field === undefined || field.length !== name.length || field.toLowerCase() !== name) continue;
      lines.push(raw[i + 1] ?? '');
    }
    if (lines.length > 0) return lines;
    // A header that the application wrote itself has no raw line. What `headers` inherits is no header.
    if (typeof folded === 'string') return [folded];
    return Array.isArray(folded) ? folded : NO_LINES;
  }

  readBody(maxBytes: number): Promise<RequestBody> {
    this.#continue();
    this.#response.once('finish', () => discardUnread(this.#request));
    const body = readBody(this.#request, maxBytes);
    const stream = streamOf(this.#response);
    return stream === undefined ? body : unlessReset(body, stream);
  }

  openBody(to: 'read' | 'discard'): Readable | 'consumed' {
    if (to === 'read') this.#continue();
    const body = openBody(this.#request);
    const stream = streamOf(this.#response);
    return stream === undefined || body === 'consumed' ? body : bodyOf(stream);
  }

  /** Where the service has taken `checkContinue` upon itself, nobody else tells the client to go on. */
  #continue(): void {
    const { headers, socket } = this.#request;
    if (headers.expect?.toLowerCase() !== '100-continue' || this.#response.headersSent) return;
    const { server } = socket as { readonly server?: EventEmitter };
    if (server !== undefined && server.listenerCount('checkContinue') > 0) this.#response.writeContinue();
  }

  get(name: string): string | undefined {
    const value = this.#response.getHeader(name);
    if (value === undefined || typeof value === 'string') return value;
    return Array.isArray(value) ? value.join(', ') : String(value);
  }

  set(name: string, value: string): void {
    if (this.#response.headersSent) return;
    this.#response.setHeader(name, value);
    if (name.length === 4 && name.toLowerCase() === 'vary') this.#keepVary(value);
  }

  remove(name: string): void {
    if (!this.#response.headersSent) this.#response.removeHeader(name);
  }

  /** A handler's own `Vary` does not take the place of what guards have said: a cache would mix up their answers. */
  #keepVary(value: string): void {
    const isFirst = this.#vary === undefined;
    this.#vary = this.#vary === undefined ? value : mergedVary(this.#vary, value);
    if (!isFirst) return;
    const response = this.#response;
    const writeHead = response.writeHead as (...args: unknown[]) => ServerResponse;
    response.writeHead = (...args: unknown[]) =>
      writeHead.apply(response, response.headersSent ? args : withVary(response, args, this.#vary ?? ''));
  }

  onHead(hook: () => void): void {
    const response = this.#response;
    // Node itself comes through here, also where the head is written by the first byte of a body.
    const writeHead = response.writeHead as (...args: unknown[]) => ServerResponse;
    response.writeHead = (...args: unknown[]) => {
      if (!response.headersSent) hook();
      return writeHead.apply(response, args);
    };
  }
}

/** The arguments of `writeHead`, whose headers may be an object, a list of names and values, or one of pairs. */
function withVary(response: ServerResponse, args: readonly unknown[], vary: string): unknown[] {
  const isVary = (name: unknown) => typeof name === 'string' && name.toLowerCase() === 'vary';
  const at = typeof args[1] === 'string' || (args[2] !== undefined && args[2] !== null) ? 2 : 1;
  const headers = args[at];
  const withHeaders = (joined: unknown) => args.map((arg, i) => (i === at ? joined : arg));
  if (Array.isArray(headers)) {
    const pairs: unknown[] = headers;
    if (pairs.some((pair) => Array.isArray(pair) && isVary(pair[0]))) {
      return withHeaders(
        pairs.map((pair) =>
          Array.isArray(pair) && isVary(pair[0]) ? [pair[0], mergedVary(vary, String(pair[1]))] : pair,
        ),
      );
    }
    const name = pairs.findIndex((entry, i) => i % 2 === 0 && isVary(entry));
    if (name !== -1) return withHeaders(pairs.with(name + 1, mergedVary(vary, String(pairs[name + 1]))));
  } else if (typeof headers === 'object' && headers !== null) {
    const own = Object.entries(headers).find(([name]) => isVary(name));
    if (own !== undefined) return withHeaders({ ...headers, [own[0]]: mergedVary(vary, String(own[1])) });
  }
  response.setHeader('Vary', mergedVary(vary, String(response.getHeader('Vary') ?? '')));
  return [...args];
}
