import { setImmediate as nextTurn } from 'node:timers/promises';
import { describe, expect } from 'vitest';
import type { Outcome } from '../../../src/index.js';
import { completed, FAULT, get, OK, refusing, streaming, throwing, UNAUTHORIZED } from './routes.js';
import type { Route } from './service.js';
import { type Promised, turns } from './stage.js';

/** How a connection can continue or end after a response, which is the same each time. */
const CONNECTIONS: readonly (readonly [name: string, version: string, fields: readonly string[], closes: boolean])[] = [
  ['a kept connection', 'HTTP/1.1', [], false],
  ['Connection: close', 'HTTP/1.1', ['Connection: close'], true],
  ['HTTP/1.0', 'HTTP/1.0', [], true],
];

/** Every kind of response, with its status and its outcome. */
const ANSWERS: readonly (readonly [name: string, route: Route, status: number, outcome: Outcome])[] = [
  ['a 200', get(OK), 200, completed(200)],
  ['a late 201', get({ does: 'answer', status: 201, body: 1, after: turns }), 201, completed(201)],
  ["a handler's own 500", get({ does: 'answer', status: 500, body: {} }), 500, completed(500)],
  ['a handler that throws', get({ does: 'throw', error: new Error('thrown') }), 500, completed(500)],
  ['a handler that rejects', get({ does: 'reject', error: new Error('rejected') }), 500, completed(500)],
  ['a stream after writeHead', get(streaming(turns)), 200, completed(200)],
  ['an unknown path', { ...get(OK), path: '/elsewhere' }, 404, completed(404)],
  ['a refusal', get(OK, [refusing]), 401, UNAUTHORIZED],
  ['a late refusal', get(OK, [() => nextTurn().then(() => refusing())]), 401, UNAUTHORIZED],
  [
    'a reply without a body',
    get(OK, [() => ({ status: 204, headers: [], problem: undefined })]),
    204,
    { kind: 'refused', status: 204, code: undefined },
  ],
  ['a guard that throws', get(OK, [throwing(new Error('broken'))]), 500, FAULT],
];

/** Every kind of answer ends its exchange once. */
export function endOfExchange(promise: Promised): void {
  describe.each(CONNECTIONS)('over %s', (_name, version, fields, closes) => {
    for (const [kind, route, status, outcome] of ANSWERS) {
      promise(`ends the exchange once for ${kind}, and sends the headers of guards`, async (stage) => {
        await stage.serve([route]);
        const client = await stage.connect();
        client.send(`GET / ${version}`, ...fields);
        const answer = await client.answer();
        expect(answer.status).toBe(status);
        expect(answer.field('x-guarded')).toBe('yes');
        if (closes) expect(await client.rest()).toBe('');
        expect(await stage.outcomes(1)).toEqual([outcome]);
      });
    }
  });

  describe('if the first guard is on the route', () => {
    for (const [kind, route, status, outcome] of ANSWERS) {
      if (route.path !== '/') continue;
      promise(`ends the exchange once for ${kind}`, async (stage) => {
        await stage.serve([{ ...route, guards: [stage.watch, ...route.guards] }], { guards: [] });
        const answer = await stage.ask('GET /');
        expect(answer.status).toBe(status);
        expect(answer.field('x-guarded')).toBe('yes');
        expect(await stage.outcomes(1)).toEqual([outcome]);
      });
    }
  });
}
