/**
 * Nanoseconds a call, over as many calls as fill `ms`.
 * @param {(calls: number) => unknown} work does that many calls; may return a promise
 */
export async function nanoseconds(work, { ms = 400, warmUp = 1000 } = {}) {
  await work(warmUp);
  let calls = warmUp;
  let spent = 0n;
  let done = 0;
  const until = process.hrtime.bigint() + BigInt(ms) * 1_000_000n;
  for (;;) {
    const start = process.hrtime.bigint();
    const pending = work(calls);
    // An await for each batch would be nothing, but a batch that is not asynchronous needs none.
    if (pending instanceof Promise) await pending;
    const end = process.hrtime.bigint();
    spent += end - start;
    done += calls;
    if (end >= until) return Number(spent) / done;
    // Batches of about 20 ms.
    const perCall = Number(spent) / done;
    calls = Math.max(1, Math.round(20e6 / perCall));
  }
}
