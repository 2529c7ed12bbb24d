import { randomUUID } from 'node:crypto';
import { constants, copyFile, link, rename, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { boolean, checkOptionNames, type OptionNames, text } from '../core/option.js';
import type { SaveOptions } from '../core/uploaded-file.js';

const NAMES: OptionNames<SaveOptions> = { overwrite: true };
const PRIVATE = 0o600;

/**
 * Saves a temporary file, or bytes, under a path of the service's own. The file appears there whole or not at all, and
 * only this user can read it.
 */
export async function saveFile(source: string | Buffer, path: string, options: SaveOptions = {}): Promise<void> {
  checkOptionNames('file.saveTo', options, NAMES);
  const target = text('file.saveTo', 'path', path);
  const overwrite = boolean('file.saveTo', 'overwrite', options.overwrite ?? false);
  // In the same directory, so that it can be moved in one step.
  const draft = join(dirname(target), `.gatewarden-${randomUUID()}`);
  try {
    // A second name for the temporary file is as good as moving it, and readers of the first name are not disturbed.
    if (!overwrite && typeof source === 'string' && (await linked(source, target))) return;
    if (typeof source !== 'string') await writeFile(draft, source, { flag: 'wx', mode: PRIVATE });
    else if (!(await linked(source, draft))) await copyFile(source, draft, constants.COPYFILE_EXCL);
    if (overwrite) await rename(draft, target);
    else if (!(await linked(draft, target))) await copyFile(draft, target, constants.COPYFILE_EXCL);
  } catch (error) {
    throw notSaved(target, error as NodeJS.ErrnoException);
  } finally {
    await rm(draft, { force: true }).catch(() => undefined);
  }
}

/** Returns false if there can be no link: another device, or a file system without links. */
async function linked(from: string, to: string): Promise<boolean> {
  try {
    await link(from, to);
    return true;
  } catch (error) {
    const { code = '' } = error as NodeJS.ErrnoException;
    if (['EXDEV', 'EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EMLINK'].includes(code)) return false;
    throw error;
  }
}

function notSaved(path: string, cause: NodeJS.ErrnoException): Error {
  const reason =
    cause.code === 'EEXIST'
      ? 'it exists already; choose another path, or set { overwrite: true }'
      : cause.code === 'ENOENT'
        ? 'its directory does not exist; create it first'
        : cause.message;
  return Object.assign(new Error(`gatewarden: file.saveTo cannot save to ${path}: ${reason}`, { cause }), {
    code: cause.code,
  });
}
