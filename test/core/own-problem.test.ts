import fc from 'fast-check';
import { describe, expect, expectTypeOf, it } from 'vitest';
import {
  OptionError,
  type OwnProblem,
  type Problem,
  problem,
  problemFormat,
  refuse,
  renderReply,
} from '../../src/index.js';
import { ask, testExchange } from '../exchange-fixture.js';

const BUSY = {
  code: 'model-busy',
  status: 503,
  title: 'Service Unavailable',
  detail: 'The model is busy. Try again in 5 seconds.',
} as const;

describe('a problem of the service', () => {
  it('is sent with its code, its status and its members', async () => {
    const busy = problem({ ...BUSY, type: 'https://api.example/problems/busy', queue: { length: 3 } });
    expectTypeOf(busy.queue.length).toEqualTypeOf<number>();
    const { status, body, contentType, faults } = await ask(() => refuse(busy, [['Retry-After', '5']]));
    expect([status, contentType, faults]).toEqual([503, 'application/problem+json', []]);
    expect(JSON.parse(body)).toEqual({ ...BUSY, type: 'https://api.example/problems/busy', queue: { length: 3 } });
  });

  it('carries the id of the request, and ends the exchange with its code', () => {
    const { exchange } = testExchange();
    exchange.requestId = 'r-1';
    const { body, outcome } = renderReply(refuse(problem(BUSY)), exchange);
    expect(JSON.parse(body ?? '')).toEqual({ ...BUSY, requestId: 'r-1' });
    expect(outcome).toEqual({ kind: 'refused', status: 503, code: 'model-busy' });
  });

  it('is worded by the default of problemFormat only', () => {
    const { exchange } = testExchange();
    problemFormat({
      'store-unavailable': undefined,
      'internal-error': () => ({ body: 'never' }),
      default: (found) => {
        expectTypeOf(found).toEqualTypeOf<Problem | OwnProblem>();
        return { body: { error: found.detail } };
      },
    })(exchange);
    expect(renderReply(refuse(problem(BUSY)), exchange).body).toBe(JSON.stringify({ error: BUSY.detail }));
  });

  it.each(['constructor', 'toString', 'hasOwnProperty'])(
    'may have the code %s, which every object has',
    async (code) => {
      const { status, body } = await ask((exchange) => {
        problemFormat({})(exchange);
        return refuse(problem({ ...BUSY, code }));
      });
      expect([status, JSON.parse(body).code]).toEqual([503, code]);
    },
  );

  it('cannot be changed', () => {
    expect(Object.isFrozen(problem(BUSY))).toBe(true);
  });

  it('does not follow later changes of what it was made from', () => {
    const own = { ...BUSY, detail: 'before' };
    const made = problem(own);
    own.detail = 'after';
    expect(made.detail).toBe('before');
  });

  it.each<[string, unknown, string]>([
    ['no code', { ...BUSY, code: undefined }, '"code" must be 1 to 64 letters, digits, ".", "_" or "-", got undefined'],
    ['an empty code', { ...BUSY, code: '' }, '"code" must be 1 to 64'],
    ['a code with a space', { ...BUSY, code: 'model busy' }, "got 'model busy'"],
    ['a code with a line break', { ...BUSY, code: 'a\nb' }, '"code" must be 1 to 64'],
    ['a code that is too long', { ...BUSY, code: 'a'.repeat(65) }, '"code" must be 1 to 64'],
    [
      'a code of gatewarden',
      { ...BUSY, code: 'quota-exceeded' },
      `"code" must not be a code of gatewarden, got 'quota-exceeded'; write problem('quota-exceeded')`,
    ],
    ['no status', { ...BUSY, status: undefined }, '"status" must be a whole number from 400 to 599, got undefined'],
    ['a status as text', { ...BUSY, status: '503' }, '"status" must be a whole number from 400 to 599'],
    ['status 200', { ...BUSY, status: 200 }, '"status" must be a whole number from 400 to 599, got 200'],
    ['status 600', { ...BUSY, status: 600 }, '"status" must be'],
    ['status 400.5', { ...BUSY, status: 400.5 }, '"status" must be'],
    ['status NaN', { ...BUSY, status: Number.NaN }, '"status" must be'],
    ['no title', { ...BUSY, title: undefined }, '"title" must be a non-empty string'],
    ['no detail', { ...BUSY, detail: '' }, '"detail" must be a non-empty string'],
    ['an empty type', { ...BUSY, type: '' }, '"type" must be a non-empty string'],
  ])('is refused with %s', (_what, own, message) => {
    const make = () => problem(own as OwnProblem);
    expect(make).toThrow(OptionError);
    expect(make).toThrow(message);
  });

  it.each<[string, unknown]>([
    ['nothing', undefined],
    ['null', null],
    ['a list', [BUSY]],
    ['a number', 503],
  ])('is not made of %s', (_what, own) => {
    expect(() => problem(own as OwnProblem)).toThrow(OptionError);
    expect(() => problem(own as OwnProblem)).toThrow('problem takes a code such as credentials-missing, or { code,');
  });

  it('is what an unknown code should have been', () => {
    expect(() => problem('model-busy' as never)).toThrow(
      `gatewarden: problem "code" must be a code of gatewarden, got 'model-busy'; for a problem of your own, write ` +
        'problem({ code, status, title, detail })',
    );
    expect(() => problem('constructor' as never)).toThrow(OptionError);
  });
});

it('refuse never answers with a status that is no refusal', () => {
  fc.assert(
    fc.property(fc.anything(), fc.anything(), (code, status) => {
      const value = { ...BUSY, code, status } as OwnProblem;
      try {
        const reply = refuse(value);
        expect(reply.status).toBeGreaterThanOrEqual(400);
        expect(reply.status).toBeLessThanOrEqual(599);
        expect(typeof reply.problem?.code).toBe('string');
      } catch (error) {
        expect(error).toBeInstanceOf(OptionError);
      }
    }),
  );
});

it('a guard in plain JavaScript that refuses with 200 is a fault', async () => {
  const { status, passed, faults } = await ask(() => refuse({ ...BUSY, status: 200 }));
  expect([status, passed]).toEqual([500, false]);
  expect(String(faults[0])).toContain('"status" must be a whole number from 400 to 599, got 200');
});

it('a member that JSON cannot hold is a fault', async () => {
  const { status, body, faults } = await ask(() => refuse(problem({ ...BUSY, size: 1n })));
  expect([status, JSON.parse(body).code]).toEqual([500, 'internal-error']);
  expect(String(faults[0])).toContain('BigInt');
});
