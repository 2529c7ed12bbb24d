import { setTimeout as delay } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import { beforeAll, expect, it } from 'vitest';
import { slidingWindow } from '../../../src/limit/policy.js';
import { admission } from '../../../src/limit/redis/operation.js';
import type { ScriptCall } from '../../../src/limit/redis/script-call.js';
import { ManualClock } from '../../contracts/limit-store.js';
import { describeRedis } from '../../redis/describe.js';
import { useRedis } from '../../redis/suite.js';
import { scriptOf } from './script-fixture.js';

/** How many calls of one process share no marker. */
const MARKERS = 256;
const policies = [slidingWindow({ limit: 1000, window: '1h' })];

describeRedis('the marker of a call, which later calls use again', () => {
  const server = useRedis();
  let client: Redis;
  beforeAll(() => {
    client = server.client();
  });

  /** Calls that all have the same marker. */
  function open(now: (() => number) | undefined, rememberFor: number) {
    const script = scriptOf(client, { now });
    const next = (key: string): ScriptCall => {
      const operations = [admission(policies, [key], [1])];
      for (let i = 1; i < MARKERS; i++)
        script.prepare(operations, { rememberFor, ownMarker: false, expiresAfter: undefined });
      return script.prepare(operations, { rememberFor, ownMarker: false, expiresAfter: undefined });
    };
    return { script, next };
  }

  it.each([
    ['of the server', undefined],
    ['that was passed in', new ManualClock(Date.UTC(2020, 0, 1)).now],
  ])('remembers each reply for as long as it should, by the clock %s', async (what, now) => {
    const rememberFor = 300;
    const { script, next } = open(now, rememberFor);
    let wasKept = 0;
    let before = 0;
    for (let i = 0; i < 60; i++) {
      const call = next(`life-${what}`);
      const sent = performance.now();
      await script.send(call);
      const left = await client.pttl(String(call.args[0]));
      expect(left + performance.now() - sent).toBeGreaterThanOrEqual(rememberFor - 1);
      expect(left).toBeLessThanOrEqual(2 * rememberFor);
      if (left < before) wasKept++;
      before = left;
      await delay(12);
    }
    // To set the time costs the server as much as to set the value. A clock of its own says nothing about that time.
    if (now === undefined) expect(wasKept).toBeGreaterThan(5);
  });

  it('answers a call that is sent again with what it did, and runs it once', async () => {
    const { script, next } = open(undefined, 5000);
    for (let i = 1; i <= 3; i++) {
      const call = next('again');
      const first = await script.send(call);
      expect(first).toMatchObject([{ status: 'admitted', charged: [{ total: i }] }]);
      expect(await script.send(call)).toEqual(first);
    }
  });

  it('reports a call as lost that is sent again after a later one', async () => {
    const { script, next } = open(undefined, 5000);
    const call = next('late');
    await script.send(call);
    await script.send(next('late'));
    await expect(script.send(call)).rejects.toThrow('Redis ran the call, but its reply was lost');
    expect(await script.send(next('late'))).toMatchObject([{ charged: [{ total: 3 }] }]);
  });
});
