import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { KEYGEN_HELP } from '../../src/auth/api-keys/keygen.js';
import { CHECK_WORKER_HELP } from '../../src/worker/check/command.js';

const MAIN = fileURLToPath(new URL('../../src/command/command.ts', import.meta.url));

function command(...args: readonly string[]): Promise<{ code: unknown; stdout: string; stderr: string }> {
  return new Promise((resolve) => {
    execFile(process.execPath, ['--import', 'tsx', MAIN, ...args], (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : error.code, stdout, stderr });
    });
  });
}

it('names its commands, and explains each', async () => {
  const [help, keygen, checkWorker, none] = await Promise.all([
    command('--help'),
    command('keygen', '--help'),
    command('check-worker', '--help'),
    command(),
  ]);
  expect(help).toMatchObject({ code: 0, stderr: '' });
  for (const text of ['Usage: gatewarden COMMAND', KEYGEN_HELP, CHECK_WORKER_HELP]) expect(help.stdout).toContain(text);
  expect(keygen).toEqual({ code: 0, stdout: KEYGEN_HELP, stderr: '' });
  expect(checkWorker).toEqual({ code: 0, stdout: CHECK_WORKER_HELP, stderr: '' });
  expect(none).toMatchObject({ code: 2, stdout: '' });
  expect(none.stderr).toContain('check-worker  checks a worker');
});

it('exits with 1 if a worker breaks a rule, and with 2 if it could not be checked', async () => {
  const [down, wrong] = await Promise.all([
    command('check-worker', 'http://127.0.0.1:1'),
    command('check-worker', 'worker'),
  ]);
  expect([down.code, down.stderr]).toEqual([1, '']);
  expect(down.stdout).toMatch(/^BROKEN {3}ready: /);
  expect(wrong).toMatchObject({ code: 2, stdout: '' });
  expect(wrong.stderr).toContain('"url" must be a URL');
});
