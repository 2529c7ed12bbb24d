import type { Ledger } from '../core/ledger.js';
import type { QuotaState } from '../core/quota-state.js';
import { noAnswer, withTimeout } from '../core/with-timeout.js';
import type { OperatorControls } from './operator-controls.js';
import type { ClientRow, Health, ListedJob, ListedJobs, PageSnapshot, SlotCounters } from './page-snapshot.js';
import type { Traffic } from './traffic.js';

/** Where the page gets what it shows. */
export interface PageSources {
  readonly name: string | undefined;
  readonly traffic: Traffic;
  readonly controls: OperatorControls | undefined;
  readonly ledger: Ledger | undefined;
  readonly slots: readonly SlotCounters[];
  readonly timeLimits: readonly string[];
  readonly jobs: ListedJobs | undefined;
  readonly health: Readonly<Record<string, () => Health | Promise<Health>>>;
  readonly now: () => number;
}

const MAX_CLIENTS = 50;
const MAX_JOBS = 50;
const MAX_SHOWN_WAITING = 100;
/** Clients are read less often: each row is a look at every limit. */
const CLIENTS_EVERY = 3000;
const PATIENCE = 2000;

type Clients = Pick<PageSnapshot, 'clients' | 'clientsTotal'>;

/** Reads what the page shows. A part that cannot be read is missing, and named in `unavailable`. */
export class PageState {
  readonly #sources: PageSources;
  #clients: { readonly at: number; readonly read: Promise<Clients> } | undefined;
  readonly #failing = new Set<string>();

  constructor(sources: PageSources) {
    this.#sources = sources;
  }

  /** The clients are read again for the next snapshot. */
  changed(): void {
    this.#clients = undefined;
  }

  /** `fault` receives an error of a part that could be read before. */
  async snapshot(fault: (error: unknown) => void): Promise<PageSnapshot> {
    const { name, traffic, controls, ledger, timeLimits, jobs, now } = this.#sources;
    const part = <T>(label: string, read: () => T | Promise<T>) => this.#part(label, read, fault);
    const [clients, measures, slots, listed, health] = await Promise.all([
      part('clients', () => this.#recentClients()),
      part('measures', () => controls?.measures() ?? []),
      part('slots', () => this.#slots()),
      part('jobs', () => jobs?.list(MAX_JOBS)),
      this.#health(),
    ]);
    const { waiting } = traffic;
    return {
      at: now(),
      name,
      isSharedLedger: ledger !== undefined,
      timeLimits,
      actions: controls?.actions ?? [],
      inFlight: traffic.inFlight,
      held: traffic.held,
      waiting: waiting.slice(0, MAX_SHOWN_WAITING),
      waitingTotal: waiting.length,
      runs: traffic.runs,
      clients: clients?.clients ?? [],
      clientsTotal: clients?.clientsTotal ?? 0,
      measures: measures ?? [],
      slots: slots ?? [],
      jobs: listed?.map(shownJob),
      health,
      records: controls?.recent() ?? [],
      unavailable: [...this.#failing],
    };
  }

  async #part<T>(label: string, read: () => T | Promise<T>, fault: (error: unknown) => void): Promise<T | undefined> {
    try {
      const value = await withTimeout(
        (async () => read())(),
        PATIENCE,
        () => noAnswer(`the source of "${label}"`, PATIENCE),
        { background: true },
      );
      this.#failing.delete(label);
      return value;
    } catch (error) {
      if (!this.#failing.has(label)) fault(error);
      this.#failing.add(label);
      return undefined;
    }
  }

  #recentClients(): Promise<Clients> {
    const at = this.#sources.now();
    const known = this.#clients;
    if (known !== undefined && at >= known.at && at - known.at < CLIENTS_EVERY) return known.read;
    const read = this.#readClients();
    this.#clients = { at, read };
    return read;
  }

  async #readClients(): Promise<Clients> {
    const { ledger, traffic } = this.#sources;
    if (ledger === undefined) {
      const rows = traffic.clients.top(MAX_CLIENTS);
      return {
        clients: await Promise.all(rows.map((row) => this.#withLimits(row))),
        clientsTotal: traffic.clients.size,
      };
    }
    const { rows, total } = await ledger.read({ day: ledger.today(), sort: 'gpuTime', limit: MAX_CLIENTS });
    const clients = rows.map(({ client, requests, errors, gpuTime, refusals }) => {
      const refused = Object.values(refusals).reduce((sum, count) => sum + count, 0);
      return this.#withLimits({ client, requests, refused, errors, gpuTime });
    });
    return { clients: await Promise.all(clients), clientsTotal: total };
  }

  async #withLimits(row: Omit<ClientRow, 'limits'>): Promise<ClientRow> {
    const { limits = {} } = this.#sources.controls ?? {};
    const states = await Promise.all(Object.values(limits).map((counters) => counters.peek(row.client)));
    return { ...row, limits: states.flat() };
  }

  async #slots(): Promise<readonly QuotaState[]> {
    const states = await Promise.all(this.#sources.slots.map((slots) => slots.peek('global')));
    return states.flat();
  }

  #health(): Promise<readonly (Health & { readonly name: string })[]> {
    return Promise.all(
      Object.entries(this.#sources.health).map(async ([name, check]) => {
        try {
          const { isUp, detail } = await withTimeout(
            (async () => check())(),
            PATIENCE,
            () => noAnswer(name, PATIENCE),
            {
              background: true,
            },
          );
          return { name, isUp, detail };
        } catch {
          return { name, isUp: false, detail: 'no answer' };
        }
      }),
    );
  }
}

/** Without its result, which belongs to its owner. */
function shownJob(job: ListedJob): ListedJob {
  const { id, owner, state, createdAt, startedAt, endedAt, cancelRequested, place, progress, problem } = job;
  return {
    id,
    owner,
    state,
    createdAt,
    startedAt,
    endedAt,
    cancelRequested,
    place,
    progress: progress === undefined ? undefined : { fraction: progress.fraction, message: progress.message },
    problem: problem === undefined ? undefined : { code: problem.code },
  };
}
