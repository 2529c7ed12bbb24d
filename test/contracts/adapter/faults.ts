import { describe, expect } from 'vitest';
import { type Guard, problem, type Reply } from '../../../src/index.js';
import { FAULT, get, OK, throwing } from './routes.js';
import type { Promised, Stage } from './stage.js';

/** What a guard in JavaScript may return although it is not a reply. */
const GARBAGE: readonly (readonly [name: string, value: unknown])[] = [
  ['null', null],
  ['true', true],
  ['false', false],
  ['zero', 0],
  ['a string', 'ok'],
  ['a list', []],
  ['an empty object', {}],
  ['a status that is not a number', { status: '401', headers: [], problem: undefined }],
  ['a status that HTTP does not have', { status: 42, headers: [], problem: undefined }],
  ['a reply without headers', { status: 401 }],
  ['headers that are not pairs', { status: 401, headers: ['x'], problem: undefined }],
  ['a header value with a line break', { status: 401, headers: [['X-Bad', 'a\r\nX-Injected: b']], problem: undefined }],
  ['a header value beyond Latin-1', { status: 401, headers: [['X-Bad', '\u{1F512}']], problem: undefined }],
  ['a header value with a control character', { status: 401, headers: [['X-Bad', 'a\x01b']], problem: undefined }],
  ['a problem with a status without a body', { status: 204, headers: [], problem: problem('internal-error') }],
  ['a header name with a space', { status: 401, headers: [['X Bad', 'a']], problem: undefined }],
];

/** What a guard may throw. Some routers continue after `undefined` or `'route'`. */
const THROWN: readonly unknown[] = [new Error('broken'), undefined, null, 'route', 'router', { status: 200 }];

/** A guard in JavaScript, which can return anything. */
function answering(value: unknown): Guard {
  return () => value as Reply;
}

/** A guard that fails lets no request pass. */
export function faults(promise: Promised): void {
  describe('a guard that fails', () => {
    const faulty = async (stage: Stage, guard: Guard) => {
      await stage.serve([get(OK, [guard])]);
      const answer = await stage.ask('GET /');
      expect(answer.status).toBe(500);
      expect(answer.field('x-guarded')).toBe('yes');
      expect(answer.field('x-injected')).toBeUndefined();
      expect(answer.json()).toMatchObject({ code: 'internal-error' });
      expect(await stage.outcomes(1)).toEqual([FAULT]);
      expect(stage.entered).toEqual([]);
      expect(stage.faults).toHaveLength(1);
    };
    for (const thrown of THROWN) {
      const shown = thrown instanceof Error ? 'an error' : JSON.stringify(thrown);
      promise(`that throws ${shown} results in a 500 and a report`, async (stage) => {
        await faulty(stage, throwing(thrown));
        expect(stage.faults).toEqual([thrown]);
      });
      promise(`that rejects with ${shown} results in a 500 and a report`, async (stage) => {
        await faulty(stage, () => Promise.reject(thrown));
        expect(stage.faults).toEqual([thrown]);
      });
    }
    for (const [kind, value] of GARBAGE) {
      promise(`that returns ${kind} results in a 500 and a report`, (stage) => faulty(stage, answering(value)));
      promise(`that resolves to ${kind} results in a 500 and a report`, (stage) => {
        return faulty(stage, answering(Promise.resolve(value)));
      });
    }
    promise('that sets a header with a line break results in a 500 and a report', (stage) => {
      return faulty(stage, (exchange) => {
        exchange.set('X-Bad', 'a\r\nX-Injected: b');
        return undefined;
      });
    });
  });
}
