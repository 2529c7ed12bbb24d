// Decisions in a SQLite file that several processes of one machine share.
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { dailyQuota, memoryStore, slidingWindow } from 'gatewarden';
import { sqliteStore } from 'gatewarden/sqlite';
import { node24 } from '../machine.js';

const KEYS = 10_000;
/** How long a round decides, in milliseconds. */
const ROUND_MS = 600;
const PROCESSES = 4;

const window = slidingWindow({ limit: 500, window: '1m' });
const quota = dailyQuota({ limit: 1_000_000 });

// The sides run on Node 24 where the benchmarks have it.
const missing =
  node24() === undefined && process.getBuiltinModule?.('node:sqlite') === undefined
    ? `Node ${process.version} has no node:sqlite, which needs 22.13.`
    : undefined;

function folder() {
  const path = mkdtempSync(join(tmpdir(), 'bench-sqlite-'));
  return { file: join(path, 'bench.db'), remove: () => rmSync(path, { recursive: true, force: true }) };
}

/** Decisions a second, and the longest one. */
function decisions(decide) {
  let calls = 0;
  let slowest = 0;
  const start = performance.now();
  for (let now = start; now - start < ROUND_MS; ) {
    decide(`10.0.${(calls >> 8) % 40}.${calls % 256}`);
    calls++;
    const end = performance.now();
    slowest = Math.max(slowest, end - now);
    now = end;
  }
  return { figure: (calls * 1000) / (performance.now() - start), slowest };
}

/** The least that a shared counter costs: one statement, which SQLite makes a transaction of its own. */
function bareCounter() {
  const { file, remove } = folder();
  const { DatabaseSync } = process.getBuiltinModule('node:sqlite');
  const database = new DatabaseSync(file);
  database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL');
  database.exec('CREATE TABLE counts (key TEXT PRIMARY KEY, n INTEGER) STRICT, WITHOUT ROWID');
  const count = database.prepare('INSERT INTO counts VALUES (?, 1) ON CONFLICT DO UPDATE SET n = n + 1 RETURNING n');
  return {
    decide: (key) => count.get(key),
    close: () => {
      database.close();
      remove();
    },
  };
}

function ours(policies) {
  return () => {
    const { file, remove } = folder();
    const store = sqliteStore({ path: file });
    const units = policies.map(() => 1);
    return {
      decide: (key) => {
        const decision = store.admit(
          policies,
          policies.map(() => key),
          units,
        );
        if (decision.kind !== 'admitted' && decision.kind !== 'refused') throw new Error('the file is locked');
      },
      close: () => {
        store.close();
        remove();
      },
    };
  };
}

function side(name, guarantees, open) {
  return {
    name,
    guarantees,
    unavailable: missing,
    open,
    run: (_round, { decide }) => decisions(decide),
    close: ({ close }) => close(),
  };
}

/** So many processes decide at the same time over one file. */
function together(processes) {
  return {
    name: processes === 1 ? 'gatewarden, one process' : `gatewarden, ${processes} processes`,
    guarantees: 'sliding window, exact, shared; written before the answer',
    unavailable: missing,
    open: async () => {
      const { file, remove } = folder();
      const path = fileURLToPath(new URL('sqlite-gateway.js', import.meta.url));
      const gateways = Array.from({ length: processes }, () => fork(path, [JSON.stringify({ file, ms: ROUND_MS })]));
      await Promise.all(gateways.map((gateway) => once(gateway, 'message')));
      return { gateways, remove };
    },
    run: async (_round, { gateways }) => {
      for (const gateway of gateways) gateway.send({ keys: KEYS });
      const results = await Promise.all(gateways.map(async (gateway) => (await once(gateway, 'message'))[0]));
      const failed = results.find(({ error }) => error !== undefined);
      if (failed !== undefined) throw new Error(failed.error);
      const figure = results.reduce((sum, { perSecond }) => sum + perSecond, 0);
      return { figure, slowest: Math.max(...results.map(({ slowest }) => slowest)) };
    },
    close: ({ gateways, remove }) => {
      for (const gateway of gateways) gateway.disconnect();
      remove();
    },
  };
}

export const rows = [
  {
    name: 'sqlite: a decision in a file',
    onNode24: true,
    about:
      `One process, ${KEYS.toLocaleString('en')} keys in turn, each decision a transaction that is written before the answer. ` +
      'The memory store shows what the file costs.',
    unit: 'decisions/s',
    better: 'higher',
    ratioTo: 'a bare counter in SQLite',
    measures: { slowest: { unit: 'ms', better: 'lower' } },
    sides: [
      side('a bare counter in SQLite', 'counts; no limit, and nothing is ever forgotten', bareCounter),
      side('gatewarden, window', 'sliding window, exact; bounded file', ours([window])),
      side('gatewarden, window and quota', 'sliding window and day, exact, all or nothing', ours([window, quota])),
      side('gatewarden, window, in memory', 'sliding window, exact; one process', () => {
        const store = memoryStore();
        return { decide: (key) => store.admit([window], [key], [1]), close: () => {} };
      }),
    ],
  },
  {
    name: `sqlite: ${PROCESSES} processes over one file`,
    onNode24: true,
    about: `${KEYS.toLocaleString('en')} keys in turn. All processes together; slowest is the longest decision of any of them.`,
    unit: 'decisions/s',
    better: 'higher',
    ratioTo: 'gatewarden, one process',
    measures: { slowest: { unit: 'ms', better: 'lower' } },
    sides: [together(1), together(PROCESSES)],
  },
];
