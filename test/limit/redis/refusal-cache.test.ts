import { describe, expect, it } from 'vitest';
import { slidingWindow } from '../../../src/limit/policy.js';
import { requestText } from '../../../src/limit/redis/refusal-cache.js';

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
});
