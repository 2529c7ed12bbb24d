import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { chown, lstat, mkdir, readdir, readFile, symlink, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import { upload } from '../../src/upload/index.js';
import { SpooledFile } from '../../src/upload/spooled-file.js';
import { removeStaleFiles } from '../../src/upload/stale-files.js';
import { type FileOwner, hasEnded, ownerOf, temporaryName, thisProcess } from '../../src/upload/temporary-name.js';
import { FILES, newDirectory } from './fixture.js';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const LINUX = process.platform === 'linux';
const ROOT = process.getuid?.() === 0;

let directory: string;
beforeEach(async () => {
  directory = await newDirectory();
});

/** Runs a program until the test finishes. */
function run(command: string, ...args: readonly string[]): ChildProcess {
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  onTestFinished(async () => {
    if (child.exitCode === null && child.signalCode === null && child.kill('SIGKILL')) await once(child, 'exit');
  });
  return child;
}

/** Begins an upload in another process. Resolves once its temporary file exists. */
async function stalledUpload(...through: readonly string[]): Promise<ChildProcess> {
  const script = fileURLToPath(new URL('stalled-upload.ts', import.meta.url));
  const [command = '', ...args] = [...through, process.execPath, '--import', 'tsx', script, directory];
  const child = run(command, ...args);
  if (child.stdout === null) throw new Error('no output');
  await once(child.stdout, 'data');
  return child;
}

async function age(ms: number): Promise<void> {
  const then = new Date(Date.now() - ms);
  for (const name of await readdir(directory)) await utimes(join(directory, name), then, then);
}

/** Starts a service that keeps its files in the directory. */
const startService = () => upload({ files: FILES, spool: { directory, memoryBytes: 10 } });

describe('a service that starts', () => {
  it.each(['SIGKILL', 'SIGTERM'] as const)('removes the files of a process that %s ended', async (signal) => {
    const child = await stalledUpload();
    child.kill(signal);
    await once(child, 'exit');
    expect(await readdir(directory)).toHaveLength(1);
    await age(2 * MINUTE);
    startService();
    await expect.poll(() => readdir(directory)).toEqual([]);
  });

  it('leaves the files of a process that runs, however old they are', async () => {
    const [ended, live] = [await stalledUpload(), await stalledUpload()];
    ended.kill('SIGKILL');
    await once(ended, 'exit');
    await age(1000 * HOUR);
    startService();
    await expect.poll(() => readdir(directory)).toHaveLength(1);
    const [name = ''] = await readdir(directory);
    expect(ownerOf(name)?.pid).toBe(live.pid);
  });

  it('does not look for files if all of its own stay in memory', async () => {
    await writeFile(join(directory, temporaryName(ENDED)), '');
    await age(1000 * HOUR);
    upload({ files: FILES, spool: { directory, memoryBytes: '1mb' } });
    await new Promise((later) => setTimeout(later, 50));
    expect(await readdir(directory)).toHaveLength(1);
  });

  it('removes them again every hour', async () => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
    onTestFinished(() => void vi.useRealTimers());
    startService();
    const name = join(directory, temporaryName(ENDED));
    await writeFile(name, '');
    await age(2 * MINUTE);
    // Every hour again.
    await vi.advanceTimersByTimeAsync(HOUR);
    await expect.poll(() => readdir(directory)).toEqual([]);
  });
});

const SELF = thisProcess();
/** This number was never given to a process: numbers end below it. */
const ENDED: FileOwner = { ...SELF, pid: 2 ** 22 + 1 };
const PARENT: FileOwner = { ...SELF, pid: process.ppid };
const ELSEWHERE: FileOwner = { ...SELF, place: '0123456789ab' };

