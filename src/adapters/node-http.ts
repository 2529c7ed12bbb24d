import type { ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { Exchange } from '../core/exchange.js';
import { streamOf, watchStream } from './http2.js';
import { NodeHttpMessage, type NodeRequest } from './node-message.js';

const OPEN = Symbol('gatewarden.open');

interface GuardedSocket extends Socket {
  /** Exchanges of this connection whose response has not ended. */
  [OPEN]?: Set<Exchange>;
}

/** The exchange of this request: made at the first call, the same one ever after. */
export function exchangeOf(request: NodeRequest, response: ServerResponse): Exchange {
  if (request.exchange instanceof Exchange) return request.exchange;
  const message = new NodeHttpMessage(request, response);
  const exchange = new Exchange(message, message);
  request.exchange = exchange;
  watch(request.socket, response, exchange);
  return exchange;
}

function watch(socket: GuardedSocket, response: ServerResponse, exchange: Exchange): void {
  // After a reset what was sent before it is still handed on, but the kernel does not say any more who sent it. A Unix socket
  // has no address at either end.
  const isLost = socket.remoteAddress === undefined && socket.localAddress !== undefined;
  if (socket.destroyed || response.destroyed || isLost) {
    // Whoever it is, nobody waits for an answer that does not come.
    if (isLost) socket.destroy();
    exchange.abort();
    return;
  }
  const stream = streamOf(response);
  if (stream !== undefined) {
    watchStream(stream, response, exchange);
    return;
  }
  const open = openExchanges(socket);
  open.add(exchange);
  // Node emits 'finish' also when the socket died with the body unsent; its own listener, which lets go of the
  // socket, must not run before ours has looked.
  response.prependListener('finish', () => {
    open.delete(exchange);
    // A write that failed has not destroyed the socket yet, where the client had ended its own side before.
    if (socket.destroyed || socket.errored) exchange.abort();
    else exchange.end({ kind: 'completed', status: response.statusCode });
  });
  response.on('close', () => {
    open.delete(exchange);
    exchange.abort();
  });
}

/** A handler that takes the socket over leaves a response which never ends: then only the socket tells. */
function openExchanges(socket: GuardedSocket): Set<Exchange> {
  if (socket[OPEN] !== undefined) return socket[OPEN];
  const open = new Set<Exchange>();
  socket[OPEN] = open;
  // Where functions are run as services, it may be a plain object.
  if (typeof socket.once !== 'function') return open;
  socket.once('close', () => {
    for (const exchange of open) exchange.abort();
  });
  return open;
}
