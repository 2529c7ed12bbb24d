import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { IdempotencyAnswer, IdempotencyStore } from '../../src/jobs/idempotency/idempotency-store.js';

export interface IdempotencyStoreSetup {
  /** An empty store, and the same store as other processes see it. */
  readonly stores: readonly IdempotencyStore[];
  /** Lets this many milliseconds pass by the store's clock. */
  readonly pass: (ms: number) => void | Promise<void>;
  close?(): void | Promise<void>;
}

/** Of keys whose lease ends in a test. */
const LEASE = 200;
/** Of the others: also on a machine under load, no test takes so long. */
const LONG = 60_000;
const TTL = 60_000;
const KEY = `${'c'.repeat(22)}:${'k'.repeat(43)}`;

function answer(body: string | undefined): IdempotencyAnswer {
  return {
    status: 201,
    headers: [['location', '/jobs/1']],
    body: body === undefined ? undefined : Buffer.from(body, 'latin1'),
  };
}

/** What every idempotency store promises. */
export function idempotencyStoreContract(
  name: string,
  setup: () => IdempotencyStoreSetup | Promise<IdempotencyStoreSetup>,
) {
  describe(`${name}, as an idempotency store`, () => {
    let current: IdempotencyStoreSetup;
    let store: IdempotencyStore;
    let other: IdempotencyStore;

    beforeEach(async () => {
      current = await setup();
      const [first, second = first] = current.stores;
      if (first === undefined || second === undefined) throw new Error('no store');
      store = first;
      other = second;
    });

    afterEach(async () => {
      await current.close?.();
    });

    const begin = (holder = 'a', { by = store, fingerprint = 'f', key = KEY, lease = LONG } = {}) =>
      by.begin(key, fingerprint, holder, lease);
    const finish = (holder = 'a', what = answer('done'), ttl = TTL, by = store) =>
      by.finish(KEY, 'f', holder, what, ttl);

    it('gives a free key to one of many that ask at once, and names its fingerprint to the others', async () => {
      const begun = await Promise.all(
        Array.from({ length: 8 }, (_, i) => begin(String(i), { by: i % 2 === 0 ? store : other })),
      );
      expect(begun.filter(({ kind }) => kind === 'new')).toHaveLength(1);
      expect(begun.filter(({ kind }) => kind !== 'new')).toEqual(Array(7).fill({ kind: 'running', fingerprint: 'f' }));
    });

    it('gives the key to its holder again, since a command may be sent twice', async () => {
      expect([await begin(), await begin()]).toEqual([{ kind: 'new' }, { kind: 'new' }]);
      expect(await begin('b')).toEqual({ kind: 'running', fingerprint: 'f' });
    });

    it('frees the key at the end of its lease, not before, and a renewed one later', async () => {
      await begin();
      expect(await store.renew(KEY, 'a', LONG)).toBe(true);
      await current.pass(LEASE);
      expect(await begin('b', { by: other })).toMatchObject({ kind: 'running' });
      expect(await store.renew(KEY, 'a', LEASE / 2)).toBe(true);
      await current.pass(LEASE);
      expect(await store.renew(KEY, 'a', LEASE)).toBe(false);
      expect(await begin('b', { by: other })).toEqual({ kind: 'new' });
    });

    it.each([
      ['an answer of a text', 'done'],
      ['an answer of no bytes', ''],
      ['an answer of every byte', Array.from({ length: 256 }, (_, i) => String.fromCharCode(i)).join('')],
      ['an answer that is not repeated', undefined],
    ])('remembers %s', async (_what, body) => {
      await begin('a', { lease: LEASE });
      expect(await finish('a', answer(body))).toBe(true);
      await current.pass(2 * LEASE);
      for (const by of [store, other]) {
        const begun = await begin('b', { by, fingerprint: 'other' });
        if (begun.kind !== 'answered') throw new Error(begun.kind);
        expect(begun.fingerprint).toBe('f');
        expect(begun.answer).toMatchObject({ status: 201, headers: [['location', '/jobs/1']] });
        expect(begun.answer.body === undefined ? undefined : Buffer.from(begun.answer.body).toString('latin1')).toBe(
          body,
        );
      }
    });

    it('forgets an answer at the end of its time', async () => {
      await begin();
      await finish('a', answer('done'), LEASE);
      await current.pass(LEASE + 1);
      expect(await begin('b')).toEqual({ kind: 'new' });
    });

    it('takes an answer once more from its holder, and from no other', async () => {
      await begin();
      expect(await finish('b')).toBe(false);
      expect([await finish(), await finish()]).toEqual([true, true]);
      expect(await finish('b', answer('other'), TTL, other)).toBe(false);
      expect(await begin('b')).toMatchObject({ kind: 'answered', answer: { status: 201 } });
    });

    it('takes a late answer if no other request has begun since, and none otherwise', async () => {
      await begin('a', { lease: LEASE });
      await current.pass(LEASE + 1);
      expect(await finish()).toBe(true);
      await begin('b', { key: `${KEY}2`, lease: LEASE });
      await current.pass(LEASE + 1);
      await begin('c', { key: `${KEY}2` });
      expect(await store.finish(`${KEY}2`, 'f', 'b', answer('done'), TTL)).toBe(false);
    });

    it('frees a key for its holder only, and never an answer', async () => {
      await begin();
      await other.release(KEY, 'b');
      expect(await begin('b')).toMatchObject({ kind: 'running' });
      await store.release(KEY, 'a');
      expect(await begin('b')).toEqual({ kind: 'new' });
      await finish('b');
      await store.release(KEY, 'b');
      expect(await store.renew(KEY, 'b', LEASE)).toBe(false);
      await current.pass(LEASE + 1);
      expect(await begin('c')).toMatchObject({ kind: 'answered' });
    });

    it('keeps keys apart', async () => {
      expect([await begin(), await begin('a', { key: `${KEY}2` })]).toEqual([{ kind: 'new' }, { kind: 'new' }]);
    });
  });
}
