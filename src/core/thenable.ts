/**
 * Whether a value is a promise, also one of another realm or library. If one were mistaken for a value, a request could pass
 * that the promise is about to refuse.
 */
export function isThenable<T>(value: T | PromiseLike<T>): value is PromiseLike<T> {
  return typeof value === 'object' && value !== null && typeof (value as { then?: unknown }).then === 'function';
}

/** Keeps a promise that a callback returned by mistake from ending the process when it rejects. */
export function ignoreRejection(value: unknown): void {
  if (isThenable(value)) Promise.resolve(value).catch(() => undefined);
}
