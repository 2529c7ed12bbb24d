import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { Exchange } from '../../src/core/exchange.js';
import type { Outcome } from '../../src/core/outcome.js';
import { limit } from '../../src/limit/limit.js';
import type { LimitGuard } from '../../src/limit/limit-guard.js';
import { memoryStore } from '../../src/limit/memory/memory-store.js';
import { concurrency, gpuTime, type QuotaPolicy, slidingWindow } from '../../src/limit/policy.js';
import { sqliteStore } from '../../src/limit/sqlite/sqlite-store.js';
import type { LimitStore } from '../../src/limit/store.js';
import { testExchange } from '../exchange-fixture.js';
import { ReferenceStore } from './holds-reference.js';
import { nodeSqlite } from './sqlite/describe.js';

/** `npm run test:long` asks for more. */
const RUNS = Number(process.env.PROPERTY_RUNS ?? 1000);
const START = Date.UTC(2025, 5, 15, 12);
const LEASE = 3000;
const WINDOW = 60_000;

const STORES: readonly (readonly [what: string, make: () => LimitStore])[] = [
  ['the reference', () => new ReferenceStore(() => Date.now())],
  ['memoryStore', () => memoryStore({ now: () => Date.now() })],
  // Only on a Node that has it.
  ...(nodeSqlite === undefined ? [] : [['sqliteStore', () => sqliteStore({ path: ':memory:' })] as const]),
];

beforeEach(() => {
  vi.useFakeTimers({ now: START, toFake: ['setTimeout', 'clearTimeout', 'Date', 'performance'] });
});

afterEach(() => {
  vi.useRealTimers();
});

const OUTCOMES: readonly Outcome[] = [
  { kind: 'completed', status: 200 },
  { kind: 'completed', status: 500 },
  { kind: 'aborted' },
  { kind: 'refused', status: 422, code: 'upload-undecodable' },
];

/** A gateway process over the shared store. A dead one does nothing any more, and one without network is not answered. */
class Gateway {
  isDead = false;
  readonly guard: LimitGuard;

  constructor(store: LimitStore, policies: readonly QuotaPolicy[]) {
    const never = new Promise<never>(() => undefined);
    const alive =
      <A extends unknown[], R>(call: (...args: A) => R) =>
      (...args: A): R | Promise<never> =>
        this.isDead ? never : call(...args);
    this.guard = limit({
      policies,
      store: {
        admit: alive((...args) => store.admit(...args)),
        settle: alive((...args) => store.settle(...args)),
        renew: alive((receipt) => store.renew(receipt)),
        release: alive((receipt) => store.release(receipt)),
        peek: alive((...args) => store.peek(...args)),
        reset: alive((...args) => store.reset(...args)),
      } as LimitStore,
    });
  }
}

interface Job {
  readonly gateway: Gateway;
  readonly exchange: Exchange;
  readonly principal: string;
  readonly startedAt: number;
  readonly estimate: number;
  readonly slots: readonly number[];
  /** Settles the work that outlives the exchange, if there is any. */
  finish: (() => void) | undefined;
  /** How the exchange ended. */
  outcome: Outcome | undefined;
  /** When the slots became free. */
  endedAt: number | undefined;
  /** When its GPU time was charged, and how much. */
  settledAt: number | undefined;
  used: number;
}

const anyStep = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant('request' as const),
      gateway: fc.nat(2),
      principal: fc.nat(2),
      estimate: fc.integer({ min: 1, max: 400 }),
      outlives: fc.boolean(),
    }),
  },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('end' as const), job: fc.nat(20), outcome: fc.nat(3) }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('finish' as const), job: fc.nat(20) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('settle' as const), job: fc.nat(20), ms: fc.nat(900) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('crash' as const), gateway: fc.nat(2) }) },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant('wait' as const),
      ms: fc.oneof(fc.nat(50), fc.nat(1500), fc.constantFrom(LEASE - 1, LEASE, LEASE + 1000, WINDOW)),
    }),
  },
);

