import { lstat, opendir, rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { type FileOwner, hasEnded, ownerOf, thisProcess } from './temporary-name.js';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
/** How often a process that uses a file shows that it still does, by the time of the file's last change. */
export const REFRESH_MS = HOUR;
/** How old a file must be if its owner has certainly ended. */
const ENDED_AGE_MS = MINUTE;
/**
 * How old a file must be if its owner is in another container or on another host, so that this process cannot tell if it runs.
 * A live owner refreshes its files many times within this time.
 */
const UNKNOWN_AGE_MS = 24 * HOUR;
const MAX_ENTRIES = 100_000;

const swept = new Set<string>();

/**
 * Removes the temporary files of processes that were killed, now and then every hour. Works in the background, once for
 * each directory. Failures are not reported: they cost disk space, and the next time may succeed.
 */
export function sweepStaleFiles(directory: string): void {
  const path = resolve(directory);
  if (swept.has(path)) return;
  swept.add(path);
  const sweep = () => void removeStaleFiles(path).catch(() => undefined);
  setInterval(sweep, HOUR).unref();
  sweep();
}

/** Looks at up to 100,000 entries of a directory and removes stale temporary files of this user. */
export async function removeStaleFiles(directory: string, now = Date.now()): Promise<void> {
  const ended = new Map<string, boolean>();
  let entries = 0;
  for await (const { name } of await opendir(directory, { bufferSize: 256 })) {
    if (++entries > MAX_ENTRIES) return;
    const owner = ownerOf(name);
    if (owner === undefined) continue;
    const path = join(directory, name);
    await removeIfStale(path, owner, ended, now).catch(() => undefined);
  }
}

async function removeIfStale(path: string, owner: FileOwner, ended: Map<string, boolean>, now: number): Promise<void> {
  const file = await lstat(path);
  if (!file.isFile() || (process.getuid !== undefined && file.uid !== process.getuid())) return;
  const known = owner.place === thisProcess().place;
  if (now - file.mtimeMs < (known ? ENDED_AGE_MS : UNKNOWN_AGE_MS)) return;
  if (known) {
    const key = `${owner.pid} ${owner.started}`;
    const isGone = ended.get(key) ?? hasEnded(owner);
    ended.set(key, isGone);
    if (!isGone) return;
  }
  await rm(path, { force: true });
}
