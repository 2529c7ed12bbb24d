import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { QuotaState } from '../../src/core/quota-state.js';
import { dailyQuota, type QuotaPolicy, slidingWindow } from '../../src/limit/policy.js';
import type { Decision, LimitStore } from '../../src/limit/store.js';

/** The store's only clock while the suite runs, in epoch milliseconds. */
export interface StoreClock {
  now(): number;
  set(ms: number): void;
  advance(ms: number): void;
}

export interface LimitStoreSetup {
  /** Empty. */
  readonly store: LimitStore;
  readonly clock: StoreClock;
  close?(): void | Promise<void>;
}

/** A clock that moves only when it is set or advanced. */
export class ManualClock implements StoreClock {
  #now: number;

  constructor(now: number) {
    this.#now = now;
  }

  readonly now = (): number => this.#now;

  set(ms: number): void {
    this.#now = ms;
  }

  advance(ms: number): void {
    this.#now += ms;
  }
}

type Admitted = Extract<Decision, { kind: 'admitted' }>;
type Refused = Extract<Decision, { kind: 'refused' }>;

const NOON = Date.UTC(2025, 5, 15, 12);
const MIDNIGHT = Date.UTC(2025, 5, 16);
const SECOND = 1000;
const HOUR = 3_600_000;

/** Policies of one name and window share their count, whatever their limit. */
const perSecond = (limit: number) => slidingWindow({ limit, window: `${SECOND}ms`, name: 'second' });
const perMinute = (limit: number) => slidingWindow({ limit, window: `${60 * SECOND}ms`, name: 'minute' });
const perDay = (limit: number, timeZone = 'UTC') => dailyQuota({ limit, timeZone });

const STRANGE_KEYS: readonly [what: string, key: string][] = [
  ['__proto__', '__proto__'],
  ['constructor', 'constructor'],
  ['hasOwnProperty', 'hasOwnProperty'],
  ['one space', ' '],
  ['one zero byte', '\0'],
  ['a zero', '0'],
  ['braces and stars', '{a}*?[b]:c\\'],
  ['line breaks', 'a\r\nb'],
  ['composed é', '\u00e9'],
  ['decomposed é', 'e\u0301'],
  ['an emoji', '👩‍🚀'],
  ['10,000 characters', 'x'.repeat(10_000)],
  ['10,000 characters, the last one different', `${'x'.repeat(9_999)}y`],
];

const BAD_UNITS = [0, -1, 1.5, Number.NaN, Number.POSITIVE_INFINITY];
const BAD_SETTLED_UNITS = [-1, 1.5, Number.NaN, Number.POSITIVE_INFINITY];

const ZONES: readonly [zone: string, what: string, start: string, end: string][] = [
  ['UTC', 'a day of 24 hours', '2025-03-30T00:00Z', '2025-03-31T00:00Z'],
  ['UTC', 'a leap day', '2024-02-29T00:00Z', '2024-03-01T00:00Z'],
  ['Europe/Berlin', '23 hours', '2025-03-29T23:00Z', '2025-03-30T22:00Z'],
  ['Europe/Berlin', '25 hours', '2025-10-25T22:00Z', '2025-10-26T23:00Z'],
  ['America/New_York', '23 hours', '2025-03-09T05:00Z', '2025-03-10T04:00Z'],
  ['America/New_York', '25 hours', '2025-11-02T04:00Z', '2025-11-03T05:00Z'],
  ['Australia/Lord_Howe', '24 hours and a half', '2025-04-05T13:00Z', '2025-04-06T13:30Z'],
  ['Asia/Kolkata', 'a day that begins at half past the UTC hour', '2025-06-14T18:30Z', '2025-06-15T18:30Z'],
  ['Africa/Cairo', 'a day that begins at 01:00', '2024-04-25T22:00Z', '2024-04-26T21:00Z'],
  ['Africa/Cairo', 'a day whose last hour is repeated', '2024-10-30T21:00Z', '2024-10-31T22:00Z'],
  ['America/Asuncion', 'a day that begins at 01:00', '2023-10-01T04:00Z', '2023-10-02T03:00Z'],
  ['Pacific/Apia', 'the day before the skipped one', '2011-12-29T10:00Z', '2011-12-30T10:00Z'],
  ['Pacific/Apia', 'the day after the skipped one', '2011-12-30T10:00Z', '2011-12-31T10:00Z'],
];

/**
 * What every limit store promises. Every method is awaited. Time passes only by the clock that `setup` returns: a store
 * on a real server must use that clock while the suite runs.
 */
