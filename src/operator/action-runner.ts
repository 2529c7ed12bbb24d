import type { Exchange } from '../core/exchange.js';
import { badOption } from '../core/option.js';
import type { Principal } from '../core/principal.js';
import { printable } from '../core/printable.js';
import { isThenable } from '../core/thenable.js';
import { noAnswer, withTimeout } from '../core/with-timeout.js';
import type { CancellableJobs, ClientCounters } from './action-subjects.js';
import type { MeasureView } from './measure-view.js';
import {
  type ActedRecord,
  type ActionName,
  type ActionResult,
  CLIENT_ACTIONS,
  type OperatorAction,
  type OperatorRecord,
} from './operator-action.js';
import { isInForce, type Measure, type OperatorStore } from './operator-store.js';

/** What the actions of one service work on. */
export interface ActionSettings {
  readonly store: OperatorStore;
  readonly view: MeasureView;
  readonly limits: Readonly<Record<string, ClientCounters>>;
  readonly jobs: CancellableJobs | undefined;
  /** Milliseconds. */
  readonly allowance: number;
  readonly sink: (record: OperatorRecord) => unknown;
  readonly now: () => number;
}

const MAX_RECENT = 50;
const MAX_NAME = 1024;
/** How long an operator waits for the audit log, in milliseconds. */
const SINK_PATIENCE = 2000;

/** Does the actions of operators, and records each. */
export class ActionRunner {
  readonly actions: readonly ActionName[];
  readonly #settings: ActionSettings;
  #recent: readonly OperatorRecord[] = [];

  constructor(settings: ActionSettings) {
    this.#settings = settings;
    const canReset = Object.keys(settings.limits).length > 0;
    this.actions = [
      ...CLIENT_ACTIONS.filter((action) => action !== 'reset' || canReset),
      ...(settings.jobs === undefined ? [] : (['cancel-job'] as const)),
    ];
  }

  get recent(): readonly OperatorRecord[] {
    return this.#recent;
  }

  measures(): readonly Measure[] | Promise<readonly Measure[]> {
    const { view, now } = this.#settings;
    const measures = view.current();
    return isThenable(measures)
      ? measures.then(({ all }) => all.filter((measure) => isInForce(measure, now())))
      : measures.all.filter((measure) => isInForce(measure, now()));
  }

  async act(exchange: Exchange, action: OperatorAction): Promise<ActedRecord> {
    const { principal, clientIp, requestId, request } = exchange;
    if (principal === undefined) throw new TypeError(NO_OPERATOR);
    this.#check(action);
    const { now } = this.#settings;
    const at = now();
    const { result, until } = await this.#done(exchange, principal, action, at);
    const record: OperatorRecord = {
      at,
      action: action.action,
      client: 'client' in action ? printable(action.client) : undefined,
      job: 'job' in action ? printable(action.job) : undefined,
      result,
      until,
      by: printable(principal.id),
      credentialId: printable(principal.credentialId),
      ip: clientIp?.ip ?? request.remoteAddress,
      requestId,
    };
    this.#recent = [record, ...this.#recent].slice(0, MAX_RECENT);
    return { ...record, isRecorded: await this.#write(record, exchange) };
  }

  #check(action: OperatorAction): void {
    if (!this.actions.includes(action.action)) {
      throw badOption('operatorControls', 'action', `must be one of ${this.actions.join(', ')}`, action.action);
    }
    const [option, name] = 'job' in action ? ['job', action.job] : ['client', action.client];
    if (typeof name !== 'string' || name === '' || name.length > MAX_NAME) {
      throw badOption('operatorControls', option, `must be 1 to ${MAX_NAME} characters`, name);
    }
  }

  async #done(exchange: Exchange, by: Principal, action: OperatorAction, at: number): Promise<Done> {
    try {
      switch (action.action) {
        case 'suspend':
          return await this.#add({ kind: 'suspended', client: action.client, since: at, until: undefined, by: by.id });
        case 'allow': {
          const until = at + this.#settings.allowance;
          return await this.#add({ kind: 'exceeds-quotas', client: action.client, since: at, until, by: by.id });
        }
        case 'resume':
          return await this.#remove('suspended', action.client);
        case 'disallow':
          return await this.#remove('exceeds-quotas', action.client);
        case 'reset':
          for (const counters of Object.values(this.#settings.limits)) await counters.reset(action.client);
          return { result: 'done', until: undefined };
        case 'cancel-job':
          return { result: resultOf(await this.#settings.jobs?.cancel(action.job)), until: undefined };
      }
    } catch (error) {
      exchange.fault(error);
      return { result: 'failed', until: undefined };
    }
  }

  async #add(measure: Measure): Promise<Done> {
    const { store, view } = this.#settings;
    try {
      const added = await store.add(measure);
      if (added === 'full') throw new Error(FULL);
      if (added !== 'added') {
        view.outdated();
        return { result: 'unchanged', until: undefined };
      }
      view.changed(measure.kind, measure.client, measure);
      return { result: 'done', until: measure.until };
    } catch (error) {
      // It may have been written all the same.
      view.outdated();
      throw error;
    }
  }

  async #remove(kind: Measure['kind'], client: string): Promise<Done> {
    const { store, view } = this.#settings;
    try {
      const wasThere = await store.remove(kind, client);
      view.changed(kind, client, undefined);
      return { result: wasThere ? 'done' : 'unchanged', until: undefined };
    } catch (error) {
      view.outdated();
      throw error;
    }
  }

  /** Returns whether the record was written. The action cannot be undone, but its operator is told. */
  async #write(record: OperatorRecord, exchange: Exchange): Promise<boolean> {
    try {
      const written: unknown = this.#settings.sink(record);
      if (isThenable(written)) {
        const late = () => noAnswer('the sink of operatorControls', SINK_PATIENCE);
        await withTimeout(written, SINK_PATIENCE, late, { background: true });
      }
      return true;
    } catch (error) {
      exchange.fault(error);
      return false;
    }
  }
}

interface Done {
  readonly result: ActionResult;
  readonly until: number | undefined;
}

/** What became of a job, by the record that its store returns. */
function resultOf(job: unknown): ActionResult {
  if (job === undefined || job === null || job === false) return 'not-found';
  const state = typeof job === 'object' && 'state' in job ? job.state : undefined;
  return state === 'succeeded' || state === 'failed' ? 'unchanged' : 'done';
}

const NO_OPERATOR =
  'gatewarden: operatorControls does not know who acts; let authenticate(...) name the operator of this exchange';
const FULL = 'gatewarden: the operator store has no room for another measure; end some that are no longer needed';
