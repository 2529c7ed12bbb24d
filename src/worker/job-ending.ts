import type { WorkerEvent, WorkerJob } from './worker-event.js';
import { reasonOf, type WorkerLink } from './worker-link.js';

const FIRST_WAIT_MS = 50;
const MAX_WAIT_MS = 1000;
/** A job that goes on, or of which nothing is known, for so long after its cancel is reported, and again after twice the time. */
const IGNORED_AFTER_MS = 5000;

/**
 * Cancels a job at the worker, and returns when the worker has said that it is gone: it does not run, and will not start.
 * Only a worker that has confirmed the cancel can say that. One that cannot be reached is asked again until it answers, or
 * until `signal` is aborted.
 *
 * Returns until when the job ran, by `performance.now()`: until now, or if the worker was silent before it said so, the last
 * time at which it listed the job. Undefined if it never did.
 */
export async function untilGone(
  link: WorkerLink,
  job: WorkerJob,
  instance: string,
  signal: AbortSignal,
  report: (event: WorkerEvent) => void,
): Promise<number | undefined> {
  const { slot, token } = job;
  const startedAt = performance.now();
  let isConfirmed = false;
  let wasSilent = false;
  let ranAt: number | undefined;
  let wait = FIRST_WAIT_MS;
  let reportAt = startedAt + IGNORED_AFTER_MS;
  let patience = IGNORED_AFTER_MS;
  const isDue = (): boolean => {
    if (performance.now() < reportAt) return false;
    patience *= 2;
    reportAt = performance.now() + patience;
    return true;
  };
  while (!signal.aborted) {
    try {
      const listed = isConfirmed ? await link.find(slot, token, instance) : undefined;
      const isGone = isConfirmed ? listed === undefined : await link.cancel(slot, token, instance);
      if (isGone) return wasSilent ? ranAt : performance.now();
      isConfirmed = true;
      wasSilent = false;
      ranAt = performance.now();
      if (listed !== undefined && isDue()) report({ kind: 'cancel-ignored', job, age: listed.ageMs });
    } catch (error) {
      // The worker did not answer. It may still run the job.
      wasSilent = true;
      if (isDue()) {
        const age = Math.round(performance.now() - startedAt);
        report({ kind: 'cancel-unconfirmed', job, age, reason: reasonOf(error) });
      }
    }
    await sleep(wait, signal);
    wait = Math.min(wait * 2, MAX_WAIT_MS);
  }
  return ranAt;
}

/** Waits, or until the signal is aborted. Does not keep the process alive. */
export function sleep(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    const done = (): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    // Timers of other runtimes are numbers.
    timer.unref?.();
    signal.addEventListener('abort', done);
  });
}
