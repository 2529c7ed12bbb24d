/**
 * Guards before an upgrade, such as the handshake of a WebSocket, which middleware never sees. For every server of
 * node:http and node:https, whatever framework runs on it.
 * @module gatewarden/upgrade
 */
import { type IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { type Duration, milliseconds } from '../core/duration.js';
import { Exchange } from '../core/exchange.js';
import type { Guard } from '../core/guard.js';
import { isMadeBy } from '../core/guard-order.js';
import { checkOptionNames, type OptionNames } from '../core/option.js';
import type { Reply } from '../core/reply.js';
import { guardsIn, sequence } from '../core/sequence.js';
import { originGuard, type WebSocketOriginOptions } from '../core/web-socket-origin.js';
import type { NodeRequest } from './node-message.js';
import { sendReply } from './node-reply.js';
import { exchangeOfUpgrade } from './upgrade-exchange.js';
import { checkInTime, checkServer, type UpgradeServer } from './upgrade-server.js';
import { closeAfter, watchStatus, watchWaiting } from './upgrade-socket.js';

export type { UpgradeServer } from './upgrade-server.js';

/** Puts guards before the upgrades of a server. */
export type UpgradeGuard = (server: UpgradeServer, ...guards: readonly Guard[]) => void;

/** What `createGuardUpgrade` takes. */
export interface CreateGuardUpgradeOptions extends WebSocketOriginOptions {
  /**
   * How long the service may take to answer a request that the guards let pass, up to a day. After that, the connection is
   * closed. Otherwise a client could hold its slots for any time. Default `'30s'`.
   */
  readonly timeout?: Duration | undefined;
}

const OPTIONS: OptionNames<CreateGuardUpgradeOptions> = { origin: true, timeout: true };
const MAX_TIMEOUT = 86_400_000;

/** Guards of a server, and how long the service has to answer. */
interface Entrance {
  run: Guard;
  timeout: number;
}

const entrances = new WeakMap<object, Entrance>();

/**
 * Runs guards before the `upgrade` listeners of a server, such as those of `ws`, whether these are added before or after. A
 * request that a guard refuses is answered with an ordinary HTTP response, and the connection is closed. No listener sees
 * it. Handshakes that a page of another site has started are refused with 403 `origin-untrusted`; `createGuardUpgrade`
 * allows more origins.
 *
 * The exchange lasts as long as the connection: a slot of `concurrency` is held until it closes. It ends as completed with
 * 101, and its signal is aborted then. Several calls for one server run their guards in the order of the calls. Guards apply
 * to every path, and to no request without `Upgrade`. `CONNECT` and WebSockets over HTTP/2 are not covered.
 *
 * ```ts
 * const server = app.listen(8080)
 * guardUpgrade(server, authenticate(apiKeys({ keys })), limit({ policies: concurrency({ limit: 2 }) }))
 * new WebSocketServer({ server })
 * ```
 * @throws OptionError for a first argument that is not a server, without a guard, for an argument that is not a guard, and for
 *   a Fastify application that listens on several addresses already
 */
export const guardUpgrade: UpgradeGuard = createGuardUpgrade();

/**
 * Creates `guardUpgrade` for pages of other origins, or with another timeout.
 *
 * ```ts
 * const guardUpgrade = createGuardUpgrade({ origin: 'https://app.example.com' })
 * ```
 * @throws OptionError for an origin that no browser sends, and for a timeout that is not a length of time
 */
export function createGuardUpgrade(options: CreateGuardUpgradeOptions = {}): UpgradeGuard {
  checkOptionNames('createGuardUpgrade', options, OPTIONS);
  const timeout = milliseconds('createGuardUpgrade', 'timeout', options.timeout ?? '30s', MAX_TIMEOUT);
  const origin = originGuard('createGuardUpgrade', options.origin);
  return function guardUpgrade(server, ...guards) {
    checkServer(server, guards);
    const run = withOrigin(guards, origin);
    const entrance = entrances.get(server);
    if (entrance === undefined) {
      checkInTime(server);
      const created = { run, timeout };
      entrances.set(server, created);
      intercept(server, created);
    } else {
      entrance.run = sequence(entrance.run, run);
      entrance.timeout = Math.min(entrance.timeout, timeout);
    }
  };
}

/**
 * The exchange of an upgrade, for what the service does with the connection. Under Express and Fastify, it is
 * `request.exchange` too.
 *
 * ```ts
 * webSocketServer.on('connection', (socket, request) => greet(socket, principalOf(exchangeOf(request))))
 * ```
 * @throws TypeError without `guardUpgrade` on the server
 */
export function exchangeOf(request: IncomingMessage): Exchange {
  const { exchange } = request as NodeRequest;
  if (!(exchange instanceof Exchange)) throw new TypeError('gatewarden: exchangeOf needs guardUpgrade on the server');
  return exchange;
}

/**
 * The guards, with the check of the origin after those that observe and format refusals. It comes before the first limit:
 * a page of another site must not spend the quota of its visitor.
 */
function withOrigin(guards: readonly Guard[], origin: Guard): Guard {
  const all = guards.flatMap(guardsIn);
  const limit = all.findIndex((guard) => isMadeBy(guard, 'limit'));
  const end = limit === -1 ? all.length : limit;
  return sequence(...all.slice(0, end), origin, ...all.slice(end));
}

/**
 * Replaces `emit` of the server. A listener could not keep a request from later listeners. Without any listener, Node does
 * not upgrade, so none is added.
 */
function intercept(server: UpgradeServer, entrance: Entrance): void {
  const { emit } = server;
  server.emit = function guardedEmit(this: unknown, ...args: unknown[]): boolean {
    if (args[0] !== 'upgrade') return Reflect.apply(emit, server, args);
    const [, request, socket, head] = args as [unknown, NodeRequest, Socket, Buffer];
    const pass = (head: Buffer) => void Reflect.apply(emit, server, ['upgrade', request, socket, head]);
    onUpgrade(entrance, request, socket, head, pass);
    return true;
  };
}

function onUpgrade(
  { run, timeout }: Entrance,
  request: NodeRequest,
  socket: Socket,
  head: Buffer,
  pass: (head: Buffer) => void,
): void {
  const response = new ServerResponse(request);
  response.shouldKeepAlive = false;
  // Node has removed its own listener. Without one, a reset of the client would end the process.
  const onError = () => void socket.destroy();
  socket.on('error', onError);
  // Since Node 26, `socket` is a stream of its own until the body of the request has arrived.
  const { socket: connection } = request;
  const isReset = connection.remoteAddress === undefined && connection.localAddress !== undefined;
  try {
    if (isReset) throw new Error('gatewarden: the client has reset the connection');
    // Fails if an earlier request of the connection still waits for its response, which a refusal would break.
    response.assignSocket(connection);
    response.detachSocket(connection);
    response.assignSocket(socket);
  } catch {
    socket.destroy();
    return;
  }
  const exchange = exchangeOfUpgrade(request, response);
  let status: number | undefined;
  socket.once('close', () => {
    if (status === undefined) exchange.abort();
    else exchange.end({ kind: 'completed', status });
  });

  function refuse(reply: Reply): void {
    // A reply with a stream ends with its last byte.
    response.once('finish', () => exchange.end({ kind: 'completed', status: response.statusCode }));
    sendReply(response, exchange, reply);
    closeAfter(response, socket);
  }

  function accept(whole: Buffer): void {
    if (exchange.outcome !== undefined || socket.destroyed) return;
    response.detachSocket(socket);
    const timer = setTimeout(() => socket.destroy(), timeout);
    socket.once('close', () => clearTimeout(timer));
    watchStatus(socket, (answered) => {
      clearTimeout(timer);
      status = answered ?? 101;
      const outcome = { kind: 'completed', status } as const;
      // A listener has refused, such as for a path that it does not serve.
      if (status >= 400) exchange.end(outcome);
      // Any other answer, such as one that a proxy passes on, may last as long as the work for it.
      else if (status !== 101) socket.once('finish', () => exchange.end(outcome));
    });
    pass(whole);
  }

  const result = run(exchange);
  if (result === undefined) {
    accept(head);
    return;
  }
  if (!(result instanceof Promise)) {
    refuse(result);
    return;
  }
  const stopWaiting = watchWaiting(socket, head, onError);
  void result.then((reply) => {
    const whole = stopWaiting();
    if (reply !== undefined) refuse(reply);
    // Not in the promise, so that an error of a listener is what it would be without guards.
    else process.nextTick(accept, whole);
  });
}
