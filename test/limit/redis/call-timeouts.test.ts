import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { CallTimeouts } from '../../../src/limit/redis/call-timeouts.js';

/** Waits until a number of calls have ended. */
async function ended(list: readonly unknown[], count: number): Promise<void> {
  for (let i = 0; list.length < count && i < 1000; i++) await delay(5);
}

describe('the timeouts of calls', () => {
  it('end each call that is not answered once, in the order in which they began', async () => {
    const timeouts = new CallTimeouts(30);
    const timedOut: string[] = [];
    const waits = ['a', 'b', 'c', 'd', 'e'].map((name) => timeouts.begin(() => timedOut.push(name)));
    const [a, b, , d, e] = waits;
    // The last, one in the middle, and one that is then asked for again.
    for (const wait of [e, b]) expect(wait !== undefined && timeouts.end(wait)).toBe(true);
    expect(b !== undefined && timeouts.end(b)).toBe(false);
    await ended(timedOut, 3);
    expect(timedOut).toEqual(['a', 'c', 'd']);
    for (const wait of [a, d]) expect(wait !== undefined && timeouts.end(wait)).toBe(false);
    timeouts.begin(() => timedOut.push('later'));
    await ended(timedOut, 4);
    expect(timedOut).toEqual(['a', 'c', 'd', 'later']);
  });

  it('let a call that is told of its end begin another', async () => {
    const timeouts = new CallTimeouts(20);
    const timedOut: string[] = [];
    timeouts.begin(() => {
      timedOut.push('first');
      timeouts.begin(() => timedOut.push('second'));
    });
    await ended(timedOut, 2);
    expect(timedOut).toEqual(['first', 'second']);
  });

  it('keep nothing of a call that has ended', () => {
    const timeouts = new CallTimeouts(60_000);
    const waits = Array.from({ length: 5 }, () => timeouts.begin(() => undefined));
    for (const wait of waits) {
      timeouts.end(wait);
      expect(wait).toEqual({ until: wait.until, onTimeout: undefined, earlier: undefined, later: undefined });
    }
  });
});
