/**
 * Whether a value is to be waited for. Promises of other realms and libraries are, too: taken for an answer, one of them
 * would let a request pass that it is about to refuse.
 */
export function isThenable<T>(value: T | PromiseLike<T>): value is PromiseLike<T> {
  return typeof value === 'object' && value !== null && typeof (value as { then?: unknown }).then === 'function';
}

/**
 * Lets go of a promise that a callback gave where none is waited for: what it gave is refused for not being of its type,
 * and its own failure must not end the process.
 */
export function ignoreRejection(value: unknown): void {
  if (isThenable(value)) Promise.resolve(value).catch(() => undefined);
}
