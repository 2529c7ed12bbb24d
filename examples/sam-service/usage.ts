import type { Ledger, UsageOrder, UsageRow } from 'gatewarden';

export interface ClientUsage {
  readonly requests: number;
  /** Seconds. */
  readonly gpu_time: number;
}

/** Refusals of requests that were never admitted. The guide counts the others, also if they fail. */
const NOT_ADMITTED = [
  'credentials-missing',
  'credentials-invalid',
  'credentials-malformed',
  'scope-insufficient',
  'client-suspended',
  'not-ready',
  'quota-exceeded',
  'store-unavailable',
];
const PAGE = 1000;

/** What each client has used, by its id, never by its key. Clients without an id share the id `anonymous`. */
export async function clientUsage(ledger: Ledger): Promise<Readonly<Record<string, ClientUsage>>> {
  const all: UsageRow[] = [];
  for (let total = 1; all.length < total; ) {
    const page = await ledger.read({ sort: 'client', offset: all.length, limit: PAGE });
    if (page.rows.length === 0) break;
    all.push(...page.rows);
    total = page.total;
  }
  // `fromEntries` defines members instead of assigning them, so a client may be named `__proto__`.
  return Object.fromEntries(all.filter(isServed).map((row) => [row.client, usageOf(row)]));
}

/** The clients with the most of something, in descending order. */
export async function topClients(ledger: Ledger, sort: UsageOrder, count: number) {
  const { rows } = await ledger.read({ sort, limit: count });
  return rows.filter(isServed).map((row) => ({ id: row.client, ...usageOf(row) }));
}

function usageOf({ requests, refusals, gpuTime }: UsageRow): ClientUsage {
  const refused = NOT_ADMITTED.reduce(
    (sum, code) => sum + (Object.hasOwn(refusals, code) ? (refusals[code] ?? 0) : 0),
    0,
  );
  return { requests: requests - refused, gpu_time: gpuTime / 1000 };
}

function isServed(row: UsageRow): boolean {
  return usageOf(row).requests > 0 || row.gpuTime > 0;
}
