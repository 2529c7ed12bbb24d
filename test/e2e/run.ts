/**
 * End to end: `npm start` as a newcomer runs it, driven by the guide's Python functions and by the curl lines that it
 * prints. Needs bash, curl and a Python with `requests`; names what is missing.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

const START_LIMIT_MS = 120_000;
const STEP_LIMIT_MS = 60_000;

function pythonWithRequests(): string {
  for (const python of ['python3', '/usr/bin/python3']) {
    if (spawnSync(python, ['-c', 'import requests']).status === 0) return python;
  }
  throw new Error('test:e2e needs a Python 3 with "requests" (Debian: apt-get install python3-requests)');
}

function needs(command: string): void {
  if (spawnSync(command, ['--version']).status !== 0) throw new Error(`test:e2e needs ${command}`);
}

/** `npm start` without any setting but a free port; resolves with what it printed once it serves. */
async function npmStart(): Promise<{ child: ChildProcess; printed: string; origin: string; secret: string }> {
  const {
    POINT_E_SECRET_KEY: _secret,
    WORKER_URL: _worker,
    HOST: _host,
    NODE_ENV: _mode,
    ...environment
  } = process.env;
  const child = spawn('npm', ['start'], {
    env: { ...environment, PORT: '0' },
    stdio: ['ignore', 'pipe', 'inherit'],
    detached: true,
  });
  const timer = setTimeout(() => stop(child), START_LIMIT_MS);
  let printed = '';
  for await (const line of createInterface({ input: child.stdout })) {
    printed += `${line}\n`;
    const origin = /^Point-E gateway listening on (\S+)$/.exec(line)?.[1];
    if (origin === undefined) continue;
    clearTimeout(timer);
    child.stdout.resume();
    return { child, printed, origin, secret: /POINT_E_SECRET_KEY=(\w{64})$/m.exec(printed)?.[1] ?? '' };
  }
  throw new Error(`npm start ended before it served:\n${printed}`);
}

/** npm, the gateway and the worker are one process group of our own making. */
function stop(child: ChildProcess): void {
  if (child.pid === undefined || child.exitCode !== null) return;
  try {
    process.kill(-child.pid, 'SIGTERM');
  } catch {
    // The group has gone already.
  }
}

function run(command: string, args: readonly string[], env: Record<string, string>, cwd?: string): string {
  const { status, stdout, stderr } = spawnSync(command, args, {
    env: { ...process.env, ...env },
    encoding: 'utf8',
    timeout: STEP_LIMIT_MS,
    ...(cwd === undefined ? {} : { cwd }),
  });
  if (status !== 0) throw new Error(`${command} failed (${status}):\n${stdout}${stderr}`);
  return stdout;
}

function check(condition: boolean, message: string): void {
  if (!condition) throw new Error(message);
}

/** The lines that the start-up message offers, pasted as they stand. */
function pasteCurlLines(printed: string): void {
  const lines = printed.split('\n').filter((line) => /^ {2}(export|curl) /.test(line));
  check(lines.length === 5, `expected five lines to paste, got ${lines.length}:\n${printed}`);
  const folder = mkdtempSync(join(tmpdir(), 'point-e-e2e-'));
  try {
    const answers = run('bash', ['-euo', 'pipefail', '-c', lines.join('\necho\n')], {}, folder);
    check(answers.includes('"success":true'), `no model:\n${answers}`);
    check(answers.includes('"used":2'), `no usage:\n${answers}`);
    check(answers.includes('"status":"healthy"'), `no health:\n${answers}`);
    check(readFileSync(join(folder, 'model.ply')).subarray(0, 4).toString() === 'ply\n', 'model.ply is no PLY');
  } finally {
    rmSync(folder, { recursive: true });
  }
}

const python = pythonWithRequests();
needs('bash');
needs('curl');

const { child, printed, origin, secret } = await npmStart();
const ended = once(child, 'close');
const failures: unknown[] = [];
const steps: readonly [name: string, step: () => void][] = [
  [
    "the guide's Python functions: five files, then the limit",
    () => {
      const client = new URL('point_e_client.py', import.meta.url).pathname;
      process.stdout.write(run(python, [client], { POINT_E_URL: origin, POINT_E_SECRET_KEY: secret }));
    },
  ],
  ['the printed curl lines, pasted', () => pasteCurlLines(printed)],
];
for (const [name, step] of steps) {
  try {
    step();
    console.log(`ok: ${name}`);
  } catch (error) {
    failures.push(error);
    console.error(`FAILED: ${name}\n`, error);
  }
}
stop(child);
await ended;
console.log(`${steps.length - failures.length} passed, ${failures.length} failed`);
process.exit(failures.length === 0 ? 0 : 1);
