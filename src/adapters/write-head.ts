import type { ServerResponse } from 'node:http';
import { mergedVary } from './vary.js';

type WriteHead = (this: ServerResponse, ...args: unknown[]) => ServerResponse;

/** What guards have asked for just before the head of one response is sent. */
interface PendingHead {
  /** The method that was there before: Node's own, or one of other middleware. */
  readonly writeHead: WriteHead;
  vary: string | undefined;
  hooks: (() => void)[] | undefined;
}

const PENDING_HEAD = Symbol('gatewarden.pendingHead');

interface GuardedResponse extends ServerResponse {
  [PENDING_HEAD]?: PendingHead;
}

/** Runs `hook` just before the head of the response is sent. The hook that was added last runs first. */
export function beforeHead(response: ServerResponse, hook: () => void): void {
  const pending = pendingHead(response);
  if (pending.hooks === undefined) pending.hooks = [hook];
  else pending.hooks.push(hook);
}

/** Merges `vary` into the `Vary` of a handler, which may replace that of guards. A cache would mix up responses then. */
export function keepVary(response: ServerResponse, vary: string): void {
  const pending = pendingHead(response);
  pending.vary = pending.vary === undefined ? vary : mergedVary(pending.vary, vary);
}

function pendingHead(response: GuardedResponse): PendingHead {
  const known = response[PENDING_HEAD];
  if (known !== undefined) return known;
  const pending: PendingHead = { writeHead: response.writeHead as WriteHead, vary: undefined, hooks: undefined };
  response[PENDING_HEAD] = pending;
  // One function for all responses. With a closure for each, the garbage collector works several times as long.
  response.writeHead = writeHead as ServerResponse['writeHead'];
  return pending;
}

/** Node calls `writeHead` itself if the first byte of a body sends the head. */
function writeHead(this: GuardedResponse, ...args: unknown[]): ServerResponse {
  const pending = this[PENDING_HEAD];
  if (pending === undefined) throw new TypeError('gatewarden: writeHead was called on an object that is no response');
  if (this.headersSent) return pending.writeHead.apply(this, args);
  const { hooks } = pending;
  if (hooks !== undefined) for (let i = hooks.length - 1; i >= 0; i--) hooks[i]?.();
  return pending.writeHead.apply(this, pending.vary === undefined ? args : withVary(this, args, pending.vary));
}

/**
 * The arguments of `writeHead` with `vary` merged into their `Vary`, or into that of the response. Their headers may be
 * an object, a list of names and values, or a list of pairs.
 */
function withVary(response: ServerResponse, args: unknown[], vary: string): unknown[] {
  const index = typeof args[1] === 'string' || (args[2] !== undefined && args[2] !== null) ? 2 : 1;
  const headers = args[index];
  if (typeof headers === 'object' && headers !== null) {
    const merged = Array.isArray(headers) ? listWithVary(headers, vary) : objectWithVary(headers, vary);
    if (merged !== undefined) return args.map((arg, i) => (i === index ? merged : arg));
  }
  const current = response.getHeader('vary');
  if (current !== vary) response.setHeader('vary', mergedVary(vary, String(current ?? '')));
  return args;
}

/** Undefined for a list without `Vary`. */
function listWithVary(entries: readonly unknown[], vary: string): unknown[] | undefined {
  if (entries.some((entry) => Array.isArray(entry) && isVary(entry[0]))) {
    return entries.map((entry) =>
      Array.isArray(entry) && isVary(entry[0]) ? [entry[0], mergedVary(vary, String(entry[1]))] : entry,
    );
  }
  const name = entries.findIndex((entry, i) => i % 2 === 0 && isVary(entry));
  return name === -1 ? undefined : entries.with(name + 1, mergedVary(vary, String(entries[name + 1])));
}

/** Undefined for headers without `Vary`. */
function objectWithVary(headers: object, vary: string): object | undefined {
  for (const name in headers) {
    if (!isVary(name) || !Object.hasOwn(headers, name)) continue;
    return { ...headers, [name]: mergedVary(vary, String(headers[name as keyof typeof headers])) };
  }
  return undefined;
}

function isVary(name: unknown): boolean {
  return typeof name === 'string' && name.length === 4 && name.toLowerCase() === 'vary';
}
