import { describe, expect, it } from 'vitest';
import { OptionError } from '../../src/core/option.js';
import { type RequestIdOptions, requestId } from '../../src/observe/request-id.js';
import { ask, type HeaderLine } from '../exchange-fixture.js';

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[47][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;
const received = (...ids: string[]): HeaderLine[] => ids.map((id) => ['X-Request-ID', id]);

describe('requestId', () => {
  it.each([['a'], ['x'.repeat(128)], ['A-Z.a_z=09'], ['7b0c1d2e-0000-4000-8000-000000000000']])(
    'keeps %j',
    async (id) => {
      const { exchange, headers } = await ask(requestId(), { headers: received(id) });
      expect([exchange.requestId, headers.get('X-Request-ID')]).toEqual([id, id]);
    },
  );

  it.each([
    ['no id', []],
    ['an empty id', received('')],
    ['an id of 129 characters', received('x'.repeat(129))],
    ['an id with a space', received('a b')],
    ['an id with a line break', received('a\nlevel=error')],
    ['an id with a quote', received('a"b')],
    ['an id beyond ASCII', received('caf\u00e9')],
    ['an id with a slash', received('../etc')],
    ['two ids', received('a', 'b')],
    ['the same id twice', received('a', 'a')],
  ])('generates an id instead of %s', async (_what, headers) => {
    const answer = await ask(requestId(), { headers });
    expect(answer.exchange.requestId).toMatch(UUID);
    expect(answer.headers.get('X-Request-ID')).toBe(answer.exchange.requestId);
  });

  it('generates a different id for every request', async () => {
    const guard = requestId();
    const ids = await Promise.all([1, 2, 3].map(async () => (await ask(guard)).exchange.requestId));
    expect(new Set(ids).size).toBe(3);
  });

  it('uses generate for a request without an id', async () => {
    let n = 0;
    const guard = requestId({ generate: () => `job-${++n}` });
    expect((await ask(guard)).exchange.requestId).toBe('job-1');
    expect((await ask(guard, { headers: received('mine') })).exchange.requestId).toBe('mine');
    expect((await ask(guard)).exchange.requestId).toBe('job-2');
  });

  it.each([[''], ['a b'], [undefined], [5]])('fails with a fault if generate returns %j', async (id) => {
    const { status, faults } = await ask(requestId({ generate: () => id as string }));
    expect([status, String(faults[0])]).toEqual([500, expect.stringContaining('generate')]);
  });

  it('survives a rejected promise of generate', async () => {
    const generate = (() => Promise.reject(new Error('no database'))) as unknown as () => string;
    expect((await ask(requestId({ generate }))).status).toBe(500);
    await new Promise((turn) => setImmediate(turn));
  });

  it('refuses bad options at construction', () => {
    expect(() => requestId({ generate: 'uuid' } as unknown as RequestIdOptions)).toThrow(OptionError);
    expect(() => requestId({ generator: () => 'a' } as unknown as RequestIdOptions)).toThrow(/generator/);
  });
});
