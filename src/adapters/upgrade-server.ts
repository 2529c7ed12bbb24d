import type { Guard } from '../core/guard.js';
import { OptionError } from '../core/option.js';

/** A server of node:http or node:https, or what a framework makes one of. */
export interface UpgradeServer {
  emit(event: string, ...args: readonly unknown[]): boolean;
  listenerCount(event: string): number;
  listen(...args: readonly never[]): unknown;
}

/** What is passed for a server by mistake, and what to pass instead. */
const MISTAKES: readonly (readonly [member: string, remedy: string])[] = [
  ['handleUpgrade', 'got a WebSocketServer; pass the HTTP server'],
  ['routing', 'got a Fastify application; pass app.server'],
  ['mountpath', 'got an Express application; pass what app.listen(...) returns'],
  ['fetch', 'got a Hono application; pass what serve(...) returns'],
];

/** @throws OptionError unless `server` can be guarded, and there is a guard */
export function checkServer(server: unknown, guards: readonly Guard[]): void {
  const isObject = (typeof server === 'object' && server !== null) || typeof server === 'function';
  const [, mistake] = (isObject && MISTAKES.find(([member]) => member in server)) || [];
  const isServer = isObject && ['emit', 'listenerCount', 'listen'].every((name) => isFunction(server, name));
  if (mistake !== undefined || !isServer) {
    const remedy = mistake ?? 'write guardUpgrade(server, authenticate(...))';
    throw new OptionError(`gatewarden: guardUpgrade takes a server of node:http first; ${remedy}`);
  }
  if (guards.length === 0) {
    throw new OptionError(
      'gatewarden: guardUpgrade needs at least one guard, such as guardUpgrade(server, authenticate(...))',
    );
  }
}

/**
 * Where `localhost` has several addresses, Fastify listens with a server for each, and these pass upgrades to the `emit` that
 * the first server had then. Guards that come later would see only the upgrades of one address.
 * @throws OptionError
 */
export function checkInTime(server: UpgradeServer): void {
  // Nothing but Fastify's other servers listens for this.
  if (server.listenerCount('unref') === 0) return;
  throw new OptionError(
    'gatewarden: guardUpgrade comes too late for the other addresses of this Fastify application; call it before app.listen(...)',
  );
}

function isFunction(object: object, name: string): boolean {
  return typeof (object as Readonly<Record<string, unknown>>)[name] === 'function';
}
