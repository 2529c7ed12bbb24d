// One decision of a limiter without a framework, over 10,000 keys in turn.
import { dailyQuota, memoryStore, slidingWindow } from 'gatewarden';
import { RateLimiterMemory } from 'rate-limiter-flexible';
import { nanoseconds, table } from './measure.js';

const keys = Array.from({ length: 10_000 }, (_, i) => `10.${i >> 8}.${i & 255}.1`);
const key = (i) => keys[i % keys.length];

let clock = Date.now();
const now = () => clock;

function counter() {
  const counts = new Map();
  return (calls) => {
    for (let i = 0; i < calls; i++) counts.set(key(i), (counts.get(key(i)) ?? 0) + 1);
  };
}

function gatewarden(policies) {
  const store = memoryStore({ now });
  const names = policies.map(() => '');
  return (calls) => {
    for (let i = 0; i < calls; i++) {
      names.fill(key(i));
      store.admit(policies, names, 1);
      if (i % 1000 === 0) clock += 20;
    }
  };
}

function flexible(options) {
  const limiter = new RateLimiterMemory(options);
  return async (calls) => {
    for (let i = 0; i < calls; i++) await limiter.consume(key(i)).catch(() => undefined);
  };
}

table('admitting', [
  ['only a Map counter, without a limit', await nanoseconds(counter())],
  ['gatewarden, sliding window 60', await nanoseconds(gatewarden([slidingWindow({ limit: 60, window: '1m' })]))],
  [
    'gatewarden, sliding window 60 and daily quota',
    await nanoseconds(gatewarden([slidingWindow({ limit: 60, window: '1m' }), dailyQuota({ limit: 1e6 })])),
  ],
  ['rate-limiter-flexible, fixed window', await nanoseconds(flexible({ points: 1e9, duration: 60 }))],
]);

table('refusing', [
  ['only a Map counter, without a limit', await nanoseconds(counter())],
  ['gatewarden, sliding window 5', await nanoseconds(gatewarden([slidingWindow({ limit: 5, window: '24h' })]))],
  ['rate-limiter-flexible, fixed window', await nanoseconds(flexible({ points: 5, duration: 86_400 }))],
]);
process.exit(0);
