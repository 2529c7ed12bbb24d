import { spawnSync } from 'node:child_process';
import { findExecutable } from '../../redis/processes.js';

/** Whether promtool of Prometheus is installed (Debian: apt-get install prometheus). */
export const hasPromtool = findExecutable('promtool') !== undefined;

/** Runs promtool. Returns its status and all that it printed. */
export function promtool(args: readonly string[], input = ''): { readonly status: number | null; printed: string } {
  const { status, stdout, stderr } = spawnSync('promtool', args, { input, encoding: 'utf8' });
  return { status, printed: stdout + stderr };
}
