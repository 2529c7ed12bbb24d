import type { EventEmitter } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Readable } from 'node:stream';
import type { Exchange } from '../core/exchange.js';
import type { RequestBody, RequestView, ResponseHeaders, ResponseReceiver } from '../core/request-view.js';
import { captureResponse } from './capture.js';
import { type ExpressRequest, expressRoute } from './express-route.js';
import { lowerCaseName } from './header-name.js';
import { type HonoRoutes, honoRoute } from './hono-route.js';
import { bodyOf, streamOf, unlessReset } from './http2.js';
import { discardUnread, openBody, readBody } from './request-body.js';
import { PendingHead } from './write-head.js';

/** A request of node:http, with what Express and the adapters add to it. */
export interface NodeRequest extends IncomingMessage {
  /** Set by Express: the whole target, since a router shortens `url`. */
  originalUrl?: string;
  exchange?: Exchange;
}

/** Where the parameters of the route are. */
export interface RoutedRequest extends NodeRequest {
  /** Set by Express, whose router replaces it, and by the adapter of Fastify. */
  params?: unknown;
  /** Set by the adapter of Hono, which decodes parameters only when they are read, and all of them for an empty name. */
  paramSource?: HonoRoutes & { param(name: string): string | undefined };
  /** Set by the adapter of Fastify, which builds `routeOptions` at each read. */
  routed?: { readonly routeOptions?: { readonly url?: string | undefined } };
}

const NO_LINES: readonly string[] = Object.freeze([]);
/** What Node keeps of names and values by default: 1000 field lines. */
const DEFAULT_MAX_RAW_HEADERS = 2000;

/** The request view and the response headers of one exchange over node:http, without a copy of either. */
export class NodeHttpMessage implements RequestView, ResponseHeaders {
  readonly #request: NodeRequest;
  readonly #response: ServerResponse;
  /** Known before the body is discarded, and when it was read and put back. Node cannot tell then. */
  #bodyWasRead: boolean | undefined;
  /** Made at its first use. */
  #pendingHead: PendingHead | undefined;

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

  param(name: string): string | undefined {
    const { params, paramSource } = this.#request as RoutedRequest;
    if (paramSource === undefined) return paramOf(params, name);
    return name === '' ? undefined : paramSource.param(name);
  }

  get routePattern(): string | undefined {
    const request: RoutedRequest & ExpressRequest = this.#request;
    const { paramSource, routed, originalUrl } = request;
    if (paramSource !== undefined) return honoRoute(paramSource);
    if (routed !== undefined) return routed.routeOptions?.url;
    return originalUrl === undefined ? undefined : expressRoute(request);
  }