export function limitStoreContract(name: string, setup: () => LimitStoreSetup | Promise<LimitStoreSetup>): void {
  describe(`${name}, as a limit store`, () => {
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

    async function admit(policy: QuotaPolicy, units = 1, key = 'key'): Promise<Decision> {
      return store.admit([policy], [key], [units]);
    }

    async function admitted(policy: QuotaPolicy, units = 1, key = 'key'): Promise<Admitted> {
      const decision = await admit(policy, units, key);
      if (decision.kind !== 'admitted') throw new Error(`${units} of ${policy.name} refused at ${clock.now()}`);
      return decision;
    }

    async function refused(policy: QuotaPolicy, units = 1, key = 'key'): Promise<Refused> {
      const decision = await admit(policy, units, key);
      if (decision.kind !== 'refused') throw new Error(`${units} of ${policy.name} admitted at ${clock.now()}`);
      return decision;
    }

    async function state(policy: QuotaPolicy, key = 'key'): Promise<QuotaState> {
      const [peeked] = await store.peek([policy], [key]);
      if (peeked === undefined) throw new Error('peek returned no state');
      return peeked;
    }

    async function remaining(policy: QuotaPolicy, key = 'key'): Promise<number> {
      return (await state(policy, key)).remaining;
    }

    const violationsOf = ({ violations }: Refused) => violations.map(({ state, retryAt }) => [state.name, retryAt]);

    describe('at the edge of a sliding window', () => {
      it('counts a unit up to the last millisecond of its window, and no longer', async () => {
        await admitted(perSecond(1));
        clock.set(NOON + SECOND - 1);
        await refused(perSecond(1));
        clock.set(NOON + SECOND);
        await admitted(perSecond(1));
      });

      it('forgets each unit when its own window has passed', async () => {
        for (const at of [0, 300, 301]) {
          clock.set(NOON + at);
          await admitted(perSecond(3));
        }
        for (const [at, left] of [
          [999, 0],
          [1000, 1],
          [1299, 1],
          [1300, 2],
          [1301, 3],
        ] as const) {
          clock.set(NOON + at);
          expect(await remaining(perSecond(3)), `at ${at} ms`).toBe(left);
        }
      });

      it('does not admit twice the limit around a boundary', async () => {
        clock.set(NOON + SECOND - 1);
        await admitted(perSecond(5), 5);
        clock.set(NOON + SECOND + 1);
        await refused(perSecond(5));
      });

      it('supports a window of one millisecond', async () => {
        const policy = slidingWindow({ limit: 1, window: '1ms' });
        await admitted(policy);
        await refused(policy);
        clock.advance(1);
        await admitted(policy);
      });

      it('counts 512 units at 512 different times exactly', async () => {
        for (let i = 0; i < 512; i++) {
          clock.set(NOON + i);
          await admitted(perSecond(512));
        }
        for (let i = 0; i < 512; i += 73) {
          clock.set(NOON + SECOND + i);
          expect(await remaining(perSecond(512))).toBe(i + 1);
        }
      });
    });

    describe('returns the state of a policy', () => {
      it('after each admission, with the time at which the oldest unit leaves', async () => {
        const first = await admitted(perSecond(3));
        expect(first.at).toBe(NOON);
        expect(first.states).toEqual([{ name: 'second', limit: 3, remaining: 2, resetAt: NOON + SECOND }]);
        clock.advance(400);
        const second = await admitted(perSecond(3), 2);
        expect(second.at).toBe(NOON + 400);
        expect(second.states).toEqual([{ name: 'second', limit: 3, remaining: 0, resetAt: NOON + SECOND }]);
        clock.set(NOON + SECOND);
        expect(await state(perSecond(3))).toEqual({
          name: 'second',
          limit: 3,
          remaining: 1,
          resetAt: NOON + SECOND + 400,
        });
      });

      it('with a reset time of now if no unit is in use, or of the day’s end for a daily quota', async () => {
        expect(await store.peek([perSecond(3), perDay(5)], ['key', 'key'])).toEqual([
          { name: 'second', limit: 3, remaining: 3, resetAt: NOON },
          { name: 'daily', limit: 5, remaining: 5, resetAt: MIDNIGHT },
        ]);
      });

      it('as unused again after the window has passed', async () => {
        await admitted(perSecond(3), 3);
        clock.advance(SECOND);
        expect(await state(perSecond(3))).toEqual({ name: 'second', limit: 3, remaining: 3, resetAt: NOON + SECOND });
      });

      it('for every policy of a refusal, unchanged', async () => {
        await admitted(perSecond(2));
        const decision = await store.admit([perSecond(2), perMinute(9)], ['key', 'key'], [2, 2]);
        expect(decision).toMatchObject({
          kind: 'refused',
          at: NOON,
          states: [
            { name: 'second', limit: 2, remaining: 1, resetAt: NOON + SECOND },
            { name: 'minute', limit: 9, remaining: 9, resetAt: NOON },
          ],
        });
      });

      it('with a reset time at which units are available, even if more than the limit is in use', async () => {
        await admitted(perSecond(9));
        clock.advance(500);
        const { receipt } = await admitted(perSecond(9));
        await store.settle(receipt, [9]);
        expect(await state(perSecond(9))).toMatchObject({ remaining: 0, resetAt: NOON + 500 + SECOND });
        clock.set(NOON + SECOND);
        expect(await remaining(perSecond(9))).toBe(0);
        clock.set(NOON + 500 + SECOND);
        expect(await remaining(perSecond(9))).toBe(9);
      });

      it('from peek without charging it', async () => {
        await admitted(perSecond(3));
        for (let i = 0; i < 20; i++) expect(await remaining(perSecond(3))).toBe(2);
        for (let i = 0; i < 20; i++) expect(await remaining(perDay(3), 'never seen')).toBe(3);
        await admitted(perSecond(3), 2);
      });
    });

    describe('over several policies and keys', () => {
      it('charges all of them', async () => {
        await store.admit([perSecond(5), perMinute(5), perDay(5)], ['a', 'b', 'c'], [2, 2, 2]);
        expect(await store.peek([perSecond(5), perMinute(5), perDay(5)], ['a', 'b', 'c'])).toMatchObject([
          { remaining: 3 },
          { remaining: 3 },
          { remaining: 3 },
        ]);
      });

      const three = () => [perSecond(2), perMinute(2), perDay(2)] as const;

      it.each([0, 1, 2])('charges none if policy %i of three has no room', async (full) => {
        const policy = three()[full];
        if (policy === undefined) throw new Error('no such policy');
        await admitted(policy, 2);
        for (let i = 0; i < 100; i++) {
          const decision = await store.admit(three(), ['key', 'key', 'key'], [1, 1, 1]);
          if (decision.kind !== 'refused') throw new Error('admitted');
          expect(decision.violations.map(({ state }) => state.name)).toEqual([policy.name]);
        }
        const left = (await store.peek(three(), ['key', 'key', 'key'])).map(({ remaining }) => remaining);
        expect(left).toEqual([0, 1, 2].map((i) => (i === full ? 0 : 2)));
      });

      it('names every violated policy in order, each with the earliest time at which it would admit', async () => {
        await admitted(perSecond(1));
        clock.advance(10);
        await admitted(perDay(1));
        await admitted(perMinute(1));
        const decision = await store.admit([perMinute(1), perSecond(1), perDay(1)], ['key', 'key', 'key'], [1, 1, 1]);
        if (decision.kind !== 'refused') throw new Error('admitted');
        expect(violationsOf(decision)).toEqual([
          ['minute', NOON + 10 + 60 * SECOND],
          ['second', NOON + SECOND],
          ['daily', MIDNIGHT],
        ]);
      });

      it('counts two policies of one key separately', async () => {
        await admitted(perSecond(2), 2);
        expect(await remaining(perMinute(2))).toBe(2);
      });

      it('counts two keys of one policy separately, even in one call', async () => {
        await admitted(perSecond(2), 2, 'a');
        expect(await remaining(perSecond(2), 'b')).toBe(2);
        await store.admit([perMinute(2), perMinute(2)], ['a', 'b'], [1, 1]);
        expect(await store.peek([perMinute(2), perMinute(2), perMinute(2)], ['a', 'b', 'c'])).toMatchObject([
          { remaining: 1 },
          { remaining: 1 },
          { remaining: 2 },
        ]);
      });

      it('charges neither of two keys of one policy if one of them has no room', async () => {
        await admitted(perSecond(1), 1, 'b');
        expect((await store.admit([perSecond(1), perSecond(1)], ['a', 'b'], [1, 1])).kind).toBe('refused');
        await admitted(perSecond(1), 1, 'a');
      });
    });

    describe('with weighted units', () => {
      it('admits a request whole or not at all', async () => {
        await admitted(perSecond(10), 7);
        await refused(perSecond(10), 4);
        expect(await remaining(perSecond(10))).toBe(3);
        await admitted(perSecond(10), 3);
      });

      it('returns the time at which enough earlier units have left', async () => {
        for (const [at, units] of [
          [0, 2],
          [100, 1],
          [200, 3],
          [300, 4],
        ] as const) {
          clock.set(NOON + at);
          await admitted(perSecond(10), units);
        }
        for (const [units, leaving] of [
          [1, 0],
          [2, 0],
          [3, 100],
          [4, 200],
          [6, 200],
          [7, 300],
          [10, 300],
        ] as const) {
          const retryAt = NOON + leaving + SECOND;
          expect(violationsOf(await refused(perSecond(10), units)), `${units} units`).toEqual([['second', retryAt]]);
        }
        clock.set(NOON + 200 + SECOND - 1);
        await refused(perSecond(10), 6);
        clock.set(NOON + 200 + SECOND);
        await admitted(perSecond(10), 6);
      });

      it.each([
        ['sliding window', perSecond(3)],
        ['daily quota', perDay(3)],
      ])('returns no time for a cost above the limit of a %s', async (_, policy) => {
        expect(violationsOf(await refused(policy, 4))).toEqual([[policy.name, null]]);
        await admitted(policy);
        expect(violationsOf(await refused(policy, 4))).toEqual([[policy.name, null]]);
        expect(await remaining(policy)).toBe(2);
      });

      it('returns a time only for those policies that can admit later', async () => {
        await admitted(perSecond(3), 3);
        const decision = await store.admit([perSecond(3), perMinute(2)], ['key', 'key'], [3, 3]);
        if (decision.kind !== 'refused') throw new Error('admitted');
        expect(violationsOf(decision)).toEqual([
          ['second', NOON + SECOND],
          ['minute', null],
        ]);
      });

      it.each(BAD_UNITS)('does not admit %d units', async (units) => {
        await expect(
          (async () => store.admit([perSecond(3), perDay(3)], ['key', 'key'], [units, units]))(),
        ).rejects.toThrow();
        expect(await remaining(perSecond(3))).toBe(3);
        expect(await remaining(perDay(3))).toBe(3);
      });
    });

    describe('charges each policy units of its own', () => {
      const three = () => [perSecond(9), perMinute(9), perDay(9)] as const;
      const keys = ['key', 'key', 'key'];
      const left = async () => (await store.peek(three(), keys)).map(({ remaining }) => remaining);

      it('and reports each', async () => {
        const decision = await store.admit(three(), keys, [1, 5, 9]);
        expect(decision).toMatchObject({
          kind: 'admitted',
          states: [{ remaining: 8 }, { remaining: 4 }, { remaining: 0 }],
        });
        expect(await left()).toEqual([8, 4, 0]);
      });

      it('and none if one has no room for its own', async () => {
        await store.admit(three(), keys, [1, 5, 9]);
        const decision = await store.admit(three(), keys, [8, 5, 1]);
        if (decision.kind !== 'refused') throw new Error('admitted');
        expect(violationsOf(decision)).toEqual([
          ['minute', NOON + 60 * SECOND],
          ['daily', MIDNIGHT],
        ]);
        expect(await left()).toEqual([8, 4, 0]);
      });

      it('and settles each to its own', async () => {
        const decision = await store.admit(three(), keys, [1, 5, 9]);
        if (decision.kind !== 'admitted') throw new Error('refused');
        await store.settle(decision.receipt, [0, 7, 3]);
        expect(await left()).toEqual([9, 2, 6]);
      });

      it('and leaves a policy as it is that is settled to undefined, until it is settled later', async () => {
        const decision = await store.admit(three(), keys, [1, 5, 9]);
        if (decision.kind !== 'admitted') throw new Error('refused');
        await store.settle(decision.receipt, [undefined, 2, undefined]);
        expect(await left()).toEqual([8, 7, 0]);
        await store.settle(decision.receipt, [0, 9, undefined]);
        expect(await left()).toEqual([9, 7, 0]);
        await store.settle(decision.receipt, [5, 9, 4]);
        expect(await left()).toEqual([9, 7, 5]);
      });

      it('and refuses to charge a policy without units', async () => {
        await expect((async () => store.admit(three(), keys, [1, 1]))()).rejects.toThrow(RangeError);
        expect(await left()).toEqual([9, 9, 9]);
      });
    });

    describe('settles an admission', () => {
      const both = () => [perSecond(10), perDay(10)] as const;
      const left = async () => (await store.peek(both(), ['key', 'key'])).map(({ remaining }) => remaining);

      async function admittedByBoth(units: number): Promise<Admitted> {
        const decision = await store.admit(both(), ['key', 'key'], [units, units]);
        if (decision.kind !== 'admitted') throw new Error('refused');
        return decision;
      }

      it.each([
        ['a refund', 2, [8, 8]],
        ['nothing to change', 4, [6, 6]],
        ['an addition', 7, [3, 3]],
        ['zero', 0, [10, 10]],
        ['more than the limit', 25, [0, 0]],
      ] as const)('to %s', async (_, actual, expected) => {
        const { receipt } = await admittedByBoth(4);
        clock.advance(10);
        await store.settle(receipt, [actual, actual]);
        expect(await left()).toEqual(expected);
      });

      it('so that refunded units are available and added units are not', async () => {
        const first = await admitted(perSecond(10), 10);
        await store.settle(first.receipt, [6]);
        const second = await admitted(perSecond(10), 1);
        await store.settle(second.receipt, [4]);
        expect(violationsOf(await refused(perSecond(10)))).toEqual([['second', NOON + SECOND]]);
      });

      it('exactly once', async () => {
        const { receipt } = await admittedByBoth(4);
        await admittedByBoth(4);
        await store.settle(receipt, [3, 3]);
        await store.settle(receipt, [0, 0]);
        await store.settle(receipt, [9, 9]);
        expect(await left()).toEqual([3, 3]);
      });

      it('once if two calls arrive at the same time', async () => {
        const { receipt } = await admittedByBoth(4);
        await admittedByBoth(4);
        await Promise.all([store.settle(receipt, [0, 0]), store.settle(receipt, [0, 0])]);
        expect(await left()).toEqual([6, 6]);
      });

      it('by its own receipt if two were made in one tick', async () => {
        const first = await admittedByBoth(3);
        const second = await admittedByBoth(4);
        await store.settle(first.receipt, [1, 1]);
        expect(await left()).toEqual([5, 5]);
        await store.settle(second.receipt, [0, 0]);
        expect(await left()).toEqual([9, 9]);
      });

      it('never below zero', async () => {
        const { receipt } = await admittedByBoth(4);
        await store.reset(both(), ['key', 'key']);
        await admittedByBoth(1);
        await store.settle(receipt, [0, 0]);
        expect(await left()).toEqual([9, 9]);
      });

      it.each(BAD_SETTLED_UNITS)('but not to %d units, and can then settle it correctly', async (units) => {
        const { receipt } = await admittedByBoth(4);
        await expect((async () => store.settle(receipt, [units, units]))()).rejects.toThrow();
        expect(await left()).toEqual([6, 6]);
        await store.settle(receipt, [1, 1]);
        expect(await left()).toEqual([9, 9]);
      });

      it.each([0, 9])('to %i without changing a later window', async (actual) => {
        const { receipt } = await admitted(perSecond(10), 4);
        clock.advance(SECOND);
        await admitted(perSecond(10), 5);
        await store.settle(receipt, [actual]);
        expect(await remaining(perSecond(10))).toBe(5);
        clock.advance(SECOND);
        expect(await remaining(perSecond(10))).toBe(10);
      });

      it.each([0, 9])('to %i without changing the next window, with no call in between', async (actual) => {
        const { receipt } = await admitted(perSecond(10), 4);
        clock.advance(SECOND);
        await store.settle(receipt, [actual]);
        expect(await remaining(perSecond(10))).toBe(10);
      });

      it.each([0, 9])('to %i without changing the next day', async (actual) => {
        clock.set(MIDNIGHT - 1);
        for (let i = 0; i < 10; i++) await admitted(perDay(10), 1, `another ${i}`);
        const before = await admittedByBoth(4);
        clock.set(MIDNIGHT);
        await admittedByBoth(3);
        await store.settle(before.receipt, [actual, actual]);
        // The sliding window of both admissions is still open. The day of the first is over.
        expect(await left()).toEqual([Math.max(0, 7 - actual), 7]);
      });

      it('after midnight without changing the new day, with no call in between', async () => {
        clock.set(MIDNIGHT - 1);
        const { receipt } = await admitted(perDay(10), 4);
        clock.set(MIDNIGHT);
        await store.settle(receipt, [9]);
        expect(await remaining(perDay(10))).toBe(10);
      });

      it('up to the last millisecond of its window', async () => {
        const { receipt } = await admitted(perSecond(10), 10);
        clock.advance(SECOND - 1);
        await store.settle(receipt, [3]);
        await admitted(perSecond(10), 7);
      });

      it('without changing when the rest leaves', async () => {
        const { receipt } = await admitted(perSecond(10), 10);
        clock.advance(500);
        await store.settle(receipt, [5]);
        expect(await state(perSecond(10))).toMatchObject({ remaining: 5, resetAt: NOON + SECOND });
        clock.set(NOON + SECOND);
        expect(await remaining(perSecond(10))).toBe(10);
      });

      it('to zero for some, and lets each of the others leave at its own time', async () => {
        const remainingTimes: number[] = [];
        for (let i = 0; i < 300; i++) {
          clock.set(NOON + i);
          const { receipt } = await admitted(perSecond(500));
          if (i % 7 === 0 || i % 3 === 0) remainingTimes.push(i);
          else await store.settle(receipt, [0]);
        }
        for (const [gone, at] of remainingTimes.entries()) {
          clock.set(NOON + SECOND + at - 1);
          expect(await state(perSecond(500))).toMatchObject({
            remaining: 500 - remainingTimes.length + gone,
            resetAt: NOON + SECOND + at,
          });
        }
      });

      it('to zero repeatedly, and keeps counting', async () => {
        await admitted(perSecond(500));
        for (let i = 0; i < 400; i++) {
          clock.advance(1);
          const { receipt } = await admitted(perSecond(500));
          await store.settle(receipt, [0]);
        }
        expect(await state(perSecond(500))).toMatchObject({ remaining: 499, resetAt: NOON + SECOND });
      });
    });

    describe('gives back', () => {
      /** Charges units and gives them back. */
      async function giveBack(policy: QuotaPolicy, units = 1, key = 'key'): Promise<void> {
        const { receipt } = await admitted(policy, units, key);
        await store.settle(receipt, [0]);
      }

      it.each([
        ['window', perSecond(3)],
        ['day', perDay(3)],
        ['window above 512 units', slidingWindow({ limit: 600, window: '64s' })],
      ])('at most the limit for the charges of one %s', async (_, policy) => {
        const units = policy.limit / 3;
        for (let i = 0; i < 3; i++) await giveBack(policy, units);
        expect(await remaining(policy)).toBe(policy.limit);
        for (let i = 1; i <= 3; i++) {
          await giveBack(policy, units);
          expect(await remaining(policy)).toBe(policy.limit - i * units);
        }
        await refused(policy);
      });

      it('only what is left of that for the last charge, and keeps the rest charged', async () => {
        for (const [charged, settled, left] of [
          [8, 2, 8],
          [8, 1, 4],
          [4, 0, 0],
        ] as const) {
          const { receipt } = await admitted(perSecond(10), charged);
          await store.settle(receipt, [settled]);
          expect(await remaining(perSecond(10))).toBe(left);
        }
      });

      it('again when the first of those charges has left its window, wherever its refund was', async () => {
        const first = await admitted(perSecond(2));
        clock.advance(900);
        const second = await admitted(perSecond(2));
        clock.advance(50);
        await store.settle(first.receipt, [0]);
        await store.settle(second.receipt, [0]);
        await giveBack(perSecond(2));
        expect(await remaining(perSecond(2))).toBe(1);
        clock.set(NOON + SECOND);
        await giveBack(perSecond(2));
        expect(await remaining(perSecond(2))).toBe(1);
        await giveBack(perSecond(2));
        expect(await remaining(perSecond(2))).toBe(0);
      });

      it('again on the next day', async () => {
        for (let i = 0; i < 3; i++) await giveBack(perDay(2));
        expect(await remaining(perDay(2))).toBe(1);
        clock.set(MIDNIGHT);
        for (let i = 0; i < 2; i++) await giveBack(perDay(2));
        expect(await remaining(perDay(2))).toBe(2);
      });

      it('for each policy and key by its own measure', async () => {
        for (let i = 0; i < 2; i++) await giveBack(perSecond(2), 1, 'a');
        const decision = await store.admit([perSecond(2), perSecond(2), perMinute(2)], ['a', 'b', 'a'], [1, 1, 1]);
        if (decision.kind !== 'admitted') throw new Error('refused');
        await store.settle(decision.receipt, [0, 0, 0]);
        const left = await store.peek([perSecond(2), perSecond(2), perMinute(2)], ['a', 'b', 'a']);
        expect(left.map(({ remaining }) => remaining)).toEqual([1, 2, 2]);
      });

      it('by the limit of the charge if limits change', async () => {
        for (let i = 0; i < 2; i++) await giveBack(perSecond(2));
        await giveBack(perSecond(3));
        expect(await remaining(perSecond(3))).toBe(3);
        await giveBack(perSecond(2));
        expect(await remaining(perSecond(2))).toBe(1);
      });

      it('nothing of a charge that has left its window, and does not count that', async () => {
        const { receipt } = await admitted(perSecond(2), 2);
        clock.advance(SECOND);
        await store.settle(receipt, [0]);
        for (let i = 0; i < 2; i++) await giveBack(perSecond(2));
        expect(await remaining(perSecond(2))).toBe(2);
      });

      it('as much as before after a reset', async () => {
        for (let i = 0; i < 3; i++) await giveBack(perSecond(2));
        await store.reset([perSecond(2)], ['key']);
        for (let i = 0; i < 2; i++) await giveBack(perSecond(2));
        expect(await remaining(perSecond(2))).toBe(2);
      });

      it('without a bound on what is added', async () => {
        for (let i = 0; i < 3; i++) await giveBack(perSecond(2));
        clock.advance(SECOND);
        const { receipt } = await admitted(perSecond(2));
        await store.settle(receipt, [9]);
        expect(await remaining(perSecond(2))).toBe(0);
      });

      it('so that at most twice the limit is admitted in any window', async () => {
        const times: number[] = [];
        for (let i = 0; i < 300; i++) {
          clock.advance(13);
          const decision = await admit(perSecond(5));
          if (decision.kind === 'refused') continue;
          times.push(clock.now());
          await store.settle(decision.receipt, [0]);
        }
        const inWindow = times.map((start) => times.filter((time) => time >= start && time < start + SECOND).length);
        expect(Math.max(...inWindow)).toBe(10);
      });
    });

    describe('resets', () => {
      it('what was charged, and only for that key and policy', async () => {
        await store.admit([perSecond(2), perMinute(2), perDay(2)], ['a', 'a', 'a'], [2, 2, 2]);
        await admitted(perSecond(2), 2, 'b');
        await store.reset([perSecond(2), perDay(2)], ['a', 'a']);
        expect(await store.peek([perSecond(2), perMinute(2), perDay(2)], ['a', 'a', 'a'])).toMatchObject([
          { remaining: 2 },
          { remaining: 0 },
          { remaining: 2 },
        ]);
        expect(await remaining(perSecond(2), 'b')).toBe(0);
      });

      it('a key that was never seen', async () => {
        await store.reset([perSecond(2), perDay(2)], ['unseen', 'unseen']);
        await admitted(perSecond(2), 2, 'unseen');
      });
    });

    describe('if the limit of a policy changes between calls', () => {
      it('counts what was charged under a lower one', async () => {
        await admitted(perSecond(2), 2);
        await refused(perSecond(2));
        expect(await remaining(perSecond(5))).toBe(3);
        await admitted(perSecond(5), 3);
        await refused(perSecond(5));
      });

      it('counts what was charged under a higher one, until enough of it has left', async () => {
        for (const at of [0, 100, 200, 300]) {
          clock.set(NOON + at);
          await admitted(perSecond(5));
        }
        expect(await remaining(perSecond(2))).toBe(0);
        expect(violationsOf(await refused(perSecond(2)))).toEqual([['second', NOON + 200 + SECOND]]);
        clock.set(NOON + 200 + SECOND - 1);
        await refused(perSecond(2));
        clock.set(NOON + 200 + SECOND);
        await admitted(perSecond(2));
      });

      it('counts a daily quota the same way', async () => {
        await admitted(perDay(5), 4);
        expect(violationsOf(await refused(perDay(2)))).toEqual([['daily', MIDNIGHT]]);
        expect(await remaining(perDay(2))).toBe(0);
        expect(await remaining(perDay(6))).toBe(2);
      });

      it('goes from exact to coarse and back without losing a unit or running out of room', async () => {
        const exact = perMinute(512);
        const coarse = perMinute(2000);
        for (let i = 0; i < 512; i++) {
          clock.set(NOON + i);
          await admitted(exact);
        }
        for (let i = 1; i <= 60; i++) {
          clock.set(NOON + i * SECOND - 1);
          await admitted(coarse);
        }
        expect(await remaining(coarse)).toBe(2000 - 572);
        await refused(exact);
        clock.set(NOON + 60 * SECOND);
        expect(await remaining(coarse)).toBe(2000 - 571);
        clock.set(NOON + 60 * SECOND + 511);
        expect(await remaining(exact)).toBe(512 - 60);
        await admitted(exact, 452);
        await refused(exact);
      });
    });

    describe('if the clock jumps backwards', () => {
      it('by less than a window, forgets a unit at the time it first returned', async () => {
        await admitted(perSecond(2), 2);
        clock.set(NOON - 900);
        expect(violationsOf(await refused(perSecond(2)))).toEqual([['second', NOON + SECOND]]);
        clock.set(NOON + SECOND - 1);
        await refused(perSecond(2));
        clock.set(NOON + SECOND);
        await admitted(perSecond(2), 2);
      });

      it('counts a later admission as if it were made with the newest unit', async () => {
        await admitted(perSecond(3));
        clock.set(NOON - 500);
        await admitted(perSecond(3), 2);
        clock.set(NOON + 500);
        expect(violationsOf(await refused(perSecond(3)))).toEqual([['second', NOON + SECOND]]);
        clock.set(NOON + SECOND - 1);
        await refused(perSecond(3));
        clock.set(NOON + SECOND);
        expect(await remaining(perSecond(3))).toBe(3);
      });

      it('settles an admission made then', async () => {
        await admitted(perSecond(3));
        clock.set(NOON - 500);
        const { receipt } = await admitted(perSecond(3), 2);
        await store.settle(receipt, [1]);
        expect(await remaining(perSecond(3))).toBe(1);
      });

      it.each([
        ['second more than a window', SECOND + 1],
        ['hour', HOUR],
        ['year', 365 * 24 * HOUR],
      ])('by a %s, counts what is further ahead than a window as charged now', async (_, ahead) => {
        clock.set(NOON + ahead);
        await admitted(perSecond(2));
        clock.set(NOON);
        expect(await state(perSecond(2))).toMatchObject({ remaining: 1, resetAt: NOON + SECOND });
        clock.set(NOON + SECOND - 1);
        await admitted(perSecond(2));
        expect(violationsOf(await refused(perSecond(2)))).toEqual([['second', NOON + SECOND]]);
        clock.set(NOON + SECOND);
        expect(await remaining(perSecond(2))).toBe(1);
        clock.set(NOON + 2 * SECOND - 1);
        expect(await remaining(perSecond(2))).toBe(2);
      });

      it('keeps what was charged before and after a false hour', async () => {
        await admitted(perMinute(9), 2);
        clock.set(NOON + HOUR);
        await admitted(perMinute(9), 1);
        clock.set(NOON + SECOND);
        await admitted(perMinute(9), 3);
        expect(await remaining(perMinute(9))).toBe(5);
        clock.set(NOON + SECOND + 60 * SECOND);
        expect(await remaining(perMinute(9))).toBe(9);
      });

      it('bounds what is given back after a false hour as well', async () => {
        clock.set(NOON + HOUR);
        for (let i = 0; i < 3; i++) await store.settle((await admitted(perSecond(3))).receipt, [0]);
        clock.set(NOON);
        await store.settle((await admitted(perSecond(3))).receipt, [0]);
        expect(await remaining(perSecond(3))).toBe(2);
        clock.set(NOON + SECOND);
        await store.settle((await admitted(perSecond(3))).receipt, [0]);
        expect(await remaining(perSecond(3))).toBe(3);
      });

      it.each([
        ['day', 24 * HOUR],
        ['year', 365 * 24 * HOUR],
        ['hour across midnight', 12 * HOUR],
      ])('by a %s, counts the units of a later day today', async (_, ahead) => {
        clock.set(NOON + ahead);
        await admitted(perDay(3));
        clock.set(NOON);
        await admitted(perDay(3));
        expect(await state(perDay(3))).toMatchObject({ remaining: 1, resetAt: MIDNIGHT });
        clock.set(MIDNIGHT - 1);
        await admitted(perDay(3));
        expect(violationsOf(await refused(perDay(3)))).toEqual([['daily', MIDNIGHT]]);
        clock.set(MIDNIGHT);
        expect(await remaining(perDay(3))).toBe(3);
      });
    });

    describe('above 512 units', () => {
      const COARSE = [513, 1000, 1_000_000] as const;
      const WINDOWS = [64_000, 60_000, 10_007, 100, 1] as const;

      for (const limit of COARSE) {
        it.each(WINDOWS)(
          `forgets ${limit} units of a window of %i ms never early, and at most window/64 late`,
          async (window) => {
            const policy = slidingWindow({ limit, window: `${window}ms` });
            for (const offset of [0, 1, Math.floor(window / 128), Math.floor(window / 64) - 1]) {
              const start = NOON + Math.max(0, offset);
              clock.set(start);
              await store.reset([policy], ['key']);
              await admitted(policy, limit);
              const latest = start + window + Math.floor(window / 64);
              const [violation] = (await refused(policy)).violations;
              const retryAt = violation?.retryAt ?? Number.NaN;
              expect(retryAt).toBeGreaterThanOrEqual(start + window);
              expect(retryAt).toBeLessThanOrEqual(latest);
              clock.set(start + window - 1);
              await refused(policy);
              clock.set(retryAt - 1);
              await refused(policy);
              clock.set(retryAt);
              await admitted(policy, limit);
            }
          },
        );
      }

      it('admits exactly the limit', async () => {
        const policy = slidingWindow({ limit: 700, window: '64000ms' });
        for (let i = 0; i < 700; i++) {
          clock.advance(40);
          await admitted(policy);
        }
        await refused(policy);
        expect(await remaining(policy)).toBe(0);
      });

      it('settles each of two admissions in one tick by its own receipt', async () => {
        const policy = slidingWindow({ limit: 1000, window: '64000ms' });
        clock.set(NOON + 1);
        const first = await admitted(policy, 300);
        clock.set(NOON + 2);
        const second = await admitted(policy, 400);
        await store.settle(first.receipt, [100]);
        expect(await remaining(policy)).toBe(500);
        await store.settle(second.receipt, [0]);
        expect(await remaining(policy)).toBe(900);
      });

      it('does not settle into a later window', async () => {
        const policy = slidingWindow({ limit: 1000, window: '64000ms' });
        const { receipt } = await admitted(policy, 1000);
        clock.advance(65_000);
        await admitted(policy, 400);
        await store.settle(receipt, [0]);
        expect(await remaining(policy)).toBe(600);
      });
    });

    describe('daily', () => {
      for (const [zone, what, from, to] of ZONES) {
        it(`counts ${what} in ${zone} from ${from} to ${to}`, async () => {
          const [start, end] = [Date.parse(from), Date.parse(to)];
          const policy = perDay(3, zone);
          clock.set(start - 1);
          expect((await admitted(policy, 3)).states).toMatchObject([{ remaining: 0, resetAt: start }]);
          clock.set(start);
          expect((await admitted(policy, 2)).states).toMatchObject([{ remaining: 1, resetAt: end }]);
          clock.set(end - 1);
          await admitted(policy);
          expect(violationsOf(await refused(policy))).toEqual([['daily', end]]);
          clock.set(end);
          expect(await remaining(policy)).toBe(3);
          await admitted(policy, 3);
        });
      }

      it('counts the days of two time zones separately', async () => {
        await admitted(perDay(2, 'Europe/Berlin'), 2);
        await admitted(perDay(2, 'UTC'), 2);
        await refused(perDay(2, 'Europe/Berlin'));
      });

      it('starts a new day after days without a request', async () => {
        await admitted(perDay(2), 2);
        clock.advance(10 * 24 * HOUR);
        expect((await admitted(perDay(2))).states).toMatchObject([
          { remaining: 1, resetAt: MIDNIGHT + 10 * 24 * HOUR },
        ]);
      });
    });

    describe('keys', () => {
      it.each(STRANGE_KEYS)('counts for %s', async (_, key) => {
        await store.admit([perSecond(2), perDay(2)], [key, key], [2, 2]);
        expect(await store.peek([perSecond(2), perDay(2)], [key, key])).toMatchObject([
          { remaining: 0 },
          { remaining: 0 },
        ]);
        await refused(perSecond(2), 1, key);
        await store.reset([perSecond(2)], [key]);
        await admitted(perSecond(2), 2, key);
      });

      it('counts each of them separately', async () => {
        for (const [, key] of STRANGE_KEYS) await admitted(perSecond(1), 1, key);
        for (const [what, key] of STRANGE_KEYS) expect(await remaining(perSecond(1), key), what).toBe(0);
        expect(await remaining(perSecond(1), 'another')).toBe(1);
      });
    });

    describe('many at once', () => {
      it('admits exactly the limit of 200 parallel requests', async () => {
        const decisions = await Promise.all(
          Array.from({ length: 200 }, async () => store.admit([perSecond(5), perDay(100)], ['key', 'key'], [1, 1])),
        );
        expect(decisions.filter(({ kind }) => kind === 'admitted')).toHaveLength(5);
        expect(await remaining(perDay(100))).toBe(95);
      });
    });
  });
}
