import { readdirSync, readFileSync } from 'node:fs';

/** Whether the processes of this test can be observed. */
export const CAN_OBSERVE = process.platform === 'linux';

/** The processes that this one has started and that are still running. */
export function childProcesses(): readonly number[] {
  return readdirSync('/proc/self/task').flatMap((task) => childrenOf(task).split(' ').filter(Boolean).map(Number));
}

/** A thread may end after it was listed. Its children are those of another thread then. */
function childrenOf(task: string): string {
  try {
    return readFileSync(`/proc/self/task/${task}/children`, 'latin1');
  } catch (error) {
    if (error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ESRCH')) return '';
    throw error;
  }
}

/** The memory of this process and its children now, in bytes. */
export function memoryOfAll(): number {
  return [process.pid, ...childProcesses()].reduce((sum, pid) => sum + memoryOf(pid), 0);
}

/** The memory of a process now, in bytes; 0 if it has ended. */
export function memoryOf(pid: number): number {
  try {
    return 1024 * Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1] ?? 0);
  } catch {
    return 0;
  }
}
