import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { QuotaState } from '../../src/core/quota-state.js';
import { concurrency, dailyQuota, gpuTime, type QuotaPolicy, slidingWindow } from '../../src/limit/policy.js';
import type { Decision, Hold, LimitStore, Receipt } from '../../src/limit/store.js';
import type { LimitStoreSetup, StoreClock } from './limit-store.js';

type Admitted = Extract<Decision, { kind: 'admitted' }>;
type Refused = Extract<Decision, { kind: 'refused' }>;

const NOON = Date.UTC(2025, 5, 15, 12);
const MIDNIGHT = Date.UTC(2025, 5, 16);
const SECOND = 1000;
const MINUTE = 60 * SECOND;
const LEASE = 10 * SECOND;

const slots = (limit: number) => concurrency({ limit, lease: '10s' });
const share = (limit: number) => concurrency({ limit, lease: '10s', name: 'share' });
const gpu = (limit: number, options = {}) =>
  gpuTime({ limit: `${limit}ms`, window: '1m', estimate: '1s', lease: '10s', ...options });
const gpuDay = (limit: number) => gpuTime({ limit: `${limit}ms`, window: 'day', estimate: '1s', lease: '10s' });
const perMinute = (limit: number) => slidingWindow({ limit, window: '1m', name: 'requests' });
const perDay = (limit: number) => dailyQuota({ limit });

/**
 * What every limit store promises about holds: `concurrency` and `gpuTime`. Time passes only by the clock that `setup`
 * returns, which is the store's wall clock as well.
 */
