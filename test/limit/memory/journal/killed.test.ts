import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { afterAll, beforeAll, expect, it } from 'vitest';

/** `KILLS=1000` for the whole promise. */
const KILLS = Number(process.env.KILLS ?? 8);
const KEYS = 5;
/** Requests of one turn of the event loop. */
const TURN = 4;

let folder: string;
let program: string;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'gatewarden-'));
  program = join(folder, 'admitting-process.mjs');
  await build({
    entryPoints: [fileURLToPath(new URL('admitting-process.ts', import.meta.url))],
    outfile: program,
    bundle: true,
    platform: 'node',
    format: 'esm',
    logLevel: 'error',
  });
});

afterAll(() => rmSync(folder, { recursive: true, maxRetries: 9 }));

/** What keys have used under both policies at the start, and how many answers there were before the process was killed. */
async function runAndKill(directory: string, sync: string, ms: number) {
  const child = spawn(process.execPath, [program, directory, sync], { stdio: ['ignore', 'pipe', 'inherit'] });
  const ended = once(child, 'exit');
  let output = '';
  child.stdout.setEncoding('latin1').on('data', (text: string) => {
    output += text;
  });
  while (!output.includes('\n')) {
    if (child.exitCode !== null) throw new Error(`it ended with ${child.exitCode}`);
    await Promise.race([once(child.stdout, 'data'), ended]);
  }
  await sleep(ms);
  child.kill('SIGKILL');
  await ended;
  // What was in the pipe when it died.
  if (!child.stdout.readableEnded) await once(child.stdout, 'end');
  const [used = '', answers = ''] = output.split('\n');
  return { used: JSON.parse(used) as [number, number][], answered: answers.length };
}

const sum = (numbers: readonly number[]) => numbers.reduce((total, number) => total + number, 0);
/** Of so many requests of one process, those that were not given back. */
const kept = (answered: number) => answered - Math.floor(answered / 10);

it.each([
  ['each', 0],
  ['turn', TURN],
] as const)(
  `a process with sync: '%s' that is killed ${KILLS} times forgets no answer but the last %i, and counts none twice`,
  async (sync, mayForget) => {
    const directory = join(folder, sync);
    let [least, most] = [0, 0];
    let answers = 0;
    for (let i = 0; i <= KILLS; i++) {
      const { used, answered } = await runAndKill(directory, sync, Math.random() * 60);
      const windows = sum(used.map(([window]) => window));
      expect(windows).toBe(sum(used.map(([, day]) => day)));
      expect(windows).toBeGreaterThanOrEqual(least);
      expect(windows).toBeLessThanOrEqual(most);
      // Counters are as even as the requests were.
      expect(used.length).toBe(KEYS);
      // What is counted now is known. Of this process, the last request may be counted and not answered.
      least = windows + Math.max(0, kept(answered) - mayForget);
      most = windows + kept(answered) + 1 + mayForget;
      answers += answered;
    }
    expect(answers).toBeGreaterThan(KILLS);
    expect(readdirSync(directory).length).toBeLessThan(16);
    console.info(`${KILLS} kills, ${answers} answers, sync: '${sync}'`);
  },
  60_000 + KILLS * 2000,
);

it.each(['each', 'turn'] as const)("a process with sync: '%s' that ends by itself forgets nothing", async (sync) => {
  const directory = join(folder, `ended ${sync}`);
  const run = (most: number) =>
    execFileSync(process.execPath, [program, directory, sync, String(most)], { encoding: 'latin1' }).split('\n');
  expect(run(6)[1]).toBe('xxxxxx');
  const [used = ''] = run(1);
  expect(JSON.parse(used)).toEqual([2, 1, 1, 1, 1].map((count) => [count, count]));
});
