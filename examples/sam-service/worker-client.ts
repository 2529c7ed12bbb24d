import { withDeadline } from '../deadline.js';
import type { Segmentation } from '../workers/segmentation.js';

/** `refused`: it is no image to the worker either. `unavailable`: the worker has failed. */
export type WorkerAnswer = Segmentation | 'refused' | 'unavailable';

/**
 * Has the worker find the masks of an image.
 * @throws when it cannot be reached, or has not answered in full before its time is over or the client has left
 */
export function askWorker(
  url: string,
  image: Buffer,
  signal: AbortSignal,
  milliseconds: number,
): Promise<WorkerAnswer> {
  return withDeadline(signal, milliseconds, async (limited) => {
    const response = await fetch(url, { method: 'POST', body: new Uint8Array(image), signal: limited });
    if (response.ok) return (await response.json()) as Segmentation;
    await response.body?.cancel();
    return response.status >= 500 ? 'unavailable' : 'refused';
  });
}
