// A process that admits requests one after the other, and names each one that it has answered, until it is killed or has
// answered as many as it should.
import { writeSync } from 'node:fs';
import { memoryStore } from '../../../../src/limit/memory/memory-store.js';
import { dailyQuota, slidingWindow } from '../../../../src/limit/policy.js';

const [directory = '', sync = 'each', most = 'Infinity'] = process.argv.slice(2);
const policies = [slidingWindow({ limit: 1_000_000, window: '1d' }), dailyQuota({ limit: 1_000_000_000 })];
const KEYS = 5;

const store = memoryStore({ journal: { directory, sync: sync === 'turn' ? 'turn' : 'each' } });
const keyOf = (i: number) => `key ${i % KEYS}`;
const used = Array.from({ length: KEYS }, (_, i) =>
  store.peek(policies, [keyOf(i), keyOf(i)]).map(({ limit, remaining }) => limit - remaining),
);
writeSync(1, `${JSON.stringify(used)}\n`);

let next = 0;
/** Several requests of one turn of the event loop, as a busy service has them. */
function turn(): void {
  for (let i = 0; i < 4; i++, next++) {
    const decision = store.admit(policies, [keyOf(next), keyOf(next)], [1, 1]);
    if (decision.kind !== 'admitted') throw new Error('refused');
    // Some are given back, so that corrections are among the records.
    if (next % 10 === 9) store.settle(decision.receipt, [0, 0]);
    writeSync(1, 'x');
    // Before what it has charged in this turn is written.
    if (next + 1 === Number(most)) process.exit();
  }
  setImmediate(turn);
}
turn();
