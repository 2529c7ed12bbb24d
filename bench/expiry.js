// A million keys that all expire at once: how long does the slowest admission take while they are removed?
import { memoryStore, slidingWindow } from 'gatewarden';

const KEYS = 1_000_000;
let clock = Date.now();
const store = memoryStore({ maxEntries: KEYS, now: () => clock });
const policies = [slidingWindow({ limit: 60, window: '1m' })];

function slowest(calls, key) {
  let worst = 0;
  let over5 = 0;
  for (let i = 0; i < calls; i++) {
    const start = performance.now();
    store.admit(policies, [key(i)], 1);
    const duration = performance.now() - start;
    worst = Math.max(worst, duration);
    if (duration > 5) over5++;
  }
  return `slowest ${worst.toFixed(2)} ms, ${over5} over 5 ms`;
}

const before = process.memoryUsage().rss;
console.log(`adding ${KEYS} keys: ${slowest(KEYS, (i) => `2001:db8:${i >> 16}:${i & 65535}::/64`)}`);
const rss = process.memoryUsage().rss - before;
console.log(`  ${store.size} counters, about ${(rss / KEYS).toFixed(0)} bytes each (keys included)`);
clock += 120_000;
console.log(`admitting while they expire: ${slowest(KEYS, (i) => `10.0.0.${i & 255}`)}`);
console.log(`  ${store.size} counters left`);
