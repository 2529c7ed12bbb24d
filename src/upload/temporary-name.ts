import { createHash, randomBytes, randomUUID } from 'node:crypto';
import { readFileSync, readlinkSync } from 'node:fs';
import { hostname } from 'node:os';

/** The process that created a temporary file, as the file's name tells it. */
export interface FileOwner {
  readonly pid: number;
  /** When the process started, in ticks since the system did. `0` where the system does not say. */
  readonly started: string;
  /** Where `pid` names that process: within one PID namespace of one running system. */
  readonly place: string;
}

const UUID = '[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}';
const NAME = new RegExp(`^gatewarden-(\\d{1,10})-(\\d{1,20})-([0-9a-f]{12})-${UUID}$`);

let self: FileOwner | undefined;

/** This process. */
export function thisProcess(): FileOwner {
  // Not when the module is loaded: a snapshot or a fork would keep the id of another process.
  if (self?.pid !== process.pid) {
    self = { pid: process.pid, started: processStat('self')?.started ?? '0', place: thisPlace() };
  }
  return self;
}

/** A random name that tells the owner, so that a later process can remove the file if the owner is killed. */
export function temporaryName({ pid, started, place }: FileOwner = thisProcess()): string {
  return `gatewarden-${pid}-${started}-${place}-${randomUUID()}`;
}

/** The owner of a temporary file. Undefined if the name is not one of ours. */
export function ownerOf(name: string): FileOwner | undefined {
  const [, pid, started, place] = NAME.exec(name) ?? [];
  if (pid === undefined || started === undefined || place === undefined) return undefined;
  return { pid: Number(pid), started, place };
}

/** Whether a process of this place is certain to have ended. */
export function hasEnded({ pid, started }: FileOwner): boolean {
  try {
    process.kill(pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ESRCH';
  }
  const stat = processStat(pid);
  if (stat === undefined || started === '0') return false;
  // The number may belong to a newer process, or to a zombie, which holds no file any more.
  return stat.started !== started || stat.state === 'Z' || stat.state === 'X';
}

function processStat(pid: number | 'self'): { readonly state: string; readonly started: string } | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    // The second field is the name of the command and can contain anything. See proc_pid_stat(5).
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    const [state, started] = [fields[0], fields[19]];
    return state === undefined || started === undefined ? undefined : { state, started };
  } catch {
    return undefined;
  }
}

function thisPlace(): string {
  let place = hostname();
  if (process.platform === 'linux') {
    try {
      place = `${readFileSync('/proc/sys/kernel/random/boot_id', 'latin1')} ${readlinkSync('/proc/self/ns/pid')}`;
    } catch {
      // Nothing can be said about any other process then.
      place = randomBytes(16).toString('hex');
    }
  }
  return createHash('sha256').update(place).digest('hex').slice(0, 12);
}
