import { beforeEach, describe, expect, it } from 'vitest';
import type { Measure, OperatorStore } from '../../src/operator/index.js';

const NOW = Date.UTC(2026, 10, 22, 3);

export function measure(parts: Partial<Measure> = {}): Measure {
  return { kind: 'suspended', client: 'alice', since: NOW, until: undefined, by: 'olga', ...parts };
}

/** What every operator store promises. Each store is empty. */
export function operatorStoreContract(name: string, newStore: () => OperatorStore | Promise<OperatorStore>): void {
  describe(`${name}, as an operator store`, () => {
    let store: OperatorStore;
    beforeEach(async () => {
      store = await newStore();
    });

    const listed = async () => [...(await store.list())].sort((a, b) => (a.client < b.client ? -1 : 1));

    it('is empty at first, and removes nothing that is not there', async () => {
      expect(await listed()).toEqual([]);
      expect(await store.remove('suspended', 'alice')).toBe(false);
    });

    it('keeps a measure as it was, until it is removed', async () => {
      expect(await store.add(measure())).toBe('added');
      expect(await listed()).toEqual([measure()]);
      expect(await store.remove('suspended', 'alice')).toBe(true);
      expect(await listed()).toEqual([]);
      expect(await store.remove('suspended', 'alice')).toBe(false);
    });

    it('keeps the first of two, and says that there is one', async () => {
      await store.add(measure());
      expect(await store.add(measure({ since: NOW + 5, by: 'oscar' }))).toBe('exists');
      expect(await listed()).toEqual([measure()]);
    });

    it('replaces one that has ended', async () => {
      const ending = measure({ kind: 'exceeds-quotas', until: NOW + 1000 });
      await store.add(ending);
      expect(await store.add({ ...ending, since: NOW + 999, until: NOW + 1999 })).toBe('exists');
      const next = { ...ending, since: NOW + 1000, until: NOW + 2000 };
      expect(await store.add(next)).toBe('added');
      expect(await listed()).toEqual([next]);
    });

    it('keeps the two kinds of one client apart', async () => {
      const exceeds = measure({ kind: 'exceeds-quotas', until: NOW + 1000 });
      await store.add(measure());
      expect(await store.add(exceeds)).toBe('added');
      expect(await store.remove('suspended', 'alice')).toBe(true);
      expect(await listed()).toEqual([exceeds]);
    });

    it.each([
      ['__proto__', '__proto__'],
      ['the field of the version', 'v'],
      ['markup', '<img src=x onerror=alert(1)>'],
      ['control characters', 'a b:c\u0000"\\\n'],
      ['other scripts', 'é漢😀'],
      ['a long name', 'x'.repeat(1000)],
    ])('keeps a client of any name: %s', async (_what, client) => {
      expect(await store.add(measure({ client }))).toBe('added');
      expect(await store.add(measure({ client: 'bob' }))).toBe('added');
      expect((await listed()).map((one) => one.client).sort()).toEqual([client, 'bob'].sort());
      expect(await store.remove('suspended', client)).toBe(true);
      expect(await listed()).toEqual([measure({ client: 'bob' })]);
    });

    it('adds one of many at the same moment', async () => {
      const results = await Promise.all(
        Array.from({ length: 20 }, (_, i) => store.add(measure({ by: `operator-${i}` }))),
      );
      expect(results.filter((result) => result === 'added')).toHaveLength(1);
      expect(await listed()).toHaveLength(1);
    });
  });
}
