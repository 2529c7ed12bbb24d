import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { OptionError } from '../../src/core/option.js';
import {
  type MemoryIdempotencyStoreOptions,
  memoryIdempotencyStore,
} from '../../src/jobs/idempotency/memory-idempotency-store.js';
import { idempotencyStoreContract } from '../contracts/idempotency-store.js';

const RUNS = Number(process.env.PROPERTY_RUNS ?? 300);

function openStore(options: MemoryIdempotencyStoreOptions = {}) {
  let now = 1_800_000_000_000;
  const store = memoryIdempotencyStore({ now: () => now, ...options });
  return {
    store,
    pass(ms: number) {
      now += ms;
    },
  };
}

idempotencyStoreContract('memoryIdempotencyStore', () => {
  const { store, pass } = openStore();
  return { stores: [store], pass };
});

const LARGE = { status: 200, headers: [['location', '/jobs/1']] as const, body: Buffer.alloc(100) };

describe('memoryIdempotencyStore', () => {
  it('reports that it is full, forgets no answer for a new key, and has room again when one has expired', () => {
    const { store, pass } = openStore({ maxEntries: 2, maxEntriesPerClient: 2 });
    store.begin('a', 'f', '1', 1000);
    store.finish('a', 'f', '1', LARGE, 5000);
    store.begin('b', 'f', '1', 1000);
    expect(store.begin('c', 'f', '1', 1000)).toEqual({ kind: 'full' });
    expect(store.begin('a', 'f', '2', 1000)).toMatchObject({ kind: 'answered' });
    pass(2000);
    expect(store.begin('c', 'f', '1', 1000)).toEqual({ kind: 'new' });
    expect(store.size).toBe(2);
  });

  it('lets no client use up the room of the others', () => {
    const { store, pass } = openStore({ maxEntries: 20 });
    for (const key of ['ann:1', 'ann:2', 'bob:1']) {
      expect(store.begin(key, 'f', '1', 1000)).toEqual({ kind: 'new' });
      store.finish(key, 'f', '1', LARGE, 5000);
    }
    expect(store.begin('ann:3', 'f', '1', 1000)).toEqual({ kind: 'full' });
    expect(store.begin('bob:2', 'f', '1', 1000)).toEqual({ kind: 'new' });
    store.release('bob:2', '1');
    expect(store.begin('bob:3', 'f', '1', 1000)).toEqual({ kind: 'new' });
    pass(5000);
    expect(store.begin('ann:3', 'f', '1', 1000)).toEqual({ kind: 'new' });
  });

  it('gives up the oldest bodies when there are too many bytes, but not their keys', () => {
    const { store } = openStore({ maxBytes: 250 });
    for (const key of ['a', 'b', 'c']) {
      store.begin(key, 'f', '1', 1000);
      store.finish(key, 'f', '1', LARGE, 5000);
    }
    expect(store.bytes).toBeLessThanOrEqual(250);
    expect(store.begin('a', 'f', '2', 1000)).toEqual({
      kind: 'answered',
      fingerprint: 'f',
      answer: { status: 200, headers: [['Location', '/jobs/1']], body: undefined },
    });
    expect(store.begin('c', 'f', '2', 1000)).toMatchObject({ answer: { body: LARGE.body } });
  });

  it('never holds more than it may, and counts its bytes exactly, whatever happens', () => {
    const key = fc.constantFrom('a', 'b', 'c', 'd', 'e', 'f');
    const holder = fc.constantFrom('1', '2');
    const step = fc.oneof(
      fc.tuple(fc.constant('begin' as const), key, holder, fc.integer({ min: 1, max: 50 })),
      fc.tuple(fc.constant('finish' as const), key, holder, fc.integer({ min: 1, max: 90 })),
      fc.tuple(fc.constant('renew' as const), key, holder, fc.integer({ min: 1, max: 50 })),
      fc.tuple(fc.constant('release' as const), key, holder, fc.constant(0)),
      fc.tuple(fc.constant('pass' as const), key, holder, fc.integer({ min: 1, max: 1500 })),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const { store, pass } = openStore({ maxEntries: 4, maxEntriesPerClient: 4, maxBytes: 200 });
        for (const [verb, name, by, amount] of steps) {
          if (verb === 'begin') store.begin(name, 'f', by, amount);
          if (verb === 'renew') store.renew(name, by, amount);
          if (verb === 'release') store.release(name, by);
          if (verb === 'pass') pass(amount);
          if (verb === 'finish' && store.begin(name, 'f', by, 10).kind === 'new') {
            store.finish(name, 'f', by, { status: 200, headers: [], body: Buffer.alloc(amount) }, amount);
          }
          expect(store.size).toBeLessThanOrEqual(4);
          expect(store.bytes).toBeLessThanOrEqual(200);
          expect(store.bytes).toBeGreaterThanOrEqual(0);
        }
        pass(10_000);
        for (const name of ['x', 'y', 'z', 'w']) expect(store.begin(name, 'f', '1', 1)).toEqual({ kind: 'new' });
        expect(store.bytes).toBe(0);
      }),
      { numRuns: RUNS },
    );
  });

  it.each([
    ['no entries', { maxEntries: 0 }, '"maxEntries"'],
    ['more entries of a client than of all', { maxEntries: 2, maxEntriesPerClient: 3 }, '"maxEntriesPerClient"'],
    ['a size without a unit', { maxBytes: '12' }, '"maxBytes"'],
    ['a clock that is not a function', { now: 1 }, '"now"'],
    ['a misspelt option', { maxentries: 1 }, '"maxentries"'],
  ])('refuses %s', (_what, options, named) => {
    const make = () => memoryIdempotencyStore(options as MemoryIdempotencyStoreOptions);
    expect(make).toThrow(OptionError);
    expect(make).toThrow(named);
  });
});
