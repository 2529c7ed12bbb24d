/** The same promise, rejected with what `onTimeout` returns if it takes longer than `ms` milliseconds. */
export async function withTimeout<T>(promise: PromiseLike<T>, ms: number, onTimeout: () => Error): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(onTimeout()), ms);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** What `withTimeout` rejects with where no other error is wanted. */
export function noAnswer(who: string, ms: number): Error {
  return new Error(`gatewarden: ${who} did not answer within ${ms} ms`);
}
