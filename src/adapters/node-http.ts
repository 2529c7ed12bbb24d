import type { ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { Exchange } from '../core/exchange.js';
import { streamOf, watchStream } from './http2.js';
import { NodeHttpMessage, type NodeRequest } from './node-message.js';

const OPEN_EXCHANGES = Symbol('gatewarden.openExchanges');

interface GuardedSocket extends Socket {
  /** Exchanges of this connection whose response has not ended. More than one only if the client sends without waiting. */
  [OPEN_EXCHANGES]?: Exchange[];
}

/** The exchange of a request. The first call creates it, later calls return the same one. */
export function exchangeOf(request: NodeRequest, response: ServerResponse): Exchange {
  if (request.exchange instanceof Exchange) return request.exchange;
  const message = new NodeHttpMessage(request, response);
  const exchange = new Exchange(message, message);
  request.exchange = exchange;
  watch(request.socket, response, exchange);
  return exchange;
}

function watch(socket: GuardedSocket, response: ServerResponse, exchange: Exchange): void {
  // After a reset, Node still passes on what was sent before it, but the address of the client is gone. Guards must not
  // run without it. A Unix socket has no address at either end.
  const isReset = socket.remoteAddress === undefined && socket.localAddress !== undefined;
  if (socket.destroyed || response.destroyed || isReset) {
    if (isReset) socket.destroy();
    exchange.abort();
    return;
  }
  // A socket with a list serves HTTP/1.
  const stream = socket[OPEN_EXCHANGES] === undefined ? streamOf(response) : undefined;
  if (stream !== undefined) {
    watchStream(stream, response, exchange);
    return;
  }
  const open = openExchanges(socket);
  open.push(exchange);
  // Node also emits 'finish' if the socket closed before the body was sent. This listener must run before Node's own,
  // which detaches the socket.
  response.prependListener('finish', () => {
    remove(open, exchange);
    // If the client had ended its side before, a failed write has not destroyed the socket yet.
    if (socket.destroyed || socket.errored) exchange.abort();
    else exchange.end({ kind: 'completed', status: response.statusCode });
  });
  response.on('close', () => {
    remove(open, exchange);
    exchange.abort();
  });
}

/** If a handler takes over the socket, the response never ends. Then the end of the socket ends the exchange. */
function openExchanges(socket: GuardedSocket): Exchange[] {
  if (socket[OPEN_EXCHANGES] !== undefined) return socket[OPEN_EXCHANGES];
  const open: Exchange[] = [];
  socket[OPEN_EXCHANGES] = open;
  // On serverless platforms, the socket may be a plain object.
  if (typeof socket.once !== 'function') return open;
  socket.once('close', () => {
    for (const exchange of [...open]) exchange.abort();
  });
  return open;
}

/** Allocates nothing. A `Set` allocates its table again after a few changes. */
function remove(open: Exchange[], exchange: Exchange): void {
  const i = open.indexOf(exchange);
  const last = open.at(-1);
  if (i === -1 || last === undefined) return;
  open[i] = last;
  open.pop();
}
