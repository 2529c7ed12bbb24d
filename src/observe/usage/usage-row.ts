import type { Usage, UsageChange, UsagePage, UsageQuery, UsageRow } from '../../core/ledger.js';

/** The figures that are numbers. */
export const FIGURES = [
  'requests',
  'errors',
  'bytesIn',
  'bytesOut',
  'gpuTime',
  'jobsStarted',
  'jobsFinished',
  'jobsAborted',
] as const satisfies readonly (keyof Usage)[];

export type Figure = (typeof FIGURES)[number];

/** The usage of one client while it is counted. */
export type CountedUsage = { -readonly [Name in Figure]: Usage[Name] } & { readonly refusals: Map<string, number> };

export function noUsage(): CountedUsage {
  return {
    requests: 0,
    refusals: new Map(),
    errors: 0,
    bytesIn: 0,
    bytesOut: 0,
    gpuTime: 0,
    jobsStarted: 0,
    jobsFinished: 0,
    jobsAborted: 0,
  };
}

/** The most that a figure can be: a sum above it would not be exact, and a file with it could not be read again. */
export const MAX_FIGURE = Number.MAX_SAFE_INTEGER;

/** Adds a change to a row. */
export function addUsage(row: CountedUsage, change: Omit<UsageChange, 'client'>): void {
  // One after the other: a loop over names would take longer than all else that is done for an exchange.
  row.requests += change.requests ?? 0;
  row.errors += change.errors ?? 0;
  // A client names the length of its body.
  row.bytesIn = Math.min(MAX_FIGURE, row.bytesIn + (change.bytesIn ?? 0));
  row.bytesOut = Math.min(MAX_FIGURE, row.bytesOut + (change.bytesOut ?? 0));
  row.gpuTime = Math.min(MAX_FIGURE, row.gpuTime + (change.gpuTime ?? 0));
  row.jobsStarted += change.jobsStarted ?? 0;
  row.jobsFinished += change.jobsFinished ?? 0;
  row.jobsAborted += change.jobsAborted ?? 0;
  const { refusal } = change;
  if (refusal !== undefined) row.refusals.set(refusal, (row.refusals.get(refusal) ?? 0) + 1);
}

/** Adds a row to another. */
export function addRow(sum: CountedUsage, row: CountedUsage): void {
  for (const figure of FIGURES) sum[figure] = Math.min(MAX_FIGURE, sum[figure] + row[figure]);
  for (const [code, count] of row.refusals) sum.refusals.set(code, (sum.refusals.get(code) ?? 0) + count);
}

/** A row as a report has it. */
export function usageRow(client: string, row: CountedUsage): UsageRow {
  // `fromEntries` defines members instead of assigning them, so a code may be `__proto__`.
  return { client, ...row, refusals: Object.fromEntries([...row.refusals].sort(([a], [b]) => (a < b ? -1 : 1))) };
}

const DEFAULT_LIMIT = 100;
const MAX_LIMIT = 1000;

/** The part of all rows of a day that a query asks for. */
export function pageOf(rows: ReadonlyMap<string, CountedUsage>, query: UsageQuery = {}): UsagePage {
  const { client, sort = 'gpuTime', offset = 0, limit = DEFAULT_LIMIT } = query;
  if (client !== undefined) {
    const row = rows.get(client);
    const found = row === undefined ? [] : [usageRow(client, row)];
    return { rows: found.slice(offset, offset + limit), total: found.length };
  }
  const byName = (a: string, b: string) => (a < b ? -1 : 1);
  // Rows with equal figures have one order, so that no page misses one or has it twice.
  const sorted = [...rows].sort(
    sort === 'client' ? ([a], [b]) => byName(a, b) : ([a, one], [b, other]) => other[sort] - one[sort] || byName(a, b),
  );
  const rest = sorted.slice(offset, offset + Math.min(limit, MAX_LIMIT));
  return { rows: rest.map(([name, row]) => usageRow(name, row)), total: rows.size };
}
