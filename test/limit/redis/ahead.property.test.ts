import fc from 'fast-check';
import { expect, it } from 'vitest';
import { dailyQuota, type QuotaPolicy, slidingWindow } from '../../../src/limit/policy.js';
import { redisStore } from '../../../src/limit/redis/redis-store.js';
import type { Receipt } from '../../../src/limit/store.js';
import { ManualClock } from '../../contracts/limit-store.js';
import { describeRedis } from '../../redis/describe.js';
import { until } from '../../redis/processes.js';
import { useRedis } from '../../redis/suite.js';
import { at, type Charge, fullestInterval, unitsAfter } from '../reference-log.js';

/** `npm run test:long` asks for more. */
const RUNS = Math.ceil(Number(process.env.PROPERTY_RUNS ?? 500) / 25);
const START = Date.UTC(2026, 0, 1, 23, 59, 40);
const WINDOW = 10_000;

type Step =
  | { readonly kind: 'wait'; readonly ms: number }
  | { readonly kind: 'admit'; readonly store: number; readonly count: number; readonly units: number }
  /** The store that takes nothing ahead admits all that is left. */
  | { readonly kind: 'fill' }
  | { readonly kind: 'settle'; readonly which: number; readonly count: number };

const steps: fc.Arbitrary<readonly Step[]> = fc.array(
  fc.oneof(
    {
      weight: 4,
      arbitrary: fc.record({
        kind: fc.constant('wait' as const),
        ms: fc.oneof(fc.nat(20), fc.nat(400), fc.constantFrom(155, 156, 311, 312, 313, 9_687, 9_999, 10_000, 10_001)),
      }),
    },
    {
      weight: 6,
      arbitrary: fc.record({
        kind: fc.constant('admit' as const),
        store: fc.nat(3),
        count: fc.integer({ min: 1, max: 90 }),
        units: fc.constantFrom(1, 1, 1, 2, 5),
      }),
    },
    { weight: 3, arbitrary: fc.record({ kind: fc.constant('fill' as const) }) },
    {
      weight: 2,
      arbitrary: fc.record({
        kind: fc.constant('settle' as const),
        which: fc.nat(),
        count: fc.integer({ min: 1, max: 100 }),
      }),
    },
  ),
  { minLength: 40, maxLength: 60 },
);

interface Admitted extends Charge {
  readonly receipt: Receipt;
  readonly store: number;
}

const OWN = slidingWindow({ limit: 30, window: '5s', name: 'own' });
const DAY = 86_400_000;

/** The most units that were admitted in an interval of a window, or in a day. */
function fullest(policy: QuotaPolicy, admitted: readonly Admitted[]): number {
  if (policy.kind !== 'daily-quota') return fullestInterval(admitted, policy.window);
  const dayOf = ({ at }: Charge) => Math.floor(at / DAY);
  return Math.max(0, ...admitted.map((one) => unitsOf(admitted.filter((other) => dayOf(one) === dayOf(other)))));
}

const unitsOf = (charges: readonly Charge[]) => charges.reduce((sum, { units }) => sum + units, 0);

describeRedis('several redisStores that take units ahead', () => {
  const server = useRedis();
  let runs = 0;

  const POLICIES: readonly [string, QuotaPolicy][] = [
    ['an exact window', slidingWindow({ limit: 320, window: `${WINDOW}ms` })],
    ['a window of ticks', slidingWindow({ limit: 1200, window: `${WINDOW}ms` })],
    ['a day', dailyQuota({ limit: 600 })],
  ];

  it.concurrent.each(
    POLICIES.flatMap(([what, policy]) => [
      [what, 'the limit', policy, 'no'] as const,
      [what, 'the limit, beside policies of single clients', policy, 'mixed'] as const,
      [what, 'twice the limit, with what is given back', policy, 'refunding'] as const,
    ]),
  )(
    'admit in no interval of %s more than %s, and charge what they admit',
    async (_, _most, policy, variant) => {
      const isRefunding = variant === 'refunding';
      const { limit } = policy;
      const client = server.client();
      let admissions = 0;
      let calls = 0;
      let fromMemory = 0;
      const evalsha = Reflect.get(client, 'evalshaBuffer') as (...args: unknown[]) => unknown;
      Reflect.set(client, 'evalshaBuffer', (...args: unknown[]) => {
        calls++;
        return evalsha.apply(client, args);
      });
      const property = fc.asyncProperty(steps, async (steps) => {
        const clock = new ManualClock(START);
        const prefix = `ahead-${runs++}:`;
        const common = { client, now: clock.now, refusalCache: false, prefix, timeout: '10s' } as const;
        const plain = redisStore(common);
        const stores = [
          redisStore({ ...common, ahead: { share: 0.1, maxAge: '500ms' } }),
          redisStore({ ...common, ahead: { share: 0.1, maxAge: '500ms' } }),
          redisStore({ ...common, ahead: { share: 0.06, maxAge: '100ms' } }),
          plain,
        ];
        const admitted: Admitted[] = [];
        const admit = async (store: number, units: number): Promise<boolean> => {
          const before = calls;
          const decision =
            variant === 'mixed'
              ? await stores[store]?.admit([OWN, policy], [`own-${admitted.length % 7}`, 'key'], [1, units])
              : await stores[store]?.admit([policy], ['key'], [units]);
          if (decision?.kind !== 'admitted') return false;
          if (calls === before) fromMemory++;
          admitted.push({ at: clock.now(), units, receipt: decision.receipt, store });
          return true;
        };
        for (const step of steps) {
          if (step.kind === 'wait') clock.advance(step.ms);
          if (step.kind === 'fill') {
            const units = (await plain.peek([policy], ['key']))[0]?.remaining ?? 0;
            if (units > 0) await admit(stores.length - 1, units);
          }
          if (step.kind === 'settle' && isRefunding && admitted.length > 0) {
            for (let i = 0; i < step.count; i++) {
              const one = at(admitted, step.which + i);
              await stores[one.store]?.settle(one.receipt, [0]);
            }
          }
          for (let i = 0; step.kind === 'admit' && i < step.count; i++) {
            if (!(await admit(step.store, step.units))) break;
          }
        }
        admissions += admitted.length;
        expect(fullest(policy, admitted)).toBeLessThanOrEqual(isRefunding ? 2 * limit : limit);
        for (const store of stores) store.close();
        if (isRefunding) return;
        // What is charged is what was admitted, and leaves the window a little later.
        const since = policy.kind === 'daily-quota' ? policy.dayOf(clock.now()).start - 1 : clock.now() - WINDOW;
        const observer = redisStore(common);
        await until('no more is charged than was admitted', async () => {
          const [state] = await observer.peek([policy], ['key']);
          const used = limit - (state?.remaining ?? 0);
          expect(used).toBeGreaterThanOrEqual(unitsAfter(admitted, since));
          return used <= unitsAfter(admitted, policy.kind === 'daily-quota' ? since : since - 500);
        });
        observer.close();
      });
      await fc.assert(property, { numRuns: RUNS });
      console.log(`${admissions} admissions, ${fromMemory} of them in memory`);
      if (variant !== 'mixed') expect(fromMemory).toBeGreaterThan(admissions / 4);
    },
    RUNS * 2000 + 30_000,
  );
});
