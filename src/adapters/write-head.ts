import type { ServerResponse } from 'node:http';
import { mergedVary } from './vary.js';

type WriteHead = (this: ServerResponse, ...args: unknown[]) => ServerResponse;

/** What guards have asked for just before the head of one response is sent. */
export class PendingHead {
  readonly #response: ServerResponse;
  /** The method that was there before: Node's own, or one of other middleware. */
  readonly #writeHead: WriteHead;
  #vary: string | undefined = undefined;
  #hooks: (() => void)[] | undefined = undefined;

  /** Node calls `writeHead` itself if the first byte of a body sends the head. */
  constructor(response: ServerResponse) {
    this.#response = response;
    this.#writeHead = response.writeHead as WriteHead;
    // The only member that is added, since under Express on Node 20 each new member takes microseconds. Bound, since a
    // closure for each response takes microseconds everywhere.
    response.writeHead = writeHead.bind(this) as ServerResponse['writeHead'];
  }

  /** Runs `hook` just before the head of the response is sent. The hook that was added last runs first. */
  before(hook: () => void): void {
    if (this.#hooks === undefined) this.#hooks = [hook];
    else this.#hooks.push(hook);
  }

  /** Merges `vary` into the `Vary` of a handler, which may replace that of guards. A cache would mix up responses then. */
  keepVary(vary: string): void {
    this.#vary = this.#vary === undefined ? vary : mergedVary(this.#vary, vary);
  }

  write(args: unknown[]): ServerResponse {
    const response = this.#response;
    if (response.headersSent) return this.#writeHead.apply(response, args);
    const hooks = this.#hooks;
    if (hooks !== undefined) for (let i = hooks.length - 1; i >= 0; i--) hooks[i]?.();
    // Read after the hooks, which may add to it.
    const vary = this.#vary;
    return this.#writeHead.apply(response, vary === undefined ? args : withVary(response, args, vary));
  }
}

function writeHead(this: PendingHead, ...args: unknown[]): ServerResponse {
  return this.write(args);
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