export function limitStoreHoldsContract(name: string, setup: () => LimitStoreSetup | Promise<LimitStoreSetup>): void {
  describe(`${name}, as a limit store with holds`, () => {
    let current: LimitStoreSetup;
    let store: LimitStore;
    let clock: StoreClock;

    beforeEach(async () => {
      current = await setup();
      ({ store, clock } = current);
      clock.set(NOON);
    });

    afterEach(async () => {
      await current.close?.();
    });

    type Wanted = QuotaPolicy | readonly QuotaPolicy[];
    const listOf = (wanted: Wanted): readonly QuotaPolicy[] => ('kind' in wanted ? [wanted] : wanted);

    async function admit(wanted: Wanted, units: number | readonly number[] = 1, key = 'key'): Promise<Decision> {
      const policies = listOf(wanted);
      const each = typeof units === 'number' ? policies.map(() => units) : units;
      return store.admit(
        policies,
        policies.map(() => key),
        each,
      );
    }

    async function admitted(wanted: Wanted, units: number | readonly number[] = 1, key = 'key'): Promise<Admitted> {
      const decision = await admit(wanted, units, key);
      if (decision.kind !== 'admitted') throw new Error(`refused at ${clock.now() - NOON}`);
      return decision;
    }

    async function refused(wanted: Wanted, units: number | readonly number[] = 1, key = 'key'): Promise<Refused> {
      const decision = await admit(wanted, units, key);
      if (decision.kind !== 'refused') throw new Error(`admitted at ${clock.now() - NOON}`);
      return decision;
    }

    async function state(policy: QuotaPolicy, key = 'key'): Promise<QuotaState> {
      const [peeked] = await store.peek([policy], [key]);
      if (peeked === undefined) throw new Error('peek returned no state');
      return peeked;
    }

    async function left(wanted: Wanted, key = 'key'): Promise<number | readonly number[]> {
      const policies = listOf(wanted);
      const states = await store.peek(
        policies,
        policies.map(() => key),
      );
      const remaining = states.map((peeked) => peeked.remaining);
      return remaining.length === 1 ? (remaining[0] ?? Number.NaN) : remaining;
    }

    const holdOf = ({ holds }: Admitted, i = 0): Hold => {
      const hold = holds?.[i];
      if (hold === undefined) throw new Error('nothing is held');
      return hold;
    };
    const renew = async (receipt: Receipt) => store.renew(receipt);
    const release = async (receipt: Receipt) => store.release(receipt);
    const violationsOf = ({ violations }: Refused) => violations.map((each) => [each.state.name, each.retryAt]);

    describe('holds slots', () => {
      it('up to the limit, and reports what is left', async () => {
        expect(await state(slots(2))).toEqual({ name: 'concurrency', limit: 2, remaining: 2, resetAt: NOON });
        const first = await admitted(slots(2));
        expect(first.states).toEqual([{ name: 'concurrency', limit: 2, remaining: 1, resetAt: NOON + LEASE }]);
        clock.advance(SECOND);
        await admitted(slots(2));
        const decision = await refused(slots(2));
        expect(violationsOf(decision)).toEqual([['concurrency', NOON + SECOND]]);
        expect(decision.states).toEqual([{ name: 'concurrency', limit: 2, remaining: 0, resetAt: NOON + LEASE }]);
      });

      it('for each key apart', async () => {
        await admitted(slots(1), 1, 'a');
        await admitted(slots(1), 1, 'b');
        await refused(slots(1), 1, 'a');
      });

      it('until they are released', async () => {
        const { receipt } = await admitted(slots(1));
        await release(receipt);
        await admitted(slots(1));
        await refused(slots(1));
      });

      it('until they are settled, whatever the units', async () => {
        for (const units of [0, 1, 7]) {
          const { receipt } = await admitted(slots(1));
          await store.settle(receipt, [units]);
          expect(await left(slots(1))).toBe(1);
        }
      });

      it('of several units at once', async () => {
        const { receipt } = await admitted(slots(3), 2);
        await refused(slots(3), 2);
        await admitted(slots(3), 1);
        await release(receipt);
        await admitted(slots(3), 2);
        await refused(slots(3), 1);
      });

      it('and says that more units than the limit can never be held', async () => {
        expect(violationsOf(await refused(slots(2), 3))).toEqual([['concurrency', null]]);
      });

      it('at most 1000 times on one counter', async () => {
        const policy = gpu(1_000_000);
        for (let i = 0; i < 1000; i++) await admitted(policy);
        expect(violationsOf(await refused(policy))).toEqual([['gpu-time', NOON]]);
        expect(await left(policy)).toBe(999_000);
      });

      it('and refuses what a lowered limit has no room for', async () => {
        for (let i = 0; i < 3; i++) await admitted(slots(3));
        expect(await state(slots(1))).toMatchObject({ limit: 1, remaining: 0 });
        await refused(slots(1));
        await admitted(slots(4));
      });
    });

    describe('names each hold', () => {
      it('by the smallest slot that is free', async () => {
        const receipts = [];
        for (const slot of [0, 1, 2]) {
          const decision = await admitted(slots(5));
          expect(holdOf(decision).slot).toBe(slot);
          receipts.push(decision.receipt);
        }
        await release(receipts[1] as Receipt);
        expect(holdOf(await admitted(slots(5))).slot).toBe(1);
        expect(holdOf(await admitted(slots(5))).slot).toBe(3);
        await release(receipts[0] as Receipt);
        expect(holdOf(await admitted(slots(5), 2)).slot).toBe(0);
      });

      it('by a token that rises with each grant, from the time of day on', async () => {
        let last = 0;
        for (let i = 0; i < 20; i++) {
          const decision = await admitted(slots(5));
          const { token } = holdOf(decision);
          expect(Number.isSafeInteger(token)).toBe(true);
          expect(token).toBeGreaterThan(last);
          expect(token).toBeGreaterThanOrEqual(clock.now());
          last = token;
          await release(decision.receipt);
          if (i % 7 === 0) clock.advance(3);
        }
        expect(last).toBeLessThanOrEqual(clock.now() + 20);
      });

      it('by a token that rises even if nothing was held in between', async () => {
        const before = await admitted(slots(1));
        await release(before.receipt);
        clock.advance(1);
        const after = await admitted(slots(1));
        expect(holdOf(after).token).toBeGreaterThan(holdOf(before).token);
      });

      it('for each policy that holds, and none for one that only counts', async () => {
        const decision = await admitted([perMinute(5), slots(2), gpu(5000), perDay(3)], [1, 1, 700, 1]);
        expect(decision.holds).toHaveLength(4);
        expect(decision.holds?.map((hold) => hold?.slot)).toEqual([undefined, 0, 0, undefined]);
      });
    });

    describe('ends a hold that is not renewed', () => {
      it('exactly when its lease is over', async () => {
        await admitted(slots(1));
        clock.set(NOON + LEASE - 1);
        await refused(slots(1));
        clock.set(NOON + LEASE);
        await admitted(slots(1));
      });

      it('a lease after the last renewal', async () => {
        const { receipt } = await admitted(slots(1));
        for (let i = 0; i < 5; i++) {
          clock.advance(LEASE - 1);
          expect(await renew(receipt)).toBe(true);
          await refused(slots(1));
        }
        expect((await state(slots(1))).resetAt).toBe(clock.now() + LEASE);
        clock.advance(LEASE);
        expect(await renew(receipt)).toBe(false);
        await admitted(slots(1));
      });

      it('and nothing that comes late revives it or touches the next holder', async () => {
        const late = await admitted(slots(1));
        clock.advance(LEASE);
        const next = await admitted(slots(1));
        expect(await renew(late.receipt)).toBe(false);
        await release(late.receipt);
        await store.settle(late.receipt, [0]);
        await refused(slots(1));
        clock.advance(LEASE - 1);
        expect(await renew(next.receipt)).toBe(true);
        await refused(slots(1));
      });

      it('and charges nothing for it', async () => {
        const { receipt } = await admitted(gpu(5000), 3000);
        clock.advance(LEASE);
        await store.settle(receipt, [4000]);
        expect(await left(gpu(5000))).toBe(5000);
      });

      it('each by its own lease', async () => {
        const short = concurrency({ limit: 1, lease: '2s', name: 'short' });
        const { receipt } = await admitted([slots(1), short]);
        clock.advance(2 * SECOND);
        expect(await left([slots(1), short])).toEqual([0, 1]);
        expect(await renew(receipt)).toBe(false);
      });
    });

    describe('renews', () => {
      it('only what is still to be held', async () => {
        const { receipt } = await admitted([slots(1), gpu(5000)], [1, 1000]);
        await store.settle(receipt, [undefined, 500]);
        clock.advance(LEASE - 1);
        expect(await renew(receipt)).toBe(true);
        expect(await left([slots(1), gpu(5000)])).toEqual([0, 4500]);
      });

      it('nothing of an admission that was released', async () => {
        const { receipt } = await admitted(slots(1));
        await release(receipt);
        await renew(receipt);
        await admitted(slots(1));
      });

      it('nothing of an admission that only counts', async () => {
        const { receipt } = await admitted(perMinute(2));
        expect(await renew(receipt)).toBe(true);
        await release(receipt);
        expect(await left(perMinute(2))).toBe(1);
      });
    });

    describe('releases', () => {
      it('every hold of an admission once, and no charge of a log', async () => {
        const all = [perMinute(5), slots(2), gpu(5000), perDay(3)];
        const { receipt } = await admitted(all, [1, 1, 700, 1]);
        await admitted(all, [1, 1, 700, 1]);
        expect(await left(all)).toEqual([3, 0, 3600, 1]);
        for (let i = 0; i < 3; i++) await release(receipt);
        expect(await left(all)).toEqual([3, 1, 4300, 1]);
      });

      it('so that a later settle changes the logs alone', async () => {
        const { receipt } = await admitted([perMinute(5), gpu(5000)], [2, 700]);
        await release(receipt);
        await store.settle(receipt, [1, 3000]);
        expect(await left([perMinute(5), gpu(5000)])).toEqual([4, 5000]);
      });
    });

    describe('counts GPU time', () => {
      it('with the estimate while a job runs, and with what it used from its end on', async () => {
        const { receipt } = await admitted(gpu(10_000), 4000);
        expect(await left(gpu(10_000))).toBe(6000);
        clock.advance(7000);
        await store.settle(receipt, [2500]);
        expect(await left(gpu(10_000))).toBe(7500);
        clock.set(NOON + 7000 + MINUTE - 1);
        expect(await left(gpu(10_000))).toBe(7500);
        clock.advance(MINUTE / 64 + 1);
        expect(await left(gpu(10_000))).toBe(10_000);
      });

      it('to the millisecond with a limit of up to 512 ms', async () => {
        const { receipt } = await admitted(gpu(500), 400);
        clock.advance(7000);
        await store.settle(receipt, [300]);
        expect(await state(gpu(500))).toMatchObject({ remaining: 200, resetAt: NOON + 7000 + MINUTE });
        clock.set(NOON + 7000 + MINUTE - 1);
        expect(await left(gpu(500))).toBe(200);
        clock.advance(1);
        expect(await left(gpu(500))).toBe(500);
      });

      it('of a job that took longer than the window', async () => {
        const { receipt } = await admitted(gpu(400), 300);
        for (let i = 0; i < 10; i++) {
          clock.advance(9000);
          expect(await renew(receipt)).toBe(true);
        }
        await store.settle(receipt, [90_000]);
        expect(await left(gpu(400))).toBe(0);
        expect(violationsOf(await refused(gpu(400), 1))).toEqual([['gpu-time', clock.now() + MINUTE]]);
        clock.advance(MINUTE - 1);
        await refused(gpu(400), 1);
        clock.advance(1);
        await admitted(gpu(400), 400);
      });

      it('once for each admission', async () => {
        const { receipt } = await admitted(gpu(10_000), 4000);
        await store.settle(receipt, [1000]);
        await store.settle(receipt, [5000]);
        await release(receipt);
        expect(await left(gpu(10_000))).toBe(9000);
      });

      it('not at all if nothing was used', async () => {
        const { receipt } = await admitted(gpu(400), 400);
        await store.settle(receipt, [0]);
        expect(await state(gpu(400))).toEqual({ name: 'gpu-time', limit: 400, remaining: 400, resetAt: NOON });
      });

      it('as often as jobs end without use', async () => {
        for (let i = 0; i < 50; i++) {
          const { receipt } = await admitted(gpu(400), 400);
          await store.settle(receipt, [0]);
        }
        expect(await left(gpu(400))).toBe(400);
      });

      it('and refuses a job of which less is left than its estimate', async () => {
        await admitted(gpu(10_000), 4000);
        await admitted(gpu(10_000), 6000);
        await refused(gpu(10_000), 1);
        expect(violationsOf(await refused(gpu(10_000), 10_001))).toEqual([['gpu-time', null]]);
      });

      it('by calendar days, on the day on which a job ends', async () => {
        clock.set(MIDNIGHT - 3000);
        const { receipt } = await admitted(gpuDay(10_000), 4000);
        const other = await admitted(gpuDay(10_000), 2000);
        expect(await state(gpuDay(10_000))).toMatchObject({ remaining: 4000, resetAt: MIDNIGHT });
        await store.settle(other.receipt, [3000]);
        expect(await left(gpuDay(10_000))).toBe(3000);
        clock.set(MIDNIGHT);
        expect(await left(gpuDay(10_000))).toBe(6000);
        clock.advance(2000);
        await store.settle(receipt, [5000]);
        expect(await state(gpuDay(10_000))).toMatchObject({ remaining: 5000, resetAt: MIDNIGHT + 86_400_000 });
      });

      it('by calendar days, and says that a full day is over at midnight', async () => {
        const { receipt } = await admitted(gpuDay(10_000), 4000);
        await store.settle(receipt, [9000]);
        expect(violationsOf(await refused(gpuDay(10_000), 4000))).toEqual([['gpu-time', MIDNIGHT]]);
      });
    });

    describe('says when a job can be admitted,', () => {
      it('by the log, if what is held leaves room for it', async () => {
        const first = await admitted(gpu(500), 200);
        await store.settle(first.receipt, [200]);
        clock.advance(1000);
        await admitted(gpu(500), 100);
        expect(violationsOf(await refused(gpu(500), 300))).toEqual([['gpu-time', NOON + MINUTE]]);
      });

      it('by the log alone, if something that is held must end as well', async () => {
        const first = await admitted(gpu(500), 200);
        await store.settle(first.receipt, [300]);
        clock.advance(1000);
        await admitted(gpu(500), 200);
        expect(violationsOf(await refused(gpu(500), 400))).toEqual([['gpu-time', NOON + MINUTE]]);
      });

      it('now, if only something that is held must end', async () => {
        await admitted(gpu(500), 400);
        clock.advance(1000);
        expect(violationsOf(await refused(gpu(500), 200))).toEqual([['gpu-time', NOON + 1000]]);
      });

      it('with a reset time at which more is left, as long as the holds stay', async () => {
        await admitted(gpu(500), 100);
        expect((await state(gpu(500))).resetAt).toBe(NOON);
        clock.advance(1000);
        const { receipt } = await admitted(gpu(500), 100);
        await store.settle(receipt, [450]);
        expect(await state(gpu(500))).toMatchObject({ remaining: 0, resetAt: NOON + 1000 + MINUTE });
      });
    });

    describe('is one admission for policies of every kind', () => {
      const all = (limits: readonly [number, number, number, number, number]) => [
        perMinute(limits[0]),
        perDay(limits[1]),
        slots(limits[2]),
        share(limits[3]),
        gpu(limits[4]),
      ];
      const ROOM = [5, 5, 5, 5, 5000] as const;
      const UNITS = [1, 1, 1, 1, 700];

      it.each([
        ['a window', 0],
        ['a day', 1],
        ['slots', 2],
        ['other slots', 3],
        ['GPU time', 4],
      ] as const)('that %s refuses without a trace in the others', async (_, full) => {
        const limits = ROOM.map((limit, i) => (i === full ? (i === 4 ? 700 : 1) : limit));
        const policies = all(limits as unknown as typeof ROOM);
        const first = await admitted(policies, UNITS);
        const before = await store.peek(
          policies,
          policies.map(() => 'key'),
        );
        for (let i = 0; i < 10; i++) {
          const decision = await refused(policies, UNITS);
          expect(decision.violations.map((violation) => violation.state.name)).toEqual([policies[full]?.name]);
          expect(decision.states).toEqual(before);
        }
        await release(first.receipt);
        const next = await admitted([slots(5), share(5), gpu(5000)], [1, 1, 1]);
        expect(next.holds?.map((hold) => hold?.slot)).toEqual([0, 0, 0]);
      });

      it('that names every policy in the way', async () => {
        const policies = all([1, 5, 1, 5, 1000]);
        await admitted(policies, UNITS);
        expect(violationsOf(await refused(policies, UNITS))).toEqual([
          ['requests', NOON + MINUTE],
          ['concurrency', NOON],
          ['gpu-time', NOON],
        ]);
      });

      it('of which exactly the limit is admitted in parallel', async () => {
        const policies = all([100, 100, 5, 100, 1_000_000]);
        const decisions = await Promise.all(Array.from({ length: 100 }, () => admit(policies, UNITS)));
        const ok = decisions.filter((decision): decision is Admitted => decision.kind === 'admitted');
        expect(ok).toHaveLength(5);
        expect(ok.map((decision) => holdOf(decision, 2).slot).sort()).toEqual([0, 1, 2, 3, 4]);
        expect(new Set(ok.map((decision) => holdOf(decision, 2).token)).size).toBe(5);
      });

      it('that is settled by policy', async () => {
        const policies = all(ROOM);
        const { receipt } = await admitted(policies, UNITS);
        await store.settle(receipt, [0, undefined, 0, undefined, 1500]);
        expect(await left(policies)).toEqual([5, 4, 5, 4, 3500]);
        await store.settle(receipt, [5, 0, 0, 0, 0]);
        expect(await left(policies)).toEqual([5, 5, 5, 5, 3500]);
      });
    });

    it('forgets logs by a reset, and keeps what is held', async () => {
      const { receipt } = await admitted([slots(1), gpu(5000)], [1, 1000]);
      const { receipt: ended } = await admitted(gpu(5000), 500);
      await store.settle(ended, [2000]);
      await store.reset([slots(1), gpu(5000)], ['key', 'key']);
      expect(await left([slots(1), gpu(5000)])).toEqual([0, 4000]);
      await store.settle(receipt, [0, 1500]);
      expect(await left([slots(1), gpu(5000)])).toEqual([1, 3500]);
    });

    it('remembers a hold beyond every window', async () => {
      const long = concurrency({ limit: 1, lease: '24h' });
      const before = await admitted(long);
      clock.advance(23 * 3_600_000);
      for (let i = 0; i < 50; i++) await admitted(slots(1), 1, `other-${i}`);
      await refused(long);
      await release(before.receipt);
      expect(holdOf(await admitted(long)).slot).toBe(0);
    });
  });
}
