import { type Concurrency, concurrency, type GpuTime, gpuTime, type Logger, learnedEstimate } from 'gatewarden';
import { integer } from 'gatewarden/env';
import type { WorkerEvent } from 'gatewarden/worker';

/** How the GPU is shared, as the variables of a service say. */
export interface GpuSettings {
  /** How many jobs the worker runs at the same time. */
  readonly gpuSlots: number;
  /** The GPU seconds of each client in a day. If undefined, they are not limited. */
  readonly gpuSecondsPerDay: number | undefined;
}

/** The variables `GPU_SLOTS` and `GPU_SECONDS_PER_DAY`. */
export const gpuVariables = {
  GPU_SLOTS: integer({ min: 1, max: 1000, default: 1 }),
  GPU_SECONDS_PER_DAY: integer({ min: 1, max: 1_000_000, optional: true }),
};

/** The worker's slots, and the GPU time of each client if it is limited. */
export function gpuPolicies(
  { gpuSlots, gpuSecondsPerDay }: GpuSettings,
  by: 'client-ip' | 'principal',
): readonly (Concurrency | GpuTime)[] {
  const slots = concurrency({ limit: gpuSlots, by: 'global', name: 'gpu-slots' });
  if (gpuSecondsPerDay === undefined) return [slots];
  const limit = `${gpuSecondsPerDay}s` as const;
  return [slots, gpuTime({ limit, window: 'day', estimate: learnedEstimate(), by, name: 'gpu-seconds' })];
}

/** Logs what happens to the worker. */
export function logWorker(logger: Logger): (event: WorkerEvent) => void {
  return (event) => {
    switch (event.kind) {
      case 'state': {
        const { state, previous, reason } = event;
        // That all is well needs no line at the start.
        if (state !== 'ready' || previous !== undefined)
          logger[state === 'dead' ? 'error' : 'info']({ reason }, `The worker is ${state}`);
        break;
      }
      case 'cancel-ignored':
        logger.warn(
          { ...event.job, ageMs: event.age },
          'The worker goes on with a cancelled job, which keeps its slot',
        );
        break;
      case 'cancel-unconfirmed':
        logger.warn(
          { ...event.job, ageMs: event.age, reason: event.reason },
          'The worker has not said whether a cancelled job has ended, and the job keeps its slot',
        );
        break;
      case 'hold-lost':
        logger.error({ ...event.job }, 'The slot of a job was lost, and the job cancelled');
        break;
      case 'job-refused':
        logger.error({ ...event.job, reason: event.reason }, 'The worker refused a job');
        break;
      case 'ended-jobs-unreadable':
        logger.error({ reason: event.reason }, 'Jobs that have ended at the worker cannot be booked');
    }
  };
}
