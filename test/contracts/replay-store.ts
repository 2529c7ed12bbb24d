import { randomBytes } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { ReplayStore } from '../../src/auth/signed-request/replay-store.js';

export interface ReplayStoreSetup {
  /** An empty store. */
  readonly store: ReplayStore;
  /** The same store as other processes see it; empty if processes cannot share it. */
  readonly others: readonly ReplayStore[];
  /** The store's clock, in epoch milliseconds. It does not advance. */
  readonly now: number;
  close?(): void | Promise<void>;
}

const MINUTE = 60_000;

const STRANGE_KEYS: readonly (readonly [what: string, key: string])[] = [
  ['__proto__', '__proto__'],
  ['constructor', 'constructor'],
  ['an empty key', ''],
  ['a zero byte', '\0'],
  ['braces and stars', '{a}*?[b]:c\\'],
  ['line breaks', 'a\r\nb'],
  ['200 characters', 'x'.repeat(200)],
  ['200 characters with another last one', `${'x'.repeat(199)}y`],
];

/** What every replay store promises. */
export function replayStoreContract(name: string, setup: () => ReplayStoreSetup | Promise<ReplayStoreSetup>): void {
  describe(`${name}, as a replay store`, () => {
    let current: ReplayStoreSetup;
    let store: ReplayStore;
    let until: number;

    beforeEach(async () => {
      current = await setup();
      store = current.store;
      until = current.now + MINUTE;
    });

    afterEach(async () => {
      await current.close?.();
    });

    it('reports a new key as new, and a known key as seen', async () => {
      expect(await store.remember('a', until)).toBe('new');
      expect(await store.remember('a', until)).toBe('seen');
      expect(await store.remember('b', until)).toBe('new');
      expect(await store.remember('b', until)).toBe('seen');
      expect(await store.remember('a', until)).toBe('seen');
    });

    it('reports remembered keys by has, which remembers nothing', async () => {
      for (const one of [store, ...current.others]) expect(await one.has?.('a')).not.toBe(true);
      expect(await store.remember('a', until)).toBe('new');
      for (const one of [store, ...current.others]) expect([undefined, true]).toContain(await one.has?.('a'));
      expect(await store.has?.('b')).not.toBe(true);
      expect(await store.remember('b', until)).toBe('new');
    });

    it('reports a known key as seen, whatever expiry it comes with', async () => {
      expect(await store.remember('a', until)).toBe('new');
      expect(await store.remember('a', until + MINUTE)).toBe('seen');
      expect(await store.remember('a', until - MINUTE / 2)).toBe('seen');
    });

    it('reports a key as new to exactly one of 200 concurrent calls, from several processes', async () => {
      const stores = [store, ...current.others];
      for (const key of ['a', 'b', 'c']) {
        const answers = await Promise.all(
          Array.from({ length: 200 }, (_, i) => stores[i % stores.length]?.remember(key, until)),
        );
        expect(answers.filter((answer) => answer === 'new')).toHaveLength(1);
        expect(answers.filter((answer) => answer === 'seen')).toHaveLength(199);
      }
    });

    it('distinguishes 1,000 keys, and remembers all of them', async () => {
      const keys = Array.from({ length: 1000 }, () => randomBytes(16).toString('base64url'));
      const answers = (answer: string) => keys.map(() => answer);
      expect(await Promise.all(keys.map((key) => store.remember(key, until)))).toEqual(answers('new'));
      expect(await Promise.all(keys.map((key) => store.remember(key, until)))).toEqual(answers('seen'));
    });

    it.each(STRANGE_KEYS)('distinguishes a key of %s from other keys', async (_what, key) => {
      for (const [, other] of STRANGE_KEYS) if (other !== key) await store.remember(other, until);
      expect(await store.remember(key, until)).toBe('new');
      expect(await store.remember(key, until)).toBe('seen');
    });

    it.each([
      ['has expired just now', 0],
      ['expired a second ago', -1000],
      ['expired long ago', Number.NEGATIVE_INFINITY],
      ['expires at NaN', Number.NaN],
    ])('never reports a key as new that %s', async (_when, offset) => {
      expect(await store.remember('a', current.now + offset)).toBe('seen');
      expect(await store.remember('a', until)).toBe('new');
    });
  });
}
