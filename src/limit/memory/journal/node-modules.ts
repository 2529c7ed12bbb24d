import { OptionError } from '../../../core/option.js';

type Fs = typeof import('node:fs');

/** What a journal needs of the runtime. Fetched when a journal is opened: other runtimes have no such modules to import. */
export interface NodeModules {
  readonly fs: Fs;
  readonly path: typeof import('node:path');
  readonly os: typeof import('node:os');
  readonly zlib: typeof import('node:zlib');
}

/** @throws OptionError on a runtime without files */
export function nodeModules(): NodeModules {
  const load = globalThis.process?.getBuiltinModule;
  const fs = load?.('node:fs');
  if (load === undefined || typeof fs?.writeSync !== 'function') {
    throw new OptionError(
      'gatewarden: memoryStore "journal" needs a file system: it works on Node, Bun and Deno; leave it out on this runtime',
    );
  }
  return { fs, path: load('node:path'), os: load('node:os'), zlib: load('node:zlib') };
}
