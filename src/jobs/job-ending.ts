import type { Exchange } from '../core/exchange.js';
import { shown } from '../core/option.js';
import type { Outcome } from '../core/outcome.js';
import { problem } from '../core/problem.js';
import type { Reply } from '../core/reply.js';
import { isThenable } from '../core/thenable.js';
import { type JobChange, type JobFile, type JobProblem, LOST } from './job-store.js';

export type JobEnd = Extract<JobChange, { kind: 'end' }>;

/** How the work of a job ended, for the store and for what the guards of the job hold. */
export interface Ending {
  readonly change: JobEnd;
  readonly outcome: Outcome;
}

export const CANCELLED: JobEnd = { kind: 'end', state: 'cancelled' };
/** For a job whose process stops in order. */
export const CLOSED: JobEnd = failed(LOST);

export function succeeded(result: string | undefined, files: readonly JobFile[]): Ending {
  return { change: { kind: 'end', state: 'succeeded', result, files }, outcome: { kind: 'completed', status: 200 } };
}

/** A guard of the job has refused. */
export function refusedByGuard(reply: Reply): Ending {
  const { code, status } = problemOf(reply);
  return { change: failed(problemOf(reply)), outcome: { kind: 'refused', status, code } };
}

/** The work has returned a refusal. */
export function refusedByWork(reply: Reply): Ending {
  const { status } = problemOf(reply);
  return { change: failed(problemOf(reply)), outcome: { kind: 'completed', status } };
}

/** The work has thrown. */
export function faulty(): Ending {
  const fault = problem('internal-error');
  return { change: failed(fault), outcome: { kind: 'completed', status: fault.status } };
}

/** A guard that answers without a problem has not let the job run either. */
function problemOf(reply: Reply): JobProblem {
  return reply.problem ?? problem('internal-error');
}

/** Only what its owner may see. */
function failed({ code, status, title, detail }: JobProblem): JobEnd {
  return { kind: 'end', state: 'failed', problem: { code, status, title, detail } };
}

/** The result as JSON text. @throws TypeError if it is not JSON, or too large */
export function jsonOf(result: unknown, maxBytes: number): string | undefined {
  if (result === undefined) return undefined;
  const text = JSON.stringify(result) as string | undefined;
  if (text === undefined) throw new TypeError(`gatewarden: a job returned ${shown(result)}, which is not JSON`);
  if (Buffer.byteLength(text) <= maxBytes) return text;
  throw new TypeError(
    `gatewarden: a job returned more than ${maxBytes} bytes of JSON ("maxResultBytes"); use job.file for it`,
  );
}

/** Gives back what was charged for a job that was stopped before it ran. */
export function giveBack(exchange: Exchange): undefined {
  const fault = (error: unknown) => exchange.fault(error);
  for (let admission = exchange.admission; admission !== undefined; admission = admission.previous) {
    try {
      admission.release()?.catch(fault);
      admission.settle(0)?.catch(fault);
    } catch (error) {
      fault(error);
    }
  }
}

/** What a job holds stays held until its work has ended, which may be after the job was stopped. Returns the work. */
export function holdUntilDone(exchange: Exchange, work: unknown): unknown {
  if (!isThenable(work)) return work;
  const done = Promise.resolve(work);
  for (let admission = exchange.admission; admission !== undefined; admission = admission.previous) {
    admission.holdUntil(done);
  }
  return done;
}
