import type { ServerResponse } from 'node:http';
import { mergedVary } from './vary.js';

/**
 * Runs `before` with the arguments of `writeHead` just before the head of the response is sent, and sends what it
 * returns. Node calls `writeHead` itself if the first byte of a body sends the head.
 */
export function beforeHead(response: ServerResponse, before: (args: unknown[]) => unknown[]): void {
  const writeHead = response.writeHead as (...args: unknown[]) => ServerResponse;
  response.writeHead = (...args: unknown[]) => writeHead.apply(response, response.headersSent ? args : before(args));
}

/**
 * The arguments of `writeHead` with `vary` merged into their `Vary`, or into that of the response. Their headers may be
 * an object, a list of names and values, or a list of pairs.
 */
export function withVary(response: ServerResponse, args: readonly unknown[], vary: string): unknown[] {
  const index = typeof args[1] === 'string' || (args[2] !== undefined && args[2] !== null) ? 2 : 1;
  const headers = args[index];
  const withHeaders = (merged: unknown) => args.map((arg, i) => (i === index ? merged : arg));
  if (Array.isArray(headers)) {
    const entries: unknown[] = headers;
    if (entries.some((entry) => Array.isArray(entry) && isVary(entry[0]))) {
      return withHeaders(
        entries.map((entry) =>
          Array.isArray(entry) && isVary(entry[0]) ? [entry[0], mergedVary(vary, String(entry[1]))] : entry,
        ),
      );
    }
    const name = entries.findIndex((entry, i) => i % 2 === 0 && isVary(entry));
    if (name !== -1) return withHeaders(entries.with(name + 1, mergedVary(vary, String(entries[name + 1]))));
  } else if (typeof headers === 'object' && headers !== null) {
    const entry = Object.entries(headers).find(([name]) => isVary(name));
    if (entry !== undefined) return withHeaders({ ...headers, [entry[0]]: mergedVary(vary, String(entry[1])) });
  }
  response.setHeader('Vary', mergedVary(vary, String(response.getHeader('Vary') ?? '')));
  return [...args];
}

function isVary(name: unknown): boolean {
  return typeof name === 'string' && name.toLowerCase() === 'vary';
}
