import { describe, expect, it } from 'vitest';
import { guard as expressGuard } from '../../src/adapters/express.js';
import { guard as honoGuard } from '../../src/adapters/hono.js';
import type { Exchange } from '../../src/core/exchange.js';
import type { Guard } from '../../src/core/guard.js';
import { OptionError } from '../../src/core/option.js';
import { problem } from '../../src/core/problem.js';
import { type Reply, refuse } from '../../src/core/reply.js';
import { sequence } from '../../src/core/sequence.js';
import { testExchange } from '../exchange-fixture.js';

const REFUSAL = refuse(problem('credentials-missing'));

/** Guards that leave their name in `ran`. */
function named(ran: string[]) {
  const guard =
    (name: string, result: ReturnType<Guard>): Guard =>
    () => {
      ran.push(name);
      return result;
    };
  return {
    passes: (name: string) => guard(name, undefined),
    refuses: (name: string) => guard(name, REFUSAL),
    passesLater:
      (name: string): Guard =>
      async () => {
        await Promise.resolve();
        ran.push(name);
        return undefined;
      },
    refusesLater:
      (name: string): Guard =>
      async () => {
        await Promise.resolve();
        ran.push(name);
        return REFUSAL;
      },
  };
}

describe('a sequence', () => {
  it.each<[string, unknown]>([
    ['nothing', undefined],
    ['a list of guards', [() => undefined]],
    ['middleware of Express', (_request: unknown, _response: unknown, _next: unknown) => undefined],
    ['what has been made middleware already', expressGuard(() => undefined)],
    ['middleware of Hono', honoGuard(() => undefined)],
  ])('is not made of %s', (_what, guard) => {
    expect(() => sequence(guard as Guard)).toThrow(OptionError);
  });

  it('runs its guards in order and lets the exchange go on', () => {
    const ran: string[] = [];
    const { passes } = named(ran);
    expect(sequence(passes('a'), passes('b'), passes('c'))(testExchange().exchange)).toBeUndefined();
    expect(ran).toEqual(['a', 'b', 'c']);
  });

  it('refuses a request whose header lines may be incomplete, after guards that passed', async () => {
    const ran: string[] = [];
    const { passes, passesLater, refuses } = named(ran);
    const request = { headersTruncated: true };
    for (const guards of [[passes('a')], [passesLater('b')], [], [sequence(passes('c'))]]) {
      expect(await sequence(...guards)(testExchange(request).exchange)).toMatchObject({
        status: 431,
        problem: { code: 'headers-too-many' },
      });
    }
    expect(ran).toEqual(['a', 'b', 'c']);
    expect(sequence(refuses('d'))(testExchange(request).exchange)).toBe(REFUSAL);
    expect(sequence(passes('e'))(testExchange({ headersTruncated: false }).exchange)).toBeUndefined();
  });

  it('ends with the first reply', () => {
    const ran: string[] = [];
    const { passes, refuses } = named(ran);
    const reply = sequence(passes('a'), refuses('b'), passes('c'), refuses('d'))(testExchange().exchange);
    expect(reply).toBe(REFUSAL);
    expect(ran).toEqual(['a', 'b']);
  });

  it.each([200, 204, 301, 599])('takes a reply of the status %d', async (status) => {
    const reply: Reply = { status, headers: [['Retry-After', '1']], problem: undefined };
    expect(sequence(() => reply)(testExchange().exchange)).toBe(reply);
    expect(await sequence(async () => reply)(testExchange().exchange)).toBe(reply);
  });

  it('lets everything pass when it is empty', () => {
    expect(sequence()(testExchange().exchange)).toBeUndefined();
  });

  it('hands every guard the same exchange', () => {
    const seen: Exchange[] = [];
    const look: Guard = (exchange) => {
      seen.push(exchange);
      return undefined;
    };
    const { exchange } = testExchange();
    sequence(look, sequence(look), look)(exchange);
    expect(seen).toEqual([exchange, exchange, exchange]);
  });

  it('answers without a promise where the guards do', () => {
    const { passes, refuses, passesLater } = named([]);
    expect(sequence(passes('a'))(testExchange().exchange)).toBeUndefined();
    expect(sequence(refuses('a'))(testExchange().exchange)).not.toBeInstanceOf(Promise);
    expect(sequence(refuses('a'), passesLater('b'))(testExchange().exchange)).toBe(REFUSAL);
    const broken: Guard = () => {
      throw new Error('broken');
    };
    expect(sequence(broken, passesLater('b'))(testExchange().exchange)).toMatchObject({ status: 500 });
  });

  it('resumes after a guard that answers later', async () => {
    const ran: string[] = [];
    const { passes, passesLater } = named(ran);
    const guard = sequence(passes('a'), passesLater('b'), passes('c'), passesLater('d'), passes('e'));
    const result = guard(testExchange().exchange);
    expect(result).toBeInstanceOf(Promise);
    expect(ran).toEqual(['a']);
    expect(await result).toBeUndefined();
    expect(ran).toEqual(['a', 'b', 'c', 'd', 'e']);
  });

  it('ends with a reply that comes later', async () => {
    const ran: string[] = [];
    const { passes, passesLater, refuses, refusesLater } = named(ran);
    expect(await sequence(refusesLater('a'), passes('b'))(testExchange().exchange)).toBe(REFUSAL);
    expect(await sequence(passesLater('c'), refuses('d'), passes('e'))(testExchange().exchange)).toBe(REFUSAL);
    expect(ran).toEqual(['a', 'c', 'd']);
  });

  it('waits for anything that can be waited for', async () => {
    const ran: string[] = [];
    const thenable = (reply: Reply | undefined) =>
      // biome-ignore lint/suspicious/noThenProperty: a promise of another library is what this is about
      ({ then: (resolve: (value: Reply | undefined) => void) => resolve(reply) }) as Promise<Reply | undefined>;
    const { passes } = named(ran);
    expect(await sequence(() => thenable(REFUSAL), passes('a'))(testExchange().exchange)).toBe(REFUSAL);
    expect(await sequence(() => thenable(undefined), passes('b'))(testExchange().exchange)).toBeUndefined();
    expect(ran).toEqual(['b']);
  });

  it('nests, whatever the depth and whenever its parts answer', async () => {
    const ran: string[] = [];
    const { passes, passesLater, refuses, refusesLater } = named(ran);
    const inner = sequence(passes('b'), sequence(passesLater('c'), sequence(passes('d'))));
    expect(await sequence(passes('a'), inner, passes('e'))(testExchange().exchange)).toBeUndefined();
    expect(ran).toEqual(['a', 'b', 'c', 'd', 'e']);
    ran.length = 0;
    expect(sequence(sequence(sequence(refuses('a'))), passes('b'))(testExchange().exchange)).toBe(REFUSAL);
    expect(await sequence(sequence(refusesLater('c')), passes('d'))(testExchange().exchange)).toBe(REFUSAL);
    expect(ran).toEqual(['a', 'c']);
  });

  it('serves many exchanges at once without mixing them up', async () => {
    const { passesLater } = named([]);
    const byMethod: Guard = ({ request }) => (request.method === 'POST' ? REFUSAL : undefined);
    const guard = sequence(passesLater('a'), byMethod, passesLater('b'));
    const methods = ['GET', 'POST', 'PUT', 'POST', 'GET'];
    const replies = await Promise.all(methods.map((method) => guard(testExchange({ method }).exchange)));
    expect(replies.map((reply) => reply?.status)).toEqual([undefined, 401, undefined, 401, undefined]);
  });

  it('does not overflow the stack with thousands of guards', async () => {
    const ran: string[] = [];
    const { passes } = named(ran);
    const later: Guard = async () => undefined;
    const guards = Array.from({ length: 5000 }, (_, i) => (i % 2 === 0 ? passes('a') : later));
    expect(await sequence(...guards)(testExchange().exchange)).toBeUndefined();
    expect(ran).toHaveLength(2500);
  });

  it('is fixed at construction', () => {
    const ran: string[] = [];
    const { passes } = named(ran);
    const guards = [passes('a')];
    const guard = sequence(...guards);
    guards.push(passes('b'));
    guard(testExchange().exchange);
    expect(ran).toEqual(['a']);
  });

  it.each([[undefined], [null], [{}], ['guard'], [[() => undefined]]])(
    'refuses %j in the place of a guard',
    (guard) => {
      expect(() => sequence(() => undefined, guard as unknown as Guard)).toThrow(TypeError);
    },
  );
});

