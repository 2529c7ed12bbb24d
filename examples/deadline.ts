/** The work was given up because its time was over. */
export class DeadlineError extends Error {}

/**
 * Lets `work` go on until `signal` is aborted or the time is over; the signal that it gets tells of both. The timer is its
 * own: `AbortSignal.any` holds a signal of `AbortSignal.timeout` so weakly in Node 20 that it may never come.
 * @throws DeadlineError when the time was over; else what `work` throws
 */
export async function withDeadline<T>(
  signal: AbortSignal,
  milliseconds: number,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const controller = new AbortController();
  const late = new DeadlineError(`it was not done after ${milliseconds} ms`);
  const timer = setTimeout(() => controller.abort(late), milliseconds);
  const leave = () => controller.abort(signal.reason);
  if (signal.aborted) leave();
  else signal.addEventListener('abort', leave, { once: true });
  try {
    return await work(controller.signal);
  } catch (error) {
    throw controller.signal.reason === late ? late : error;
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', leave);
  }
}
