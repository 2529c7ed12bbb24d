/** Thrown when work took longer than its timeout. */
export class WorkTimeoutError extends Error {}

/**
 * Runs `work` until `signal` is aborted or `milliseconds` have passed. The signal that `work` receives reports both.
 * The timer is not an `AbortSignal.timeout`: in Node 20, `AbortSignal.any` may lose such a signal to garbage collection.
 * @throws WorkTimeoutError if the time has passed, otherwise what `work` throws
 */
export async function withTimeout<T>(
  signal: AbortSignal,
  milliseconds: number,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const controller = new AbortController();
  const timeoutError = new WorkTimeoutError(`not done after ${milliseconds} ms`);
  const timer = setTimeout(() => controller.abort(timeoutError), milliseconds);
  const forwardAbort = () => controller.abort(signal.reason);
  if (signal.aborted) forwardAbort();
  else signal.addEventListener('abort', forwardAbort, { once: true });
  try {
    return await work(controller.signal);
  } catch (error) {
    throw controller.signal.reason === timeoutError ? timeoutError : error;
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', forwardAbort);
  }
}
