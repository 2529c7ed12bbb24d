import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { SCRATCH } from './reopening-store.js';

/** `PROPERTY_RUNS=1000` for more. */
const RUNS = Math.min(2000, Number(process.env.PROPERTY_RUNS ?? 100));
const TIMEOUT = 60_000 + RUNS * 200;
/** So many runs begin with the same files. */
const RUNS_OF_ONE = 20;
const MOST_STEPS = 16;

let folder: string;
let program: string;
const children = new Set<ChildProcessWithoutNullStreams>();

beforeAll(async () => {
  folder = mkdtempSync(join(SCRATCH, 'gatewarden-'));
  program = join(folder, 'locking-process.mjs');
  await build({
    entryPoints: [fileURLToPath(new URL('locking-process.ts', import.meta.url))],
    outfile: program,
    bundle: true,
    platform: 'node',
    format: 'esm',
    logLevel: 'error',
  });
});

afterAll(() => {
  for (const child of children) child.kill('SIGKILL');
  rmSync(folder, { recursive: true, maxRetries: 9 });
});

/** A process that takes a lock, step by step. */
class Starter {
  /** What it does next, or `held`, `refused` or `free`. */
  state = 'free';
  readonly #child = spawn(process.execPath, [program], { stdio: ['pipe', 'pipe', 'pipe'] });
  readonly #lines = this.#child.stdout.setEncoding('latin1')[Symbol.asyncIterator]();
  #errors = '';

  constructor() {
    children.add(this.#child);
    this.#child.stderr.on('data', (text) => {
      this.#errors += String(text);
    });
  }

  get isStarting(): boolean {
    return !['free', 'held', 'refused'].includes(this.state);
  }

  async start(directory: string): Promise<void> {
    await this.#write(`${directory}\n`);
  }

  /** Does so many steps, if there are as many. */
  async steps(count: number): Promise<void> {
    for (let i = 0; i < count && this.isStarting; i++) await this.#write('.');
  }

  /** Does all steps. */
  async finish(): Promise<void> {
    while (this.isStarting) await this.#write('.');
  }

  async free(): Promise<void> {
    await this.#write('\n');
    await this.finish();
  }

  async kill(): Promise<void> {
    this.#child.kill('SIGKILL');
    await once(this.#child, 'exit');
    children.delete(this.#child);
  }

  async #write(text: string): Promise<void> {
    this.#child.stdin.write(text);
    // It waits after each line, so that it never writes two.
    const { value, done } = await this.#lines.next();
    if (done) throw new Error(`it has ended: ${this.#errors}`);
    this.state = String(value).trim();
  }
}

const random = (below: number) => Math.floor(Math.random() * below);

/** A directory whose lock a process has left that was killed, or released it. A second one was killed while it took over. */
async function leftBehind(name: string, isKilled: boolean, steps: number): Promise<string> {
  const directory = join(folder, name);
  mkdirSync(directory);
  const former = new Starter();
  await former.start(directory);
  await former.finish();
  expect(former.state).toBe('held');
  if (!isKilled) await former.free();
  await former.kill();
  const second = new Starter();
  await second.start(directory);
  await second.steps(steps);
  await second.kill();
  return directory;
}

it(
  `of three processes that start at once where others were killed, one has the lock, in ${RUNS} orders of their steps`,
  async () => {
    const starters = [new Starter(), new Starter(), new Starter()] as const;
    const [first, second, third] = starters;
    for (let run = 0; run < RUNS; ) {
      const left = await leftBehind(`left ${run}`, random(3) > 0, random(MOST_STEPS));
      for (let i = 0; i < RUNS_OF_ONE && run < RUNS; i++, run++) {
        const directory = join(folder, String(run));
        cpSync(left, directory, { recursive: true });
        for (const starter of starters) await starter.start(directory);
        // Two of them stop somewhere on their way, and go on when another one is further.
        const order = [random(MOST_STEPS), random(MOST_STEPS), random(MOST_STEPS)] as const;
        await first.steps(order[0]);
        await second.steps(order[1]);
        await first.finish();
        if (first.state === 'held' && random(2) === 0) {
          // Another one has come and gone since then.
          await first.free();
          await first.start(directory);
          await first.finish();
        }
        await third.steps(order[2]);
        await second.finish();
        await third.finish();
        const states = starters.map(({ state }) => state).sort();
        expect(states, `after ${order.join(', ')} steps`).toEqual(['held', 'refused', 'refused']);
        for (const starter of starters) await starter.free();
      }
    }
    for (const starter of starters) await starter.kill();
  },
  TIMEOUT,
);
