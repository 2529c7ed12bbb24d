import { badOption, OptionError } from './option.js';

/**
 * Checks that files outlive the request, before an option that keeps something in them is accepted. Cloudflare Workers have a
 * file system, which is empty again in the next request, so that nothing would fail and nothing would be kept.
 * @throws OptionError on Cloudflare Workers
 */
export function checkLastingFiles(factory: string, option: string): void {
  const { userAgent } = (Reflect.get(globalThis, 'navigator') ?? {}) as { readonly userAgent?: unknown };
  if (userAgent !== 'Cloudflare-Workers') return;
  throw new OptionError(
    `gatewarden: ${factory} "${option}" needs files that stay. On Cloudflare Workers they are gone when the request has ended; keep it outside, for example in Redis or SQLite on a server`,
  );
}

/**
 * Checks the folder of a file that is written later: a setting that cannot work stops the start.
 * @throws OptionError if the folder does not exist, or this process may not write in it
 */
export function checkFolderOf(factory: string, option: string, path: string): void {
  // Not imported: runtimes without files can use all else.
  const { accessSync, constants } = process.getBuiltinModule('node:fs');
  const folder = process.getBuiltinModule('node:path').dirname(path);
  try {
    accessSync(folder, constants.W_OK | constants.X_OK);
  } catch {
    throw badOption(factory, option, 'must be in a folder that exists and can be written to', path);
  }
}
