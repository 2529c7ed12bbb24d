import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { JobBooking, Ledger, UsageRow } from '../../src/core/ledger.js';

export interface LedgerSetup {
  /** An empty ledger, and the same ledger as other processes see it. */
  readonly ledgers: readonly Ledger[];
  /** Sets the time of all of them, in epoch milliseconds. */
  setTime(now: number): void;
  close?(): void | Promise<void>;
}

const NOON = Date.UTC(2026, 10, 22, 12);
const DAY = 86_400_000;

const NOTHING: Omit<UsageRow, 'client'> = {
  requests: 0,
  refusals: {},
  errors: 0,
  bytesIn: 0,
  bytesOut: 0,
  gpuTime: 0,
  jobsStarted: 0,
  jobsFinished: 0,
  jobsAborted: 0,
};

function job(name: string, gpuTime: number, more: Partial<JobBooking> = {}): JobBooking {
  return { job: name, client: 'ada', gpuTime, isFinal: true, end: 'finished', ...more };
}

/** What every ledger promises. */
export function ledgerContract(name: string, setup: () => LedgerSetup | Promise<LedgerSetup>) {
  describe(`${name}, as a ledger`, () => {
    let current: LedgerSetup;
    let ledger: Ledger;
    let other: Ledger;

    beforeEach(async () => {
      current = await setup();
      const [first, second = first] = current.ledgers;
      if (first === undefined || second === undefined) throw new Error('no ledger');
      [ledger, other] = [first, second];
      current.setTime(NOON);
    });
    afterEach(async () => {
      for (const one of current.ledgers) await one.close();
      await current.close?.();
    });

    /** What all of them have written. */
    async function rows(query: Parameters<Ledger['read']>[0] = {}): Promise<readonly UsageRow[]> {
      // To read writes what is collected here, and not what is collected elsewhere.
      for (const one of current.ledgers) await one.read();
      return (await ledger.read(query)).rows;
    }

    it('is empty at first', async () => {
      expect(await ledger.read()).toEqual({ rows: [], total: 0 });
      expect(await ledger.read({ client: 'ada' })).toEqual({ rows: [], total: 0 });
      expect(ledger.today()).toBe('2026-11-22');
    });

    it('adds up what each process has counted', async () => {
      await ledger.add([{ client: 'ada', requests: 1, bytesIn: 10, refusal: 'quota-exceeded' }]);
      await other.add([
        { client: 'ada', requests: 1, bytesOut: 5, errors: 1, jobsStarted: 1 },
        { client: 'anonymous', requests: 1, refusal: 'credentials-missing' },
      ]);
      await ledger.add([
        { client: 'ada', refusal: 'not-ready' },
        { client: 'ada', requests: 1, refusal: 'quota-exceeded' },
      ]);
      const all = [
        {
          ...NOTHING,
          client: 'ada',
          requests: 3,
          errors: 1,
          bytesIn: 10,
          bytesOut: 5,
          jobsStarted: 1,
          refusals: { 'not-ready': 1, 'quota-exceeded': 2 },
        },
        { ...NOTHING, client: 'anonymous', requests: 1, refusals: { 'credentials-missing': 1 } },
      ];
      expect(await rows({ sort: 'client' })).toEqual(all);
      expect(await rows({ sort: 'client', day: '2026-11-22' })).toEqual(all);
      expect(await rows({ day: '2026-11-21' })).toEqual([]);
      expect(await rows({ client: 'anonymous' })).toEqual([all[1]]);
    });

    it('counts each day by itself, and all of them together', async () => {
      await ledger.add([{ client: 'ada', requests: 1 }]);
      current.setTime(NOON + DAY);
      expect(ledger.today()).toBe('2026-11-23');
      await ledger.add([{ client: 'ada', requests: 2 }]);
      expect(await rows()).toEqual([{ ...NOTHING, client: 'ada', requests: 3 }]);
      expect(await rows({ day: '2026-11-22' })).toEqual([{ ...NOTHING, client: 'ada', requests: 1 }]);
      expect(await rows({ day: '2026-11-23' })).toEqual([{ ...NOTHING, client: 'ada', requests: 2 }]);
    });

    it('books each job once, whichever process repeats it', async () => {
      for (const one of [ledger, other, ledger]) await one.book([job('a', 1200), job('b', 300, { end: 'aborted' })]);
      await other.book([job('a', 9999)]);
      const booked = { ...NOTHING, client: 'ada', gpuTime: 1500, jobsFinished: 1, jobsAborted: 1 };
      expect(await rows()).toEqual([booked]);
      expect(await rows({ day: '2026-11-22' })).toEqual([booked]);
    });

    it('books a job once that is twice in one call', async () => {
      await ledger.book([job('a', 1200), job('a', 1200)]);
      expect(await rows()).toMatchObject([{ gpuTime: 1200, jobsFinished: 1 }]);
    });

    it("replaces a measured time by the worker's word, and never the other way round", async () => {
      await ledger.book([job('a', 1000, { isFinal: false, end: 'aborted' })]);
      expect(await rows()).toMatchObject([{ gpuTime: 1000, jobsAborted: 1 }]);
      await other.book([job('a', 1100, { isFinal: false })]);
      expect(await rows()).toMatchObject([{ gpuTime: 1000 }]);
      await other.book([job('a', 900)]);
      const booked = [{ ...NOTHING, client: 'ada', gpuTime: 900, jobsAborted: 1 }];
      expect(await rows()).toEqual(booked);
      await ledger.book([job('a', 5000, { isFinal: false }), job('a', 6000)]);
      expect(await rows()).toEqual(booked);
      expect(await rows({ day: '2026-11-22' })).toEqual(booked);
    });

    it('corrects a measured time on the day on which it was booked', async () => {
      await ledger.book([job('a', 1000, { isFinal: false })]);
      current.setTime(NOON + DAY);
      await other.book([job('a', 400)]);
      expect(await rows({ day: '2026-11-22' })).toMatchObject([{ gpuTime: 400 }]);
      expect((await rows({ day: '2026-11-23' })).map(({ gpuTime }) => gpuTime)).not.toContain(-600);
      expect(await rows()).toMatchObject([{ gpuTime: 400 }]);
    });

    it('books work that was no job of a worker without counting a job', async () => {
      await ledger.book([{ job: 'held', client: 'ada', gpuTime: 70, isFinal: true }]);
      expect(await rows()).toEqual([{ ...NOTHING, client: 'ada', gpuTime: 70 }]);
    });

    it('sorts and pages, with one order for equal figures', async () => {
      const clients = Array.from({ length: 25 }, (_, i) => `client-${String(i).padStart(2, '0')}`);
      await ledger.add(clients.map((client, i) => ({ client, requests: 1 + (i % 5) })));
      await ledger.read();
      const pages = [];
      for (const offset of [0, 10, 20]) {
        const page = await ledger.read({ sort: 'requests', offset, limit: 10 });
        expect(page.total).toBe(25);
        pages.push(...page.rows);
      }
      expect(pages.map(({ requests }) => requests)).toEqual([5, 4, 3, 2, 1].flatMap((n) => [n, n, n, n, n]));
      expect(pages.slice(0, 3).map(({ client }) => client)).toEqual(['client-04', 'client-09', 'client-14']);
      expect(new Set(pages.map(({ client }) => client)).size).toBe(25);
      expect((await ledger.read({ sort: 'client', limit: 2 })).rows.map(({ client }) => client)).toEqual(
        clients.slice(0, 2),
      );
      expect((await ledger.read({ offset: 100 })).rows).toEqual([]);
    });

    it.each(['__proto__', 'constructor', 'a b', 'requests x', 'ü😀', '<img src=x onerror=alert(1)>', 'x\ny', '{tag}'])(
      'keeps a client of the name %j',
      async (client) => {
        await ledger.add([
          { client, requests: 1, refusal: client },
          { client, refusal: client },
        ]);
        await ledger.book([job('a', 5, { client })]);
        const [row] = await rows({ client });
        expect(row).toMatchObject({ client, requests: 1, gpuTime: 5, jobsFinished: 1 });
        expect(Object.entries(row?.refusals ?? {})).toEqual([[client, 2]]);
      },
    );

    it('keeps large figures', async () => {
      const bytes = 2 ** 45;
      for (let i = 0; i < 3; i++) await ledger.add([{ client: 'ada', bytesIn: bytes }]);
      await ledger.book([job('a', 2 ** 40)]);
      expect(await rows()).toMatchObject([{ bytesIn: 3 * bytes, gpuTime: 2 ** 40 }]);
    });
  });
}
