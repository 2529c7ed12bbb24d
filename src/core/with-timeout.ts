/** A timer this late shows that the process was busy, in milliseconds: answers may wait unread. */
const BUSY = 20;

/**
 * The same promise, rejected with what `onTimeout` returns if it takes longer than `ms` milliseconds. If the event loop was
 * blocked at the end of that time, a little longer: no answer could be read then. What has arrived is read before this
 * gives up. With `background`, waiting does not keep the process alive.
 */
export async function withTimeout<T>(
  promise: PromiseLike<T>,
  ms: number,
  onTimeout: () => Error,
  { background = false }: { readonly background?: boolean } = {},
): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  let check: NodeJS.Immediate | undefined;
  const late = new Promise<never>((_, reject) => {
    // At most that time again, or a process that is never idle would not notice that there is no answer.
    let more = ms;
    const wait = (time: number): void => {
      const due = performance.now() + time;
      timer = setTimeout(() => {
        const blocked = performance.now() - due;
        if (blocked > BUSY && more > 0) {
          const extension = Math.min(blocked, ms) / 4;
          more -= extension;
          return wait(extension);
        }
        // Sockets are read before immediates run, and what they hold may settle the promise in the turn after that.
        check = setImmediate(() => {
          check = setImmediate(() => reject(onTimeout()));
        });
      }, time);
      if (background) timer.unref();
    };
    wait(ms);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
    clearImmediate(check);
  }
}

/** What `withTimeout` rejects with where no other error is wanted. */
export function noAnswer(who: string, ms: number): Error {
  return new Error(`gatewarden: ${who} did not answer within ${ms} ms`);
}
