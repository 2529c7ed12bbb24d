import type { NodeModules } from './node-modules.js';

/** Identifies the start of this machine, so that clocks of two processes can be compared. Empty if it is unknown. */
export function bootOf({ fs }: NodeModules): string {
  // Linux. Elsewhere nothing says it without another process.
  return readOr('', () => fs.readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim());
}

/** How long the machine has been up, in milliseconds. NaN if the runtime does not say it. */
export function uptimeOf({ os }: NodeModules): number {
  return readOr(Number.NaN, () => os.uptime() * 1000);
}

/** A process, so that it can be recognized later and from another process. */
export interface ProcessIdentity {
  readonly pid: number;
  /** When it began, as the system counts. Empty if it is unknown. */
  readonly began: string;
  /** The namespace in which `pid` is its number. Empty if there are none. */
  readonly namespace: string;
  readonly boot: string;
  readonly host: string;
}

export function thisProcess(modules: NodeModules): ProcessIdentity {
  const { fs, os } = modules;
  return {
    pid: process.pid,
    began: beganOf(modules, 'self'),
    namespace: readOr('', () => fs.readlinkSync('/proc/self/ns/pid')),
    boot: bootOf(modules),
    host: readOr('', () => os.hostname()),
  };
}

/** Whether a process runs; undefined if that cannot be known from here. */
export function isRunning(modules: NodeModules, other: ProcessIdentity): boolean | undefined {
  const self = thisProcess(modules);
  if (other.boot === '' || other.host !== self.host) return undefined;
  // The same machine, started again.
  if (other.boot !== self.boot && self.boot !== '') return false;
  if (other.namespace === '' || other.namespace !== self.namespace || other.began === '') return undefined;
  // The number alone may be another process by now.
  return beganOf(modules, other.pid) === other.began;
}

/** When a process began, in ticks since the machine was started: field 22 of proc_pid_stat(5). Empty if it does not run. */
function beganOf({ fs }: NodeModules, pid: number | 'self'): string {
  return readOr('', () => {
    const stat = fs.readFileSync(`/proc/${pid}/stat`, 'latin1');
    // The name of the program, in brackets, may hold spaces. A zombie runs no more.
    const [state, ...fields] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return state === 'Z' || state === 'X' ? '' : (fields[18] ?? '');
  });
}

function readOr<T>(otherwise: T, read: () => T): T {
  try {
    return read();
  } catch {
    return otherwise;
  }
}