it.each<[string, FileOwner, number, boolean]>([
  ['an ended process, of a minute', ENDED, MINUTE, true],
  ['an ended process, of less than a minute', ENDED, MINUTE - 1000, false],
  ['an ended process, from the future', ENDED, -HOUR, false],
  ['this process', SELF, 1000 * HOUR, false],
  ['another process that runs', { ...PARENT, started: '0' }, 1000 * HOUR, false],
  ['an ended process whose number another one has now', { ...PARENT, started: '1' }, MINUTE, LINUX],
  ['another container, of a day', ELSEWHERE, 24 * HOUR, true],
  ['another container, of less than a day', ELSEWHERE, 24 * HOUR - MINUTE, false],
  ['another container, whose process number has ended here', { ...ELSEWHERE, pid: ENDED.pid }, 23 * HOUR, false],
])('removes a file of %s: %#', async (_what, owner, ms, removed) => {
  await writeFile(join(directory, temporaryName(owner)), 'content');
  await age(ms);
  await removeStaleFiles(directory);
  expect(await readdir(directory)).toHaveLength(removed ? 0 : 1);
});

it('removes only regular files with a name of ours', async () => {
  const target = join(directory, 'target');
  await writeFile(target, 'content');
  await symlink(target, join(directory, temporaryName(ENDED)));
  await mkdir(join(directory, temporaryName(ENDED)));
  const name = temporaryName(ENDED);
  const others = ['gatewarden-', `${name}x`, `x${name}`, name.slice(0, -1), name.toUpperCase(), `.${name}`];
  for (const other of others) await writeFile(join(directory, other), '');
  await age(1000 * HOUR);
  const before = await readdir(directory);
  await removeStaleFiles(directory);
  expect(await readdir(directory)).toEqual(before);
  expect(await readFile(target, 'utf8')).toBe('content');
});

it.runIf(ROOT)('leaves the files of another user', async () => {
  const path = join(directory, temporaryName(ENDED));
  await writeFile(path, '');
  await chown(path, 12_345, 12_345);
  await age(1000 * HOUR);
  await removeStaleFiles(directory);
  expect((await lstat(path)).uid).toBe(12_345);
});

it('is not stopped by a second sweep at the same time', async () => {
  for (let i = 0; i < 300; i++) await writeFile(join(directory, temporaryName(ENDED)), '');
  await age(MINUTE);
  await Promise.all([removeStaleFiles(directory), removeStaleFiles(directory), removeStaleFiles(directory)]);
  expect(await readdir(directory)).toEqual([]);
});

it.runIf(LINUX)('counts a zombie as ended', async () => {
  // `sleep` takes the place of the shell and does not know that it has a child.
  const { pid } = run('sh', '-c', 'true & exec sleep 60');
  const zombie = () => execFileSync('ps', ['-o', 'pid=,stat=', '--ppid', `${pid}`], { encoding: 'utf8' }).trim();
  await expect.poll(zombie).toMatch(/^\d+ +Z/);
  const child = Number.parseInt(zombie(), 10);
  const stat = await readFile(`/proc/${child}/stat`, 'latin1');
  const started = stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? '';
  expect([hasEnded({ ...SELF, pid: child, started }), hasEnded({ ...SELF, pid: pid ?? 0, started: '0' })]).toEqual([
    true,
    false,
  ]);
});

it.runIf(ROOT && LINUX && existsSync('/usr/bin/unshare'))('leaves the files of another container', async (context) => {
  const unshare = ['unshare', '--pid', '--fork', '--mount-proc', '--kill-child'];
  try {
    execFileSync(unshare[0] ?? '', [...unshare.slice(1), 'true']);
  } catch {
    context.skip('this system does not permit PID namespaces');
  }
  await stalledUpload(...unshare);
  const [name = ''] = await readdir(directory);
  // Processes of that number that run or have ended here are none of its business.
  expect(ownerOf(name)).not.toMatchObject({ place: SELF.place });
  await age(23 * HOUR);
  await removeStaleFiles(directory);
  expect(await readdir(directory)).toEqual([name]);
});

it('refreshes a file every hour while it is in use', async () => {
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
  onTestFinished(() => void vi.useRealTimers());
  const file = new SpooledFile(directory, 0);
  await file.write(Buffer.from('content'));
  await age(30 * HOUR);
  const ageNow = async () => Date.now() - (await lstat(file.path ?? '')).mtimeMs;
  vi.advanceTimersByTime(HOUR - 1);
  expect(await ageNow()).toBeGreaterThan(29 * HOUR);
  vi.advanceTimersByTime(1);
  await expect.poll(ageNow).toBeLessThan(MINUTE);
  await file.remove();
  expect(vi.getTimerCount()).toBe(0);
});
