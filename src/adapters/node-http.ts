import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { Exchange, type Reply, type RequestView, type ResponseHeaders } from '../exchange.js';
import { renderProblem } from '../problem-format.js';

/** A request as node:http gives it, and what Express and the exchange add to it. */
export interface NodeRequest extends IncomingMessage {
  /** Express' whole target, where a router has shortened `url`. */
  originalUrl?: string;
  exchange?: Exchange;
}

const NO_LINES: readonly string[] = Object.freeze([]);

/** The view and the response headers of one node:http exchange, in one object over the framework's own two. */
class NodeHttpMessage implements RequestView, ResponseHeaders {
  readonly #request: NodeRequest;
  readonly #response: ServerResponse;

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
    // A header that the application wrote itself has no raw line.
    if (lines.length === 0) return typeof folded === 'string' ? [folded] : folded;
    return lines;
  }

  get(name: string): string | undefined {
    const value = this.#response.getHeader(name);
    if (value === undefined || typeof value === 'string') return value;
    return Array.isArray(value) ? value.join(', ') : String(value);
  }

  set(name: string, value: string): void {
    if (!this.#response.headersSent) this.#response.setHeader(name, value);
  }
}

const EXCHANGE = Symbol('gatewarden.exchange');
const OPEN = Symbol('gatewarden.open');

interface GuardedResponse extends ServerResponse {
  [EXCHANGE]?: Exchange;
}

interface GuardedSocket extends Socket {
  [OPEN]?: Set<Exchange>;
}

/** The exchange of this request: made at the first call, the same one ever after. */
export function exchangeOf(request: NodeRequest, response: ServerResponse): Exchange {
  const known = (response as GuardedResponse)[EXCHANGE];
  if (known !== undefined) return known;
  const message = new NodeHttpMessage(request, response);
  const exchange = new Exchange(message, message);
  (response as GuardedResponse)[EXCHANGE] = exchange;
  request.exchange = exchange;
  watch(request.socket, response, exchange);
  return exchange;
}

function watch(socket: GuardedSocket, response: ServerResponse, exchange: Exchange): void {
  if (socket.destroyed || response.destroyed) {
    exchange.abort();
    return;
  }
  // Node emits 'finish' also when the socket died with the body unsent; its own listener, which lets go of the
  // socket, must not run before ours has looked.
  response.prependOnceListener('finish', onFinish);
  response.once('close', onClose);
  // A handler that takes the socket over leaves a response which never ends: then only the socket tells.
  let open = socket[OPEN];
  if (open === undefined) {
    open = new Set();
    socket[OPEN] = open;
    socket.once('close', onSocketClose);
  }
  open.add(exchange);
}

function onFinish(this: GuardedResponse): void {
  const socket = this.socket ?? this.req.socket;
  if (socket.destroyed) close(this);
  else close(this, this.statusCode);
}

function onClose(this: GuardedResponse): void {
  close(this);
}

function onSocketClose(this: GuardedSocket): void {
  for (const exchange of this[OPEN] ?? []) exchange.abort();
}

function close(response: GuardedResponse, status?: number): void {
  const exchange = response[EXCHANGE];
  if (exchange === undefined) return;
  (response.req.socket as GuardedSocket)[OPEN]?.delete(exchange);
  if (status === undefined) exchange.abort();
  else exchange.settle({ kind: 'completed', status });
}

/** Writes a guard's reply and settles the exchange as refused. */
export function sendReply(response: ServerResponse, exchange: Exchange, reply: Reply): void {
  if (response.headersSent || exchange.outcome !== undefined) return;
  const rendered = renderProblem(reply, exchange);
  for (const [name, value] of reply.headers) response.setHeader(name, value);
  response.statusCode = rendered?.status ?? reply.status;
  if (rendered === undefined) {
    response.end();
  } else {
    response.setHeader('Cache-Control', 'no-store');
    response.setHeader('Content-Type', rendered.contentType);
    response.setHeader('Content-Length', Buffer.byteLength(rendered.body));
    response.end(rendered.body);
  }
  exchange.settle({ kind: 'refused', status: response.statusCode, code: reply.problem?.code });
}