  /**
   * Over HTTP/1, Node stops reading field lines at `maxHeadersCount` and drops the rest. How many it has dropped is not
   * known, so a request that reaches the limit counts too. Over HTTP/2, it resets the stream instead.
   */
  get headersTruncated(): boolean {
    const { rawHeaders, socket } = this.#request;
    if (rawHeaders.length < 2) return false;
    const { server } = socket as { readonly server?: { readonly maxHeadersCount?: unknown } };
    const max = server?.maxHeadersCount;
    // As Node computes it: one entry for a name and one for a value. Zero means no limit.
    const limit = typeof max === 'number' ? max << 1 : DEFAULT_MAX_RAW_HEADERS;
    return limit > 0 && rawHeaders.length >= limit && streamOf(this.#response) === undefined;
  }

  fieldLines(name: string): readonly string[] {
    if (name === 'host' && streamOf(this.#response) !== undefined) return this.#authority();
    return this.#lines(name);
  }

  /**
   * Over HTTP/2, `:authority` replaces `Host`. If both are present and differ, both are returned (RFC 9113 section
   * 8.3.1).
   */
  #authority(): readonly string[] {
    const hosts = this.#lines('host');
    const [authority] = this.#lines(':authority');
    return authority === undefined || hosts.includes(authority) ? hosts : [authority, ...hosts];
  }

  #lines(name: string): readonly string[] {
    const folded = this.#request.headers[name];
    if (folded === undefined) return NO_LINES;
    // Node joins or drops repeated lines in `headers`.
    const raw = this.#request.rawHeaders;
    const lines: string[] = [];
    for (let i = 0; i + 1 < raw.length; i += 2) {
      const field = raw[i];
      if (field === undefined || field.length !== name.length || field.toLowerCase() !== name) continue;
      lines.push(raw[i + 1] ?? '');
    }
    if (lines.length > 0) return lines;
    // A header that the application has added has no raw line. An inherited member, such as `__proto__`, is not a
    // header.
    if (typeof folded === 'string') return [folded];
    return Array.isArray(folded) ? folded : NO_LINES;
  }

  get bytesWritten(): number | undefined {
    return streamOf(this.#response) === undefined ? this.#request.socket.bytesWritten : undefined;
  }

  readBody(maxBytes: number): Promise<RequestBody> {
    this.#sendContinue();
    this.#response.once('finish', () => discardUnread(this.#request));
    const body = this.#readBody(maxBytes);
    const stream = streamOf(this.#response);
    return stream === undefined ? body : unlessReset(body, stream);
  }

  async #readBody(maxBytes: number): Promise<RequestBody> {
    const body = await readBody(this.#request, maxBytes);
    if (typeof body !== 'string') this.#bodyWasRead = body.length > 0 || this.bodyWasRead;
    // From here on it is discarded.
    else if (body === 'too-large') this.#bodyWasRead = this.bodyWasRead;
    return body;
  }

  openBody(to: 'read' | 'discard'): Readable | 'consumed' {
    if (to === 'read') this.#sendContinue();
    else this.#bodyWasRead = this.bodyWasRead;
    const body = openBody(this.#request);
    const stream = streamOf(this.#response);
    return stream === undefined || body === 'consumed' ? body : bodyOf(stream);
  }

  get bodyWasRead(): boolean {
    if (this.#bodyWasRead !== undefined) return this.#bodyWasRead;
    return this.#request.readableDidRead === true || streamOf(this.#response)?.readableDidRead === true;
  }

  /** Node sends `100 Continue` by itself, unless the server has a listener for `checkContinue`. */
  #sendContinue(): void {
    const { headers, socket } = this.#request;
    if (headers.expect?.toLowerCase() !== '100-continue' || this.#response.headersSent) return;
    const { server } = socket as { readonly server?: EventEmitter };
    if (server !== undefined && server.listenerCount('checkContinue') > 0) this.#response.writeContinue();
  }

  get(name: string): string | undefined {
    const value = this.#response.getHeader(lowerCaseName(name));
    if (value === undefined || typeof value === 'string') return value;
    return Array.isArray(value) ? value.join(', ') : String(value);
  }

  set(name: string, value: string): void {
    const lowerCase = lowerCaseName(name);
    try {
      this.#response.setHeader(lowerCase, value);
    } catch (error) {
      if (this.#response.headersSent) return;
      throw error;
    }
    if (lowerCase === 'vary') this.#head().keepVary(value);
  }

  remove(name: string): void {
    if (!this.#response.headersSent) this.#response.removeHeader(lowerCaseName(name));
  }

  onHead(hook: () => void): void {
    this.#head().before(hook);
  }

  #head(): PendingHead {
    this.#pendingHead ??= new PendingHead(this.#response);
    return this.#pendingHead;
  }

  capture(maxBytes: number, done: ResponseReceiver, onFault: (error: unknown) => void): void {
    captureResponse(this.#response, maxBytes, done, onFault);
  }
}

/** A list is a wildcard of Express, and no parameter. */
function paramOf(params: unknown, name: string): string | undefined {
  if (typeof params !== 'object' || params === null || !Object.hasOwn(params, name)) return undefined;
  const value: unknown = (params as Readonly<Record<string, unknown>>)[name];
  return typeof value === 'string' ? value : undefined;
}