describe('a guard at fault', () => {
  const values: readonly (readonly [value: unknown])[] = [
    [null],
    [true],
    [false],
    [0],
    [''],
    ['no'],
    [{}],
    [[]],
    [{ status: '401', headers: [] }],
    [{ status: 401.5, headers: [] }],
    [{ status: Number.NaN, headers: [] }],
    [{ status: 401 }],
    [{ status: 199, headers: [] }],
    [{ status: 600, headers: [] }],
    [{ status: 401, headers: { 'Retry-After': '1' } }],
    [{ status: 401, headers: new Map([['Retry-After', '1']]) }],
    [{ status: 401, headers: ['Retry-After: 1'] }],
    [{ status: 401, headers: [[5, '1']] }],
    [{ status: 401, headers: [['Retry-After', 1]] }],
    [() => undefined],
  ];

  it.each(values)('that returns %j is a 500, reported, and never a pass', async (value) => {
    const ran: string[] = [];
    const guard: Guard = () => value as Reply;
    const late: Guard = async () => value as Reply;
    for (const first of [guard, late, sequence(guard), sequence(late)]) {
      const { exchange, faults } = testExchange();
      const reply = await sequence(first, named(ran).passes('next'))(exchange);
      expect(reply).toMatchObject({ status: 500, problem: { code: 'internal-error' } });
      expect(faults).toEqual([expect.any(TypeError)]);
    }
    expect(ran).toEqual([]);
  });

  it.each([[new Error('broken')], ['text'], [undefined], [null]])(
    'that throws %j is a 500, reported once',
    async (thrown) => {
      const ran: string[] = [];
      const guard: Guard = () => {
        throw thrown;
      };
      const late: Guard = () => Promise.reject(thrown);
      const after = sequence(async () => undefined, guard);
      for (const first of [guard, late, after, sequence(guard), sequence(late)]) {
        const { exchange, faults } = testExchange();
        const reply = await sequence(first, named(ran).passes('next'))(exchange);
        expect(reply).toMatchObject({ status: 500, problem: { code: 'internal-error' } });
        expect(faults).toEqual([thrown]);
      }
      expect(ran).toEqual([]);
    },
  );

  it('tells the client nothing of it', () => {
    const guard: Guard = () => {
      throw new Error('password=hunter2');
    };
    expect(JSON.stringify(sequence(guard)(testExchange().exchange))).not.toContain('hunter2');
  });
});

describe('once the client has gone', () => {
  it('no further guard runs, in nested sequences neither', async () => {
    const ran: string[] = [];
    const { passes } = named(ran);
    const leaves: Guard = async (exchange) => {
      await Promise.resolve();
      exchange.abort();
      return undefined;
    };
    for (const guard of [
      sequence(leaves, passes('a')),
      sequence(sequence(leaves, passes('b')), passes('c')),
      sequence(sequence(sequence(leaves)), passes('d')),
    ]) {
      const { exchange, faults } = testExchange();
      expect(await guard(exchange)).toBeUndefined();
      expect(exchange.outcome).toEqual({ kind: 'aborted' });
      expect(faults).toEqual([]);
    }
    expect(ran).toEqual([]);
  });
});
