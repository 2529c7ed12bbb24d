import type { Admission, AdmissionHold } from '../core/admission.js';
import type { Exchange } from '../core/exchange.js';

/** A hold, and the admission that has it. */
export interface Place {
  readonly admission: Admission;
  readonly hold: AdmissionHold;
}

/** What is settled of each admission, by the names of its policies. */
type Units = Map<Admission, Record<string, number>>;

/** GPU time in milliseconds. */
interface Used extends Place {
  ms: number;
}

const JOBS = new WeakMap<Exchange, ExchangeJobs>();

/** The jobs of an exchange, at whichever workers they run. */
export function jobsOf(exchange: Exchange): ExchangeJobs {
  let jobs = JOBS.get(exchange);
  if (jobs === undefined) {
    jobs = new ExchangeJobs(exchange);
    JOBS.set(exchange, jobs);
  }
  return jobs;
}

/**
 * What the jobs of one exchange have taken and used. Each has a slot of its own, and ends only that. Their GPU time adds up,
 * and is settled when the last job has ended: when none runs, and none can follow, since no slot is left or the exchange has
 * ended.
 */
export class ExchangeJobs {
  readonly #exchange: Exchange;
  #running = 0;
  /** The policies of each admission in whose slots a job runs or has run. */
  readonly #taken = new Map<Admission, Set<string>>();
  /** GPU time that is not settled yet. */
  #used: Used[] = [];
  /** Admissions with slots of jobs that have ended, and whether all of these jobs cost nothing. */
  #areFree = new Map<Admission, boolean>();
  /** The policies whose GPU time was settled. */
  readonly #settled = new Set<string>();

  constructor(exchange: Exchange) {
    this.#exchange = exchange;
  }

  /** What the exchange holds, that of the last admission first. */
  *held(): Generator<Place> {
    for (let admission = this.#exchange.admission; admission !== undefined; admission = admission.previous) {
      for (const hold of admission.holds) yield { admission, hold };
    }
  }

  isTaken({ admission, hold }: Place): boolean {
    return this.#taken.get(admission)?.has(hold.policy) === true;
  }

  /** Whether a job has run in a slot of this policy, or in any. */
  hasTaken(policy: string | undefined): boolean {
    for (const taken of this.#taken.values()) if (policy === undefined || taken.has(policy)) return true;
    return false;
  }

  /**
   * A job takes a slot. Returns the holds of GPU time that it uses: the newest of each policy.
   * @throws TypeError if GPU time that an earlier job used was settled, and was not admitted again
   */
  take(place: Place): readonly Place[] {
    const gpu = new Map<string, Place>();
    for (const held of this.held()) {
      const key = keyOf(held.hold);
      if (held.hold.kind === 'gpu-time' && !gpu.has(key)) gpu.set(key, held);
    }
    for (const key of this.#settled) if (!gpu.has(key)) throw new TypeError(SETTLED);
    const { admission, hold } = place;
    const taken = this.#taken.get(admission);
    if (taken === undefined) this.#taken.set(admission, new Set([hold.policy]));
    else taken.add(hold.policy);
    this.#running++;
    // Of the hooks of an exchange the last one runs first, so that the admissions have not settled by themselves before.
    this.#exchange.onEnd(() => this.#settleIfLast(new Map()));
    return [...gpu.values()];
  }

  /** A job has ended, and its slot with it. `used` is undefined if it costs nothing. */
  end({ admission, hold }: Place, gpu: readonly Place[], used: number | undefined): void {
    this.#running--;
    const ms = Math.max(0, Math.ceil(used ?? 0));
    for (const { admission, hold } of gpu) {
      const before = this.#used.find((one) => one.admission === admission && one.hold.policy === hold.policy);
      if (before === undefined) this.#used.push({ admission, hold, ms });
      else before.ms += ms;
    }
    this.#areFree.set(admission, used === undefined && this.#areFree.get(admission) !== false);
    this.#settleIfLast(new Map([[admission, { [hold.policy]: 0 }]]));
  }

  #settleIfLast(units: Units): void {
    const isLast = this.#running === 0 && (this.#exchange.outcome !== undefined || !this.#hasSlot());
    if (isLast) {
      for (const { admission, hold, ms } of this.#used) {
        units.set(admission, { ...units.get(admission), [hold.policy]: ms });
        this.#settled.add(keyOf(hold));
      }
    }
    for (const [admission, settled] of units) this.#kept(() => admission.settle(settled));
    if (!isLast) return;
    // What was charged together with the slots, such as a request. If the client chose a deadline that ended the job with a
    // 504, that answer must not refund what the job has used.
    const keeps = this.#exchange.deadline?.isShortened === true;
    for (const [admission, isFree] of this.#areFree) {
      if (isFree) this.#kept(() => admission.settle(0));
      else if (keeps) admission.keep();
    }
    this.#used = [];
    this.#areFree = new Map();
  }

  /** Whether another job can follow. */
  #hasSlot(): boolean {
    for (const place of this.held()) if (place.hold.kind === 'concurrency' && !this.isTaken(place)) return true;
    return false;
  }

  /** What the store cannot do is a fault of the service, and none of the job. */
  #kept(act: () => void | Promise<void>): void {
    const fault = (error: unknown) => this.#exchange.fault(error);
    try {
      act()?.catch(fault);
    } catch (error) {
      fault(error);
    }
  }
}

/** Names a policy of an exchange, of whichever admission. */
function keyOf({ policy, isGlobal }: AdmissionHold): string {
  return `${isGlobal} ${policy}`;
}

const SETTLED =
  'gatewarden: worker.run found the GPU time of this exchange settled; let the limit with gpuTime run again as well, or take the slots of all jobs in one limit';
