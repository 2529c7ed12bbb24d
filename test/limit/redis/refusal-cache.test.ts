import { describe, expect, it } from 'vitest';
import { slidingWindow } from '../../../src/limit/policy.js';
import { RefusalCache, requestText } from '../../../src/limit/redis/refusal-cache.js';

describe('the cache of refusals', () => {
  const a = slidingWindow({ limit: 5, window: '1m', name: 'a' });
  const b = slidingWindow({ limit: 7, window: '1m', name: 'b' });

  it.each([
    ['units', requestText([a], ['key'], [1]), requestText([a], ['key'], [11])],
    ['limits', requestText([a], ['key'], [1]), requestText([{ ...a, limit: 51 }], ['key'], [1])],
    ['policies', requestText([a], ['key'], [1]), requestText([b], ['key'], [1])],
    ['orders', requestText([a, b], ['x', 'y'], [1, 2]), requestText([b, a], ['x', 'y'], [1, 2])],
    // A caller may choose its key, in a header for example. It must not be able to have others refused.
    [
      'keys, one of which is written like a second policy',
      requestText([a], [`x ${b.id} ${b.limit} 1 y`], [1]),
      requestText([a, b], ['x', 'y'], [1, 1]),
    ],
    [
      'keys, one of which is written like a second policy with its length',
      requestText([a], [`x ${b.id} ${b.limit} 1 1 y`], [1]),
      requestText([a, b], ['x', 'y'], [1, 1]),
    ],
  ])('tells apart requests with other %s', (_, one, other) => {
    expect(one).not.toBe(other);
  });

  it('knows the same request again', () => {
    expect(requestText([a, b], ['x', 'y'], [1, 2])).toBe(requestText([{ ...a }, { ...b }], ['x', 'y'], [1, 2]));
  });

  it('moves the reset time of an unused counter to the present, in states and violations', () => {
    const cache = new RefusalCache(1000);
    // More units than the limit: refused although nothing is used.
    const unused = { name: 'a', limit: 5, remaining: 5, resetAt: 1_000_000 };
    cache.add('request', {
      kind: 'refused',
      at: 1_000_000,
      states: [unused],
      violations: [{ state: unused, retryAt: null }],
    });
    const present = { ...unused, resetAt: 1_000_001 };
    expect(cache.get('request', ['key'], 1_000_001)).toEqual({
      kind: 'refused',
      at: 1_000_001,
      states: [present],
      violations: [{ state: present, retryAt: null }],
    });
  });

  it('forgets a refusal whose key was changed, however many others were changed since', () => {
    const cache = new RefusalCache(60_000);
    const state = { name: 'a', limit: 5, remaining: 0, resetAt: 2_000_000 };
    const refusal = {
      kind: 'refused',
      at: 1_000_000,
      states: [state],
      violations: [{ state, retryAt: null }],
    } as const;
    cache.add('request', refusal);
    cache.changed(['key']);
    // More than it remembers.
    for (let i = 0; i < 10_001; i++) cache.changed([`other ${i}`]);
    expect(cache.get('request', ['key'], 1_000_001)).toBeUndefined();
    cache.add('request', refusal);
    expect(cache.get('request', ['key'], 1_000_001)).toMatchObject({ kind: 'refused' });
  });
});
