import fc from 'fast-check';
import type { Redis } from 'ioredis';
import { beforeAll, expect, it } from 'vitest';
import { dailyQuota, type QuotaPolicy, slidingWindow } from '../../../src/limit/policy.js';
import { type Answer, admission, type Operation } from '../../../src/limit/redis/operation.js';
import { ManualClock } from '../../contracts/limit-store.js';
import { describeRedis } from '../../redis/describe.js';
import { useRedis } from '../../redis/suite.js';
import { SHARED_MARKER, scriptOf } from './script-fixture.js';

/** `npm run test:long` asks for more. */
const RUNS = Math.ceil(Number(process.env.PROPERTY_RUNS ?? 500) / 4);
const START = Date.UTC(2025, 9, 25, 21);

const minute = slidingWindow({ limit: 3, window: '1m' });
const coarse = slidingWindow({ limit: 700, window: '1m', name: 'coarse' });
const day = dailyQuota({ limit: 5 });
const LISTS: readonly (readonly QuotaPolicy[])[] = [[minute], [day], [minute, day], [day, minute], [coarse]];
const KEYS = 6;
const UNITS = [1, 1, 1, 2, 300];

interface Request {
  readonly list: number;
  readonly key: number;
  readonly units: number;
}

/** Mostly alike, and of keys in turn: these are sent as one. */
const request: fc.Arbitrary<Request> = fc.record({
  list: fc.constantFrom(0, 0, 0, 2, 2, 1, 3, 4),
  key: fc.nat(KEYS - 1),
  units: fc.nat(UNITS.length - 1),
});
const alike = fc
  .tuple(fc.constantFrom(0, 2, 3, 4), fc.nat(KEYS - 1), fc.integer({ min: 2, max: 9 }), fc.boolean())
  .map(([list, first, count, isOneKey]) =>
    Array.from({ length: count }, (_, i): Request => ({ list, key: isOneKey ? first : (first + i) % KEYS, units: 0 })),
  );
const call = fc
  .array(fc.oneof(fc.array(request, { maxLength: 4 }), alike), { maxLength: 4 })
  .map((parts) => parts.flat());
const step = fc.record({ ms: fc.constantFrom(0, 0, 1, 20_000, 61_000, -500), requests: call });

let runs = 0;

describeRedis('admissions in one call', () => {
  const server = useRedis();
  let client: Redis;
  beforeAll(() => {
    client = server.client();
  });

  function open(now: () => number): (operations: readonly Operation[]) => Promise<readonly Answer[]> {
    const script = scriptOf(client, { now });
    return (operations) => script.send(script.prepare(operations, SHARED_MARKER));
  }

  function operationOf({ list, key, units }: Request, prefix: string): Operation {
    const policies = LISTS[list] as readonly QuotaPolicy[];
    const charge = UNITS[units] as number;
    return admission(
      policies,
      policies.map(() => `${prefix}${key}`),
      policies.map(() => charge),
    );
  }

  it(
    'are decided as if each had a call of its own',
    async () => {
      const property = fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 8 }), async (steps) => {
        const [together, alone] = [`t${runs}:`, `a${runs++}:`];
        const clock = new ManualClock(START);
        const send = open(clock.now);
        // One of the keys has what only the general path can read.
        await client.rpush(`${together}0`, 'x');
        await client.rpush(`${alone}0`, 'x');
        for (const { ms, requests } of steps) {
          clock.advance(ms);
          if (requests.length === 0) continue;
          const answers = await send(requests.map((each) => operationOf(each, together)));
          const expected: Answer[] = [];
          for (const each of requests) expected.push(...(await send([operationOf(each, alone)])));
          expect(answers).toEqual(expected);
        }
        const stored = async (key: string) => (await client.getBuffer(key))?.toString('hex');
        for (let key = 1; key < KEYS; key++)
          expect(await stored(`${together}${key}`)).toBe(await stored(`${alone}${key}`));
      });
      await fc.assert(property, { numRuns: RUNS });
    },
    RUNS * 200 + 30_000,
  );

  it('take little room if they differ only in their keys', async () => {
    const send: number[] = [];
    const script = scriptOf(client);
    for (const count of [1, 25]) {
      const operations = Array.from({ length: count }, (_, key) => operationOf({ list: 2, key, units: 0 }, 'size:'));
      const { args } = script.prepare(operations, SHARED_MARKER);
      send.push(args.at(-1)?.length ?? 0);
    }
    expect(send[0]).toBe(send[1]);
  });
});
