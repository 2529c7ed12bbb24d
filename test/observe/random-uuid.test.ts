import { describe, expect, it } from 'vitest';
import { randomUuids } from '../../src/observe/random-uuid.js';

describe('randomUuids', () => {
  it('returns random UUIDs of version 4 and of the variant of RFC 9562', () => {
    const next = randomUuids();
    for (let i = 0; i < 1000; i++) {
      expect(next()).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    }
  });

  it('never returns one twice, neither from one batch to the next nor from two generators', () => {
    const generators = [randomUuids(), randomUuids()];
    const ids = new Set<string>();
    for (let i = 0; i < 50_000; i++) for (const next of generators) ids.add(next());
    expect(ids.size).toBe(100_000);
  });

  it('sets each of the 122 random bits about as often as not', () => {
    const next = randomUuids();
    const ones = new Array<number>(128).fill(0);
    const rounds = 8192;
    for (let i = 0; i < rounds; i++) {
      const bits = BigInt(`0x${next().replaceAll('-', '')}`);
      for (let bit = 0; bit < 128; bit++) ones[127 - bit] = (ones[127 - bit] ?? 0) + Number((bits >> BigInt(bit)) & 1n);
    }
    // The version is 0100, and the variant begins with 10.
    const fixed = new Map([
      [48, 0],
      [49, rounds],
      [50, 0],
      [51, 0],
      [64, rounds],
      [65, 0],
    ]);
    ones.forEach((count, bit) => {
      const expected = fixed.get(bit);
      if (expected !== undefined) expect(count, `bit ${bit}`).toBe(expected);
      // Eight standard deviations.
      else expect(Math.abs(count - rounds / 2), `bit ${bit}`).toBeLessThan(8 * Math.sqrt(rounds / 4));
    });
  });
});
