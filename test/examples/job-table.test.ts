import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type JobName, JobTable, type RunningJob } from '../../examples/workers/job-table.js';

const SLOTS = 2;

type Step =
  | { readonly kind: 'start' | 'ask'; readonly slot: number; readonly token: number }
  | { readonly kind: 'cancel'; readonly slot: number; readonly token: number }
  | { readonly kind: 'end'; readonly slot: number };

const slot = fc.integer({ min: 0, max: SLOTS });
const token = fc.integer({ min: 1, max: 12 });
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ kind: fc.constantFrom('start', 'ask'), slot, token }),
  fc.record({ kind: fc.constant('cancel'), slot, token }),
  fc.record({ kind: fc.constant('end'), slot }),
);

describe('the table of jobs', () => {
  it('keeps the rules of slots and tokens for every order of messages', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const table = new JobTable(SLOTS, () => 0);
        const running = new Map<number, RunningJob>();
        const started = new Map<number, number[]>();
        const cancelled = new Map<number, number>();
        for (const one of steps) {
          const jobs = table.list();
          expect(new Set(jobs.map((job) => job.slot)).size).toBe(jobs.length);
          expect(jobs.map((job) => job.token).sort()).toEqual([...running.values()].map((job) => job.token).sort());
          if (one.kind === 'end') {
            const job = running.get(one.slot);
            if (job !== undefined) table.end(job, 0, 'done');
            running.delete(one.slot);
            continue;
          }
          const before = running.get(one.slot);
          if (one.kind === 'cancel') {
            const state = table.cancel(one.slot, one.token);
            expect(state).toBe(before?.token === one.token ? 'ending' : 'gone');
            // Older jobs stop too, and never a newer one.
            if (before !== undefined && before.token <= one.token) expect(before.stop.signal.aborted).toBe(true);
            cancelled.set(one.slot, Math.max(cancelled.get(one.slot) ?? 0, one.token));
            continue;
          }
          const wasAborted = before?.stop.signal.aborted;
          if (one.kind === 'ask') {
            const refusal = table.refusalOf(table.instance, one);
            if (refusal?.reason !== 'busy' && before !== undefined) expect(before.stop.signal.aborted).toBe(wasAborted);
            continue;
          }
          const name: JobName = { id: 'a', slot: one.slot, token: one.token };
          expect(table.start('another', name)).toEqual({ reason: 'instance' });
          const job = table.start(table.instance, name);
          if ('reason' in job) {
            if (job.reason === 'busy') expect(before?.stop.signal.aborted).toBe(true);
            if (job.reason === 'slot') expect(one.slot).toBeGreaterThanOrEqual(SLOTS);
            continue;
          }
          // It started: nothing else runs there, no newer one ran there, and it was not cancelled.
          expect(before).toBeUndefined();
          expect(one.slot).toBeLessThan(SLOTS);
          expect(Math.max(0, ...(started.get(one.slot) ?? []))).toBeLessThan(one.token);
          expect(cancelled.get(one.slot) ?? 0).toBeLessThan(one.token);
          started.set(one.slot, [...(started.get(one.slot) ?? []), one.token]);
          running.set(one.slot, job);
        }
      }),
      { numRuns: 2000 },
    );
  });

  it('starts a job that was busy once its slot is free, and none between', () => {
    const table = new JobTable(1, () => 0);
    const name = (number: number) => ({ id: 'a', slot: 0, token: number });
    const first = table.start(table.instance, name(1)) as RunningJob;
    expect(table.start(table.instance, name(5))).toEqual({ reason: 'busy' });
    expect(first.stop.signal.aborted).toBe(true);
    table.end(first, 0, 'done');
    expect(table.start(table.instance, name(4))).toEqual({ reason: 'token', newest: 4 });
    expect(table.start(table.instance, name(5))).toMatchObject({ token: 5 });
  });

  it('lists no more jobs than a ledger remembers', () => {
    const table = new JobTable(1, () => 0);
    for (let token = 1; token <= 15_000; token++) {
      table.end(table.start(table.instance, { id: 'a', slot: 0, token }) as RunningJob, 1, 'done');
    }
    expect(table.listEnded(0).ended[0]).toMatchObject({ number: 5001, token: 5001 });
    expect(table.listEnded(14_999).ended).toMatchObject([{ number: 15_000 }]);
    expect(table.listEnded(15_000)).toMatchObject({ gpu_ms: 15_000, ended: [] });
  });

  it('has another instance after every start', () => {
    expect(new JobTable(1, () => 0).instance).not.toBe(new JobTable(1, () => 0).instance);
  });
});
