import type { PartitionBy, QueueOptions } from 'gatewarden';
import { integer } from 'gatewarden/env';

/** How long requests wait for the GPU, as the variables of a service say. */
export interface WaitingSettings {
  /** In seconds. If 0, a request is refused while no slot is free. */
  readonly maxWait: number;
  readonly maxWaiting: number;
}

/** The variables `MAX_WAIT_SECONDS` and `MAX_WAITING`. */
export const waitingVariables = {
  MAX_WAIT_SECONDS: integer({ min: 0, max: 3600, default: 60 }),
  MAX_WAITING: integer({ min: 1, max: 1000, default: 100 }),
};

/** A queue in which the clients that `by` names are served alike. Undefined if requests do not wait. */
export function waitingQueue(
  { maxWait, maxWaiting }: WaitingSettings,
  by: PartitionBy,
  onQueue?: QueueOptions['onQueue'],
): QueueOptions | undefined {
  if (maxWait === 0) return undefined;
  return { maxWait: `${maxWait}s`, maxWaiting, by, headers: true, onQueue };
}
