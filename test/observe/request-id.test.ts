import { describe, expect, it } from 'vitest';
import { OptionError } from '../../src/core/option.js';
import { type RequestIdOptions, requestId } from '../../src/observe/request-id.js';
import { ask, type HeaderLine } from '../exchange-fixture.js';

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[47][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;
const given = (...ids: string[]): HeaderLine[] => ids.map((id) => ['X-Request-ID', id]);

describe('requestId', () => {
  it.each([['a'], ['x'.repeat(128)], ['A-Z.a_z=09'], ['7b0c1d2e-0000-4000-8000-000000000000']])(
    'keeps %j',
    async (id) => {
      const { exchange, headers } = await ask(requestId(), { headers: given(id) });
      expect([exchange.requestId, headers.get('X-Request-ID')]).toEqual([id, id]);
    },
  );

  it.each([
    ['none', []],
    ['an empty one', given('')],
    ['one of 129 characters', given('x'.repeat(129))],
    ['one with a space', given('a b')],
    ['one that would forge a log line', given('a\nlevel=error')],
    ['one with a quote', given('a"b')],
    ['one beyond ASCII', given('caf\u00e9')],
    ['one with a slash', given('../etc')],
    ['two', given('a', 'b')],
    ['the same twice', given('a', 'a')],
  ])('makes its own for %s', async (_what, headers) => {
    const answer = await ask(requestId(), { headers });
    expect(answer.exchange.requestId).toMatch(UUID);
    expect(answer.headers.get('X-Request-ID')).toBe(answer.exchange.requestId);
  });

  it('makes a new one for every request', async () => {
    const guard = requestId();
    const ids = await Promise.all([1, 2, 3].map(async () => (await ask(guard)).exchange.requestId));
    expect(new Set(ids).size).toBe(3);
  });

  it('makes them as it is told', async () => {
    let n = 0;
    const guard = requestId({ generate: () => `job-${++n}` });
    expect((await ask(guard)).exchange.requestId).toBe('job-1');
    expect((await ask(guard, { headers: given('mine') })).exchange.requestId).toBe('mine');
    expect((await ask(guard)).exchange.requestId).toBe('job-2');
  });

  it.each([[''], ['a b'], [undefined], [5]])('is a fault where generate gives %j', async (id) => {
    const { status, faults } = await ask(requestId({ generate: () => id as string }));
    expect([status, String(faults[0])]).toEqual([500, expect.stringContaining('generate')]);
  });

  it('ends no process where generate of JavaScript gives a promise that fails', async () => {
    const generate = (() => Promise.reject(new Error('no database'))) as unknown as () => string;
    expect((await ask(requestId({ generate }))).status).toBe(500);
    await new Promise((turn) => setImmediate(turn));
  });

  it('refuses bad options', () => {
    expect(() => requestId({ generate: 'uuid' } as unknown as RequestIdOptions)).toThrow(OptionError);
    expect(() => requestId({ generator: () => 'a' } as unknown as RequestIdOptions)).toThrow(/generator/);
  });
});
