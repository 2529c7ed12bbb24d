import type { QuotaState } from '../core/quota-state.js';
import type { ActionName, OperatorRecord } from './operator-action.js';
import type { Measure } from './operator-store.js';
import type { ClientFigures } from './recent-clients.js';
import type { Waiting, WorkerRun } from './traffic.js';

/** Whether a part that the service depends on works. */
export interface Health {
  readonly isUp: boolean;
  /** In a few words, for the operator. */
  readonly detail?: string | undefined;
}

/** A counter of slots, such as a `limit` guard with `by: 'global'`. */
export interface SlotCounters {
  /** What is left. The page asks for the key `global`. */
  peek(key: string): readonly QuotaState[] | Promise<readonly QuotaState[]>;
}

/** What the page shows of a job. A `JobRecord` of `gatewarden/jobs` is one. */
export interface ListedJob {
  readonly id: string;
  readonly owner: string;
  readonly state: string;
  /** Epoch milliseconds, as the other times. */
  readonly createdAt: number;
  readonly startedAt?: number | undefined;
  readonly endedAt?: number | undefined;
  readonly cancelRequested?: boolean | undefined;
  readonly place?: { readonly position: number } | undefined;
  readonly progress?: { readonly fraction: number; readonly message?: string | undefined } | undefined;
  readonly problem?: { readonly code: string } | undefined;
}

/** Jobs to show, such as a store of `jobs` that has the verb `list`. */
export interface ListedJobs {
  /** The newest jobs, the newest first. At most `limit`. */
  list(limit: number): readonly ListedJob[] | Promise<readonly ListedJob[]>;
}

/** A row of the table of clients. */
export interface ClientRow extends Readonly<ClientFigures> {
  readonly limits: readonly QuotaState[];
}

/** What the page shows at one moment. */
export interface PageSnapshot {
  readonly at: number;
  readonly name: string | undefined;
  /** Whether the clients are those of a ledger, for today, and not those that this process has seen. */
  readonly isSharedLedger: boolean;
  /** The names of limits whose units are milliseconds. */
  readonly timeLimits: readonly string[];
  readonly actions: readonly ActionName[];
  readonly inFlight: number;
  readonly held: Readonly<Record<string, number>>;
  /** Those that are served next. */
  readonly waiting: readonly Waiting[];
  readonly waitingTotal: number;
  readonly runs: readonly WorkerRun[];
  readonly clients: readonly ClientRow[];
  readonly clientsTotal: number;
  readonly measures: readonly Measure[];
  readonly slots: readonly QuotaState[];
  /** Undefined without a list of jobs. */
  readonly jobs: readonly ListedJob[] | undefined;
  readonly health: readonly (Health & { readonly name: string })[];
  readonly records: readonly OperatorRecord[];
  /** The parts that cannot be read now. */
  readonly unavailable: readonly string[];
}