describe.each(STORES)('limits with holds over %s', (_, makeStore) => {
  it(
    'never hold more than their limit, leak nothing, and pass the GPU time by no more than what jobs overrun',
    async () => {
      const world = fc.record({
        all: fc.integer({ min: 1, max: 4 }),
        own: fc.integer({ min: 1, max: 2 }),
        gpu: fc.integer({ min: 200, max: 512 }),
        steps: fc.array(anyStep, { minLength: 10, maxLength: 60 }),
      });
      await fc.assert(
        fc.asyncProperty(world, async ({ all, own, gpu, steps }) => {
          vi.setSystemTime(START);
          const store = makeStore();
          let estimate = 1;
          const policies = [
            slidingWindow({ limit: 500, window: '1m', by: 'global' }),
            concurrency({ limit: all, by: 'global', lease: '3s', name: 'all' }),
            concurrency({ limit: own, by: 'principal', lease: '3s', name: 'own' }),
            gpuTime({
              limit: `${gpu}ms`,
              window: '1m',
              estimate: () => estimate,
              by: 'global',
              lease: '3s',
              name: 'gpu',
            }),
          ];
          const gateways = [0, 1, 2].map(() => new Gateway(store, policies));
          const jobs: Job[] = [];
          /** What may run beyond its estimate since the last admission. */
          let inFlight: readonly Job[] = [];
          const running = () => jobs.filter(({ gateway, endedAt }) => !gateway.isDead && endedAt === undefined);
          const settle = (job: Job, used: number): void => {
            if (job.settledAt !== undefined) return;
            job.settledAt = Date.now();
            job.used = used;
          };
          /** Notes what the limit does by itself when the exchange and its work have ended. */
          const noteEnd = (job: Job): void => {
            if (job.endedAt !== undefined || job.gateway.isDead) return;
            if (job.outcome === undefined || job.finish !== undefined) return;
            job.endedAt = Date.now();
            const isFree =
              job.outcome.kind === 'refused' || (job.outcome.kind === 'completed' && job.outcome.status === 500);
            settle(job, isFree ? 0 : Math.max(1, job.endedAt - job.startedAt));
          };
          const check = (): void => {
            const now = Date.now();
            const live = running();
            expect(live.length).toBeLessThanOrEqual(all);
            for (const principal of ['0', '1', '2']) {
              expect(live.filter((job) => job.principal === principal).length).toBeLessThanOrEqual(own);
            }
            // No two that run share a slot.
            expect(new Set(live.map(({ slots }) => slots[0])).size).toBe(live.length);
            const used = jobs.filter(({ settledAt }) => settledAt !== undefined && settledAt > now - WINDOW);
            const held = live.filter(({ settledAt }) => settledAt === undefined);
            const total =
              used.reduce((sum, job) => sum + job.used, 0) + held.reduce((sum, job) => sum + job.estimate, 0);
            const overrun = inFlight.reduce((sum, job) => sum + Math.max(0, job.used - job.estimate), 0);
            expect(total).toBeLessThanOrEqual(gpu + overrun);
          };
          for (const step of steps) {
            switch (step.kind) {
              case 'wait':
                await vi.advanceTimersByTimeAsync(step.ms);
                break;
              case 'request': {
                const gateway = gateways[step.gateway] as Gateway;
                const principal = String(step.principal);
                const { exchange } = testExchange();
                exchange.principal = { id: principal, scheme: 'test', scopes: [], credentialId: 'first' };
                estimate = step.estimate;
                if ((await gateway.guard(exchange)) !== undefined) break;
                const { admission } = exchange;
                const slots = admission?.holds.map(({ slot }) => slot) ?? [];
                expect(slots).toHaveLength(3);
                const job: Job = {
                  gateway,
                  exchange,
                  principal,
                  startedAt: Date.now(),
                  estimate: step.estimate,
                  slots,
                  finish: undefined,
                  outcome: undefined,
                  endedAt: undefined,
                  settledAt: undefined,
                  used: 0,
                };
                if (step.outlives) admission?.holdUntil(new Promise<void>((done) => (job.finish = done)));
                jobs.push(job);
                inFlight = running();
                break;
              }
              case 'end': {
                const job = jobs[step.job % Math.max(1, jobs.length)];
                if (job === undefined || job.outcome !== undefined) break;
                job.outcome = OUTCOMES[step.outcome] as Outcome;
                job.exchange.end(job.outcome);
                break;
              }
              case 'finish': {
                const job = jobs[step.job % Math.max(1, jobs.length)];
                job?.finish?.();
                if (job !== undefined) job.finish = undefined;
                break;
              }
              case 'settle': {
                const job = jobs[step.job % Math.max(1, jobs.length)];
                if (job === undefined || job.endedAt !== undefined || job.gateway.isDead) break;
                await job.exchange.admission?.settle({ gpu: step.ms });
                settle(job, step.ms);
                break;
              }
              case 'crash': {
                const gateway = gateways[step.gateway] as Gateway;
                gateway.isDead = true;
                gateways[step.gateway] = new Gateway(store, policies);
                break;
              }
            }
            await vi.advanceTimersByTimeAsync(0);
            for (const job of jobs) noteEnd(job);
            check();
          }
          // Everything ends, and dead gateways' leases expire: nothing is held any more.
          for (const job of jobs) {
            job.finish?.();
            job.exchange.end({ kind: 'completed', status: 200 });
          }
          await vi.advanceTimersByTimeAsync(LEASE + 1000);
          const [, whole, ...shares] = await store.peek(
            [policies[0], policies[1], policies[2], policies[2], policies[2]].map((policy, i) => bound(policy, i)),
            ['global', 'global', '0', '1', '2'],
          );
          expect(whole?.remaining).toBe(all);
          expect(shares.map(({ remaining }) => remaining)).toEqual([own, own, own]);
          expect(vi.getTimerCount()).toBe(0);
        }),
        { numRuns: RUNS },
      );
    },
    RUNS * 100 + 30_000,
  );
});

/** A policy as `limit` counts it. */
function bound(policy: QuotaPolicy | undefined, place: number): QuotaPolicy {
  if (policy === undefined) throw new Error('no policy');
  return { ...policy, id: `${place < 2 ? 'global' : 'principal'}/${policy.id}` };
}
