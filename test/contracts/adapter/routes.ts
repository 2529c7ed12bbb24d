import { setImmediate as nextTurn } from 'node:timers/promises';
import { type Guard, type Outcome, problem, type Reply, refuse } from '../../../src/index.js';
import type { GuardGroups, Handler, Route } from './service.js';

/** More than the buffers of a connection hold. */
export const BIG = 64 * 1024 * 1024;

export const OK: Handler = { does: 'answer', status: 200, body: { ok: true } };
/** A handler that never sends a response. */
export const NEVER: Handler = { does: 'write', write: () => undefined, respond: () => new Promise(() => undefined) };

export const ABORTED: Outcome = { kind: 'aborted' };
export const completed = (status: number): Outcome => ({ kind: 'completed', status });
export const UNAUTHORIZED: Outcome = { kind: 'refused', status: 401, code: 'credentials-missing' };
export const FAULT: Outcome = { kind: 'refused', status: 500, code: 'internal-error' };

export const refusing = (): Reply => refuse(problem('credentials-missing'), [['WWW-Authenticate', 'Bearer']]);

export function throwing(error: unknown): Guard {
  return () => {
    throw error;
  };
}

/** `GET /` with these guards. */
export const get = (handler: Handler, ...guards: GuardGroups): Route => ({ method: 'GET', path: '/', guards, handler });

/** A handler that sends a body of 64 MB in one call. */
export function big(): Handler {
  return {
    does: 'write',
    write: (_request, response) => {
      response.writeHead(200, { 'Content-Type': 'application/octet-stream', 'Content-Length': BIG });
      response.end(Buffer.alloc(BIG));
    },
    respond: () => {
      const headers = { 'Content-Type': 'application/octet-stream', 'Content-Length': String(BIG) };
      let isSent = false;
      const pull = async (controller: ReadableStreamDefaultController<Uint8Array>) => {
        await nextTurn();
        if (isSent) controller.close();
        else controller.enqueue(new Uint8Array(BIG));
        isSent = true;
      };
      return new Response(new ReadableStream({ pull }, { highWaterMark: 0 }), { headers });
    },
  };
}

/** A handler that calls `writeHead` and streams two lines: one immediately, the other after `rest`. */
export function streaming(rest: () => Promise<unknown>, headers: Record<string, string> = {}): Handler {
  return {
    does: 'write',
    write: (_request, response) => {
      response.writeHead(200, { 'Content-Type': 'text/plain', ...headers });
      response.write('one\n');
      void rest().then(() => response.end('two\n'));
    },
    respond: () => {
      let isCancelled = false;
      const body = new ReadableStream<Uint8Array>({
        cancel: () => {
          isCancelled = true;
        },
        start: (controller) => {
          controller.enqueue(Buffer.from('one\n'));
          void rest().then(() => {
            if (isCancelled) return;
            controller.enqueue(Buffer.from('two\n'));
            controller.close();
          });
        },
      });
      return new Response(body, { headers: { 'Content-Type': 'text/plain', ...headers } });
    },
  };
}

/** Is reported as a fault if it runs. */
const unexpected = throwing(new Error('a later guard ran'));

/** What can come after a guard. */
export const BEHIND: readonly (readonly [place: string, groups: (guard: Guard) => GuardGroups])[] = [
  ['the handler', (guard) => [[guard]]],
  ['a guard of the same call', (guard) => [[guard, unexpected]]],
  ['a guard of another call', (guard) => [[guard], [unexpected]]],
];
