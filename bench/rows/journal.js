// What a journal costs: a decision with it and without, the load of many counters, and how long the event loop stands still.
import { closeSync, cpSync, mkdtempSync, openSync, rmSync, writeFileSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { monitorEventLoopDelay, performance } from 'node:perf_hooks';
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises';
import { memoryStore, slidingWindow } from 'gatewarden';

const HOUR_MS = 3_600_000;
const KEYS = 1000;
const DECISIONS = 40_000;
const COUNTERS = 100_000;
const ENTRIES = 50;
const policy = slidingWindow({ limit: 500, window: '1h' });
const keys = Array.from({ length: KEYS }, (_, i) => `10.0.${i >> 8}.${i & 255}`);

const scratch = () => mkdtempSync(join(tmpdir(), 'gatewarden-bench-'));

/** Stores that are opened in a round are closed and removed after it. */
function opened(journal) {
  const directory = scratch();
  let now = Date.now();
  // A window passes during the round, so that no key reaches its limit.
  const store = memoryStore({
    now: () => (now += HOUR_MS / (100 * KEYS)),
    journal: journal && { ...journal, directory: join(directory, 'limits') },
  });
  return {
    decide(i) {
      if (store.admit([policy], [keys[i % KEYS]], [1]).kind !== 'admitted') throw new Error('refused');
    },
    async close() {
      store.close();
      await nextTurn();
      rmSync(directory, { recursive: true, force: true, maxRetries: 9, retryDelay: 20 });
    },
  };
}

/** Microseconds a decision, with so many in each turn of the event loop. */
async function decisions(journal, perTurn) {
  const { decide, close } = opened(journal);
  try {
    for (let i = 0; i < 2000; i++) decide(i);
    await nextTurn();
    const start = performance.now();
    for (let i = 0; i < DECISIONS; ) {
      for (let n = 0; n < perTurn; n++) decide(i++);
      await nextTurn();
    }
    return ((performance.now() - start) * 1000) / DECISIONS;
  } finally {
    await close();
  }
}

/** A write of as many bytes as a charge has, to a file that has its size already: what the system itself takes. */
async function bareWrites(perTurn) {
  const directory = scratch();
  const path = join(directory, 'file');
  writeFileSync(path, Buffer.alloc(64 * (DECISIONS + 1)));
  const file = openSync(path, 'r+');
  const bytes = Buffer.alloc(56);
  const start = performance.now();
  for (let i = 0; i < DECISIONS; ) {
    for (let n = 0; n < perTurn; n++, i++) if (perTurn === 1) writeSync(file, bytes, 0, 56, 56 * i);
    await nextTurn();
  }
  const took = ((performance.now() - start) * 1000) / DECISIONS;
  closeSync(file);
  rmSync(directory, { recursive: true });
  return took;
}

const side = (name, guarantees, run) => ({ name, guarantees, run });

/** A directory with the counters of a whole day, as a process that was killed has left it. */
async function manyCounters() {
  const directory = scratch();
  let now = Date.now() - HOUR_MS / 2;
  const store = memoryStore({ now: () => now, journal: { directory: join(directory, 'a'), sync: 'turn' } });
  for (let entry = 0; entry < ENTRIES; entry++) {
    for (let i = 0; i < COUNTERS; i++) {
      store.admit([policy], [`client ${i}`], [1]);
      if (i % 500 === 0) await nextTurn();
    }
    now += 1000;
  }
  store.close();
  // The second process copies them to one file.
  const again = memoryStore({ now: () => now, journal: { directory: join(directory, 'a'), sync: 'turn' } });
  const delay = monitorEventLoopDelay({ resolution: 1 });
  delay.enable();
  const until = performance.now() + 5000;
  let i = 0;
  while (performance.now() < until) {
    again.admit([policy], [`client ${i++ % COUNTERS}`], [1]);
    await nextTurn();
  }
  delay.disable();
  again.close();
  // A third one, so that what is read is one file with all counters, and few charges behind it.
  const last = memoryStore({ now: () => now, journal: { directory: join(directory, 'a'), sync: 'turn' } });
  await new Promise((resolve) => setTimeout(resolve, 3000));
  last.close();
  cpSync(join(directory, 'a'), join(directory, 'b'), { recursive: true });
  return { directory, now, stall: delay.max / 1e6 };
}

export const rows = [
  {
    name: 'journal: one decision in each turn of the event loop',
    about: 'Decisions under a sliding window, one in each turn. A turn itself is in all figures.',
    unit: 'us',
    better: 'lower',
    ratioTo: 'a bare write of the same size',
    goals: [{ side: "gatewarden, sync: 'each'", minus: 'gatewarden, no journal', atMost: 3 }],
    sides: [
      side('a bare write of the same size', 'decides nothing', () => bareWrites(1)),
      side('gatewarden, no journal', 'a restart forgets all', () => decisions(undefined, 1)),
      side("gatewarden, sync: 'each'", 'kill -9 forgets nothing', () => decisions({ sync: 'each' }, 1)),
      side("gatewarden, sync: 'turn'", 'kill -9 forgets one turn at most', () => decisions({ sync: 'turn' }, 1)),
    ],
  },
  {
    name: 'journal: fifty decisions in each turn of the event loop',
    about: 'Decisions under a sliding window, fifty in each turn.',
    unit: 'us',
    better: 'lower',
    ratioTo: 'gatewarden, no journal',
    goals: [{ side: "gatewarden, sync: 'turn'", minus: 'gatewarden, no journal', atMost: 0.5 }],
    sides: [
      side('gatewarden, no journal', 'a restart forgets all', () => decisions(undefined, 50)),
      side("gatewarden, sync: 'each'", 'kill -9 forgets nothing', () => decisions({ sync: 'each' }, 50)),
      side("gatewarden, sync: 'turn'", 'kill -9 forgets one turn at most', () => decisions({ sync: 'turn' }, 50)),
    ],
  },
  {
    name: 'journal: the load of 100,000 counters',
    about:
      'A store with 100,000 live counters of 50 entries is opened. The control only reads as many numbers as text.',
    unit: 'ms',
    better: 'lower',
    ratioTo: 'JSON.parse of the same entries',
    goals: [{ side: 'gatewarden', atMost: 300 }],
    sides: [
      {
        name: 'JSON.parse of the same entries',
        guarantees: 'no counters, no checksums',
        open: () =>
          JSON.stringify(
            Array.from({ length: COUNTERS }, (_, i) => [
              `client ${i}`,
              Array.from({ length: ENTRIES }, (_, n) => 1e12 + n * 1000),
            ]),
          ),
        run: (_round, text) => {
          const start = performance.now();
          if (JSON.parse(text).length !== COUNTERS) throw new Error('not all');
          return performance.now() - start;
        },
      },
      {
        name: 'gatewarden',
        guarantees: 'every record is checked',
        open: manyCounters,
        run: (round, { directory, now }) => {
          // Removed at the end: a store that was closed may still be preparing its next file.
          const copy = join(directory, `copy-${round}`);
          cpSync(join(directory, 'b'), copy, { recursive: true });
          globalThis.gc?.();
          const start = performance.now();
          const store = memoryStore({ now: () => now, journal: { directory: copy } });
          const took = performance.now() - start;
          if (store.size !== COUNTERS) throw new Error(`${store.size} counters`);
          store.close();
          return took;
        },
        close: async ({ directory }) => {
          await sleep(1000);
          rmSync(directory, { recursive: true, force: true });
        },
      },
    ],
  },
  {
    name: 'journal: the longest stop while counters are copied',
    about:
      'The longest that the event loop stands still while 100,000 counters are copied to a new file, under requests.',
    unit: 'ms',
    better: 'lower',
    goals: [{ side: 'gatewarden', atMost: 5 }],
    sides: [
      {
        name: 'gatewarden',
        guarantees: 'garbage collection included',
        run: async () => {
          const { directory, stall } = await manyCounters();
          rmSync(directory, { recursive: true, force: true });
          return stall;
        },
      },
    ],
  },
];
