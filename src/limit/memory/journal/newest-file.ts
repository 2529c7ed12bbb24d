import type { FileHeader } from './file-header.js';
import { damaged } from './journal-events.js';
import type { NodeModules } from './node-modules.js';

/** Names the newest file of a journal: without it, a journal whose newest file was deleted would look like an older one. */
const NOTE = 'newest';

/** Notes which file is the newest, once that is on the disk for good. */
export function noteNewest({ fs, path }: NodeModules, directory: string, { journal, index }: FileHeader): void {
  const note = path.join(directory, NOTE);
  const unfinished = `${note}.new`;
  fs.writeFileSync(unfinished, `${journal} ${index}\n`, { mode: 0o600 });
  fs.renameSync(unfinished, note);
}

/**
 * Checks that the newest file that was found is not older than the one that was noted.
 * @throws StoreError
 */
export function checkNewest(
  { fs, path }: NodeModules,
  directory: string,
  newest: FileHeader | undefined,
  pathOf: (index: number) => string,
): void {
  const note = path.join(directory, NOTE);
  let text: string;
  try {
    text = fs.readFileSync(note, 'latin1');
  } catch {
    // Copied without it.
    return;
  }
  // It is not waited for, so that a power failure may leave its name without its bytes.
  if (/^\0*$/.test(text)) return;
  const [, journal, index] = /^([0-9a-f]{32}) (\d{1,15})\n$/.exec(text) ?? [];
  if (journal === undefined || index === undefined)
    throw damaged(note, 0, 'does not name the newest file of a journal');
  if (newest !== undefined && newest.journal !== journal) {
    throw damaged(pathOf(newest.index), 0, 'is of another journal');
  }
  if (Number(index) > (newest?.index ?? 0)) throw damaged(pathOf(Number(index)), 0, 'is missing');
}
