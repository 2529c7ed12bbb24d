import { setTimeout as delay } from 'node:timers/promises';
import fc from 'fast-check';
import type { Redis } from 'ioredis';
import { beforeAll, expect, it } from 'vitest';
import { dailyQuota, type QuotaPolicy, slidingWindow } from '../../../src/limit/policy.js';
import {
  type Answer,
  admission,
  type Charged,
  correction,
  type Operation,
  peek,
  reset,
} from '../../../src/limit/redis/operation.js';
import type { ScriptClient } from '../../../src/limit/redis/script-client.js';
import { SCRIPT } from '../../../src/limit/redis/script-text.js';
import { ManualClock } from '../../contracts/limit-store.js';
import { describeRedis } from '../../redis/describe.js';
import { useRedis } from '../../redis/suite.js';
import { SHARED_MARKER, scriptOf } from './script-fixture.js';

/** `npm run test:long` asks for more. */
const RUNS = Number(process.env.PROPERTY_RUNS ?? 500);
const STEPS = 40;
const START = Date.UTC(2025, 9, 25, 21);

/** The script's number for an admission of the straight path that the general path has to run. */
const BY_THE_GENERAL_PATH = 255;

/** By number; the limit differs from step to step. */
const WINDOWS: readonly ((limit: number) => QuotaPolicy)[] = [
  (limit) => slidingWindow({ limit, window: '1s' }),
  (limit) => slidingWindow({ limit, window: '61007ms' }),
  (limit) => slidingWindow({ limit, window: '60d' }),
  (limit) => slidingWindow({ limit, window: '100ms' }),
];
const DAYS: readonly ((limit: number) => QuotaPolicy)[] = [
  (limit) => dailyQuota({ limit }),
  (limit) => dailyQuota({ limit, timeZone: 'Europe/Berlin' }),
];

type Step =
  | { readonly kind: 'wait'; readonly ms: number }
  | {
      readonly kind: 'admit';
      readonly window: number | undefined;
      readonly day: number | undefined;
      readonly dayFirst: boolean;
      readonly limits: readonly [number, number];
      readonly units: readonly [number, number];
    }
  | { readonly kind: 'settle'; readonly which: number; readonly delta: number; readonly bounded: boolean }
  | { readonly kind: 'reset' };

const limit = fc.constantFrom(1, 2, 5, 60, 512, 513, 2000, 100_000);
const units = fc.oneof(fc.constant(1), fc.integer({ min: 1, max: 9 }), fc.integer({ min: 1, max: 70_000 }));

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant('wait' as const),
      ms: fc.oneof(
        fc.nat(3),
        fc.nat(1500),
        fc.nat(70_000),
        fc.integer({ min: -3000, max: -1 }),
        fc.constantFrom(999, 1000, 1001, 3_600_000, 86_400_000, 61 * 86_400_000, -7_200_000, -90_000_000),
      ),
    }),
  },
  {
    weight: 14,
    arbitrary: fc.record({
      kind: fc.constant('admit' as const),
      // Mostly the same policies, so that values have what the straight path expects.
      window: fc.constantFrom(0, 0, 0, 0, 0, 1, 2, 3, undefined),
      day: fc.constantFrom(0, 0, 0, 0, 0, 1, undefined, undefined),
      dayFirst: fc.boolean(),
      limits: fc.tuple(limit, limit),
      units: fc.tuple(units, units),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('settle' as const),
      which: fc.nat(),
      delta: fc.oneof(fc.integer({ min: -9, max: 9 }), fc.constantFrom(-70_000, 255, 256, 65_536, 5_000_000_000)),
      bounded: fc.boolean(),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('reset' as const) }) },
);

/** Few units, so that limits are reached, lowered and raised while units are in use, and entries are emptied. */
const stepNearTheBound: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({ kind: fc.constant('wait' as const), ms: fc.constantFrom(1, 100, 300, 600, -200) }),
  },
  {
    weight: 12,
    arbitrary: fc.record({
      kind: fc.constant('admit' as const),
      window: fc.constantFrom(0, 0, 0, 2),
      day: fc.constantFrom(0, undefined),
      dayFirst: fc.boolean(),
      limits: fc.tuple(fc.constantFrom(1, 2, 5), fc.constantFrom(3, 65_600)),
      units: fc.tuple(fc.integer({ min: 1, max: 4 }), fc.constantFrom(1, 1, 65_535)),
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant('settle' as const),
      which: fc.nat(),
      delta: fc.constantFrom(-4, -1, 1, 3),
      // What is bounded is noted beside the counter, and a value with such a note is for the general path.
      bounded: fc.constantFrom(false, false, false, false, true),
    }),
  },
);

