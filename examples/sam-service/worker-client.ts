import { withTimeout } from '../with-timeout.js';
import type { Segmentation } from '../workers/segmentation.js';

/** `refused`: the worker cannot read the image. `unavailable`: the worker failed. */
export type WorkerResult = Segmentation | 'refused' | 'unavailable';

/**
 * Requests the masks of an image from the worker.
 * @throws if the worker cannot be reached, its response is not complete within the timeout, or `signal` is aborted
 */
export function askWorker(url: string, image: Buffer, signal: AbortSignal, timeoutMs: number): Promise<WorkerResult> {
  return withTimeout(signal, timeoutMs, async (limitedSignal) => {
    const response = await fetch(url, { method: 'POST', body: new Uint8Array(image), signal: limitedSignal });
    if (response.ok) return (await response.json()) as Segmentation;
    await response.body?.cancel();
    return response.status >= 500 ? 'unavailable' : 'refused';
  });
}
