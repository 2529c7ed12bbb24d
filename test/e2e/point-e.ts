import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { check, npmRun, pythonWithRequests, run, type Step } from './harness.js';

/** Runs `npm start`, and calls it with the guide's Python functions and the curl commands that it prints. */
export async function pointE(steps: (list: readonly Step[]) => Promise<void>): Promise<void> {
  const python = pythonWithRequests();
  const gateway = await npmRun(['start'], {}, /^Point-E gateway listening on (\S+)$/);
  const secret = /POINT_E_SECRET_KEY=(\w{64})$/m.exec(gateway.printed())?.[1] ?? '';
  try {
    await steps([
      [
        "Point-E: the guide's Python functions, five files, then the limit",
        () => {
          const client = new URL('point_e_client.py', import.meta.url).pathname;
          const env = { POINT_E_URL: gateway.origin, POINT_E_SECRET_KEY: secret };
          process.stdout.write(run(python, [client], env));
        },
      ],
      ['Point-E: the printed curl commands work when pasted', () => pasteCurlLines(gateway.printed())],
    ]);
  } finally {
    await gateway.stop();
  }
}

/** Runs the commands of the start-up message without any change. */
function pasteCurlLines(printed: string): void {
  const lines = printed.split('\n').filter((line) => /^ {2}(export|curl) /.test(line));
  check(lines.length === 5, `expected five commands to paste, got ${lines.length}:\n${printed}`);
  const directory = mkdtempSync(join(tmpdir(), 'point-e-e2e-'));
  try {
    const answers = run('bash', ['-euo', 'pipefail', '-c', lines.join('\necho\n')], {}, directory);
    check(answers.includes('"success":true'), `no model:\n${answers}`);
    check(answers.includes('"used":2'), `no usage:\n${answers}`);
    check(answers.includes('"status":"healthy"'), `no health:\n${answers}`);
    check(
      readFileSync(join(directory, 'model.ply')).subarray(0, 4).toString() === 'ply\n',
      'model.ply is not a PLY file',
    );
  } finally {
    rmSync(directory, { recursive: true });
  }
}