const steps = fc.oneof(
  fc.array(step, { minLength: 5, maxLength: STEPS }),
  fc.array(stepNearTheBound, { minLength: 5, maxLength: STEPS }),
);

function policiesOf({ window, day, dayFirst, limits }: Extract<Step, { kind: 'admit' }>): readonly QuotaPolicy[] {
  const policies: QuotaPolicy[] = [];
  if (window !== undefined) policies.push((WINDOWS[window] as (limit: number) => QuotaPolicy)(limits[0]));
  if (day !== undefined) policies.push((DAYS[day] as (limit: number) => QuotaPolicy)(limits[1]));
  return dayFirst ? policies.reverse() : policies;
}

/** The same admission, run by the general path. */
function byTheGeneralPath(operation: Operation): Operation {
  return {
    keys: operation.keys,
    size: operation.size,
    pack(packed, start, places) {
      const end = operation.pack(packed, start, places);
      expect(packed[start], 'the number of an operation of the straight path').toBe(0);
      packed[start] = BY_THE_GENERAL_PATH;
      return end;
    },
    read: (status, at, reply) => operation.read(status, at, reply),
  };
}

/** A script whose general path always fails. */
const STRAIGHT_ONLY = SCRIPT.replace('local function general(...)', 'local function general(...) error("general")');

let runs = 0;

