/** Nanoseconds per call: the best of several rounds, because noise only adds time. */
export async function nanoseconds(run, { calls = 200_000, rounds = 7 } = {}) {
  let best = Number.POSITIVE_INFINITY;
  for (let round = 0; round < rounds; round++) {
    const start = process.hrtime.bigint();
    const result = run(calls);
    if (result instanceof Promise) await result;
    best = Math.min(best, Number(process.hrtime.bigint() - start) / calls);
  }
  return best;
}

/** Prints rows as a table. Each row also shows its ratio to the first. */
export function table(title, rows) {
  const [[, base]] = rows;
  console.log(`\n${title}`);
  for (const [name, ns] of rows) {
    console.log(`  ${name.padEnd(58)} ${ns.toFixed(0).padStart(7)} ns  ${(ns / base).toFixed(2).padStart(6)} x`);
  }
}
