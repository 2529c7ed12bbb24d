import type { JobBooking, UsageChange, UsagePage, UsageQuery } from '../../core/ledger.js';
import { listOf, numberOf, packRows, type Rows, textOf, unpackRows } from './packed-rows.js';
import { addRow, addUsage, type CountedUsage, noUsage, pageOf } from './usage-row.js';

/** The row of all clients for which there is no room. */
const OTHERS = 'others';
/**
 * How many jobs are remembered, so that each is booked once. After a restart, all jobs that workers still list are booked
 * again: each worker lists up to 10,000.
 */
const MAX_JOBS = 40_000;

/** What was booked of a job. */
interface Booked {
  readonly client: string;
  readonly day: string;
  readonly gpuTime: number;
  readonly isFinal: boolean;
}

/** The rows of all clients, by day and in all, and the jobs that were booked. Its size is bounded. */
export class MemoryRows {
  readonly #keepDays: number;
  readonly #maxClients: number;
  readonly #clients = new Set<string>();
  /** What the days that are not kept any more add up to. */
  readonly #earlier: Rows = new Map();
  readonly #days = new Map<string, Rows>();
  readonly #jobs = new Map<string, Booked>();
  /** The JSON of days that have not changed since. The day that was changed last is never in it. */
  readonly #packedDays = new WeakMap<Rows, Buffer>();
  #today = '';
  #rowsOfToday: Rows = new Map();

  constructor(keepDays: number, maxClients: number) {
    this.#keepDays = keepDays;
    this.#maxClients = maxClients;
  }

  add(day: string, change: UsageChange): void {
    addUsage(this.#rowOf(this.#rowsOf(day), change.client), change);
  }

  book(day: string, { job, client, gpuTime, isFinal, end }: JobBooking): void {
    const before = this.#jobs.get(job);
    if (before?.isFinal === true || (before !== undefined && !isFinal)) return;
    const on = before?.day ?? day;
    const rows = before !== undefined && !this.#days.has(on) ? this.#earlier : this.#rowsOf(on);
    addUsage(this.#rowOf(rows, before?.client ?? client), {
      gpuTime: gpuTime - (before?.gpuTime ?? 0),
      ...(before === undefined && end !== undefined && { [END_FIGURES[end]]: 1 }),
    });
    this.#jobs.delete(job);
    this.#jobs.set(job, { client: before?.client ?? client, day: on, gpuTime, isFinal });
    if (this.#jobs.size > MAX_JOBS) for (const oldest of this.#jobs.keys()) return void this.#jobs.delete(oldest);
  }

  read(query: UsageQuery = {}): UsagePage {
    return pageOf(query.day === undefined ? this.#all() : (this.#days.get(query.day) ?? new Map()), query);
  }

  /**
   * All of it as JSON, in parts. The rows of one day are packed at a time, and only if they have changed, since to pack all
   * of them could keep the process busy for half a second.
   */
  async packed(): Promise<readonly (string | Buffer)[]> {
    for (const [day, rows] of this.#days) {
      if (day === this.#today || this.#packedDays.has(rows)) continue;
      this.#packedDays.set(rows, dayPart(day, rows));
      await new Promise((resolve) => setImmediate(resolve));
    }
    // From here on in one step, so that the rows have the jobs that are remembered, and no others.
    const parts: (string | Buffer)[] = [`{"earlier":${packRows(this.#earlier)},"days":[`];
    for (const [day, rows] of this.#days) {
      if (parts.length > 1) parts.push(',');
      parts.push(this.#packedDays.get(rows) ?? dayPart(day, rows));
    }
    parts.push(`],"jobs":${this.#packedJobs()}}`);
    return parts;
  }

  /** Reads what `packed` has returned, as JSON has parsed it. @throws TypeError if it is anything else */
  restore(saved: unknown): void {
    const { earlier, days, jobs } = (saved ?? {}) as Readonly<Record<string, unknown>>;
    unpackRows(earlier, (client) => this.#rowOf(this.#earlier, client));
    for (const [day, packed] of listOf(days)) {
      const rows = this.#rowsOf(textOf(day));
      unpackRows(packed, (client) => this.#rowOf(rows, client));
    }
    for (const [job, client, day, gpuTime, isFinal] of listOf(jobs)) {
      const booked = {
        client: textOf(client),
        day: textOf(day),
        gpuTime: numberOf(gpuTime),
        isFinal: isFinal === true,
      };
      this.#jobs.set(textOf(job), booked);
    }
  }

  #packedJobs(): string {
    const jobs = [...this.#jobs].map(([job, { client, day, gpuTime, isFinal }]) => [
      job,
      client,
      day,
      gpuTime,
      isFinal,
    ]);
    return JSON.stringify(jobs);
  }

  /** Only a report needs it, so that what is counted is counted once. */
  #all(): Rows {
    const all: Rows = new Map();
    for (const rows of [this.#earlier, ...this.#days.values()]) addRows(all, rows);
    return all;
  }

  #rowOf(rows: Rows, client: string): CountedUsage {
    const row = rows.get(client);
    if (row !== undefined) return row;
    // That row takes no other's room.
    const isKnown = client !== OTHERS && (this.#clients.has(client) || this.#clients.size < this.#maxClients);
    if (isKnown) this.#clients.add(client);
    return rowIn(rows, isKnown ? client : OTHERS);
  }

  #rowsOf(day: string): Rows {
    if (day === this.#today) return this.#rowsOfToday;
    let rows = this.#days.get(day);
    if (rows === undefined) {
      rows = new Map();
      this.#days.set(day, rows);
      const [oldest] = [...this.#days.keys()].sort();
      if (this.#days.size > this.#keepDays && oldest !== undefined) {
        addRows(this.#earlier, this.#days.get(oldest) ?? new Map());
        this.#days.delete(oldest);
        // The clock was set back to before all days that are kept.
        if (oldest === day) rows = this.#earlier;
      }
    }
    this.#today = day;
    this.#rowsOfToday = rows;
    this.#packedDays.delete(rows);
    return rows;
  }
}

/** How the end of a job is counted. */
const END_FIGURES = { finished: 'jobsFinished', aborted: 'jobsAborted' } as const;

function rowIn(rows: Rows, client: string): CountedUsage {
  let row = rows.get(client);
  if (row === undefined) {
    row = noUsage();
    rows.set(client, row);
  }
  return row;
}

function addRows(sum: Rows, rows: Rows): void {
  for (const [client, row] of rows) addRow(rowIn(sum, client), row);
}

function dayPart(day: string, rows: Rows): Buffer {
  return Buffer.from(`[${JSON.stringify(day)},${packRows(rows)}]`);
}