describeRedis('the straight path of the script', () => {
  const server = useRedis();
  let client: Redis;
  beforeAll(() => {
    client = server.client();
  });

  function run(script: ScriptClient, operations: readonly Operation[]): Promise<readonly Answer[]> {
    return script.send(script.prepare(operations, SHARED_MARKER));
  }

  /** The answers must be equal. Returns the first. */
  async function both(script: ScriptClient, make: (key: string) => readonly [Operation, Operation], key: string) {
    const [straight] = make(`s${key}`);
    const [, general] = make(`g${key}`);
    const [first, second] = await run(script, [straight, general]);
    expect(first).toEqual(second);
    expect((await client.getBuffer(`s${key}`))?.toString('hex')).toBe(
      (await client.getBuffer(`g${key}`))?.toString('hex'),
    );
    return first as Answer;
  }

  it(
    'decides and stores as the general path does',
    async () => {
      const property = fc.asyncProperty(steps, async (list) => {
        const key = `:${runs++}`;
        const clock = new ManualClock(START);
        const script = scriptOf(client, { now: clock.now });
        const charges: { policies: readonly QuotaPolicy[]; charged: readonly Charged[] }[] = [];
        for (const step of list) {
          if (step.kind === 'wait') clock.advance(step.ms);
          else if (step.kind === 'admit') {
            const policies = policiesOf(step);
            if (policies.length === 0) continue;
            const make = (name: string): readonly [Operation, Operation] => {
              const keys = policies.map(() => name);
              const operation = admission(policies, keys, step.units.slice(0, policies.length));
              return [operation, byTheGeneralPath(operation)];
            };
            const { status, charged } = await both(script, make, key);
            if (status === 'admitted') charges.push({ policies, charged });
          } else if (step.kind === 'settle') {
            const charge = charges[step.which % Math.max(1, charges.length)];
            if (charge === undefined) continue;
            const { policies, charged } = charge;
            const make = (name: string): readonly [Operation, Operation] => {
              const keys = policies.map(() => name);
              const deltas = policies.map(() => step.delta);
              const operation = correction(policies, keys, charged, deltas, step.bounded);
              return [operation, operation];
            };
            await both(script, make, key);
          } else {
            const policies = [slidingWindow({ limit: 1, window: '1s' }), dailyQuota({ limit: 1 })];
            const make = (name: string): readonly [Operation, Operation] => {
              const operation = reset(policies, [name, name]);
              return [operation, operation];
            };
            await both(script, make, key);
          }
        }
      });
      await fc.assert(property, { numRuns: RUNS });
    },
    RUNS * 200 + 30_000,
  );

  it('skips an entry that a correction has emptied', async () => {
    const clock = new ManualClock(START);
    const script = scriptOf(client, { now: clock.now });
    const policies = [slidingWindow({ limit: 5, window: '1s' })];
    const admit = (name: string): readonly [Operation, Operation] => {
      const operation = admission(policies, [name], [1]);
      return [operation, byTheGeneralPath(operation)];
    };
    await both(script, admit, 'emptied');
    clock.advance(100);
    const { charged } = await both(script, admit, 'emptied');
    const undo = (name: string) => correction(policies, [name], charged, [-1]);
    await both(script, (name) => [undo(name), undo(name)], 'emptied');
    clock.advance(100);
    await both(script, admit, 'emptied');
    clock.advance(800);
    const { charged: after } = await both(script, admit, 'emptied');
    expect(after).toMatchObject([{ total: 2, resetAt: START + 200 + 1000 }]);
  });

  it('runs a value again once what was given back has left its window', async () => {
    const clock = new ManualClock(START);
    const script = scriptOf(client, { now: clock.now });
    const policies = [slidingWindow({ limit: 5, window: '1s' })];
    const [first] = await run(script, [admission(policies, ['gave-back'], [2])]);
    await run(script, [correction(policies, ['gave-back'], first?.charged ?? [], [-1], true)]);
    const counters = async () => ((await client.getBuffer('gave-back'))?.[0] ?? 0) - 128;
    expect(await counters()).toBe(2);
    clock.advance(1000);
    await run(script, [admission(policies, ['gave-back'], [1])]);
    expect(await counters()).toBe(1);
  });

  it('keeps a key as long as the general path does, or a little longer', async () => {
    const script = scriptOf(client);
    const lists = [
      [slidingWindow({ limit: 60, window: '1s' })],
      [slidingWindow({ limit: 2000, window: '1s' })],
      [dailyQuota({ limit: 60 })],
      [slidingWindow({ limit: 60, window: '1s' }), dailyQuota({ limit: 600 })],
      [slidingWindow({ limit: 60, window: '2d' }), dailyQuota({ limit: 600 })],
    ];
    for (let round = 0; round < 40; round++) {
      for (const [i, policies] of lists.entries()) {
        const make = (name: string): readonly [Operation, Operation] => {
          const operation = admission(
            policies,
            policies.map(() => name),
            policies.map(() => 1),
          );
          return [operation, byTheGeneralPath(operation)];
        };
        await both(script, make, `life-${i}`);
        // In one script, as both are measured by the time.
        const [straight = Number.NaN, general = Number.NaN] = (await client.eval(
          "return { redis.call('PTTL', KEYS[1]), redis.call('PTTL', KEYS[2]) }",
          2,
          `slife-${i}`,
          `glife-${i}`,
        )) as readonly number[];
        expect(Math.abs(straight - general), `${policies.map(({ name }) => name)}`).toBeLessThan(5);
      }
      await delay(11);
    }
  });

  it.each([
    ['a window', [slidingWindow({ limit: 2, window: '1m' })]],
    ['a coarse window', [slidingWindow({ limit: 600, window: '1m' })]],
    ['a day', [dailyQuota({ limit: 2 })]],
    ['a window and a day', [slidingWindow({ limit: 2, window: '1m' }), dailyQuota({ limit: 9 })]],
    ['a day and a window', [dailyQuota({ limit: 9 }), slidingWindow({ limit: 2, window: '1m' })]],
  ] as const)('runs %s alone: the first request, the next ones and those that are refused', async (what, policies) => {
    const script = scriptOf(client);
    const keys = policies.map(() => `alone-${what}`);
    const send = (operation: Operation): Promise<Buffer> => {
      const call = script.prepare([operation], SHARED_MARKER);
      return Reflect.apply(Reflect.get(client, 'evalBuffer'), client, [STRAIGHT_ONLY, call.keyCount, ...call.args]);
    };
    const statuses: number[] = [];
    // Behind the number of the call, two times and the outcome.
    const status = 16 + 8 + 1 + 8;
    const charge = policies.map(({ limit }) => Math.max(1, Math.floor(limit / 2)));
    for (let i = 0; i < 4; i++) statuses.push((await send(admission(policies, keys, charge)))[status] ?? -1);
    expect(statuses.slice(0, 2)).toEqual([1, 1]);
    expect(statuses.at(-1)).toBe(0);
    await expect(send(peek(policies, keys))).rejects.toThrow('general');
  });
});
