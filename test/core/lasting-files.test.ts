import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { memoryLedger, memoryStore, OptionError } from '../../src/index.js';
import { folder } from '../../src/jobs/index.js';
import { memoryOperatorStore } from '../../src/operator/index.js';

/** All that keeps something in files. */
const KEPT: readonly (readonly [option: string, make: (directory: string) => unknown])[] = [
  ['memoryStore "journal"', (directory) => memoryStore({ journal: { directory } })],
  ['memoryLedger "file"', (directory) => memoryLedger({ file: join(directory, 'ledger.json') })],
  ['memoryOperatorStore "file"', (directory) => memoryOperatorStore({ file: join(directory, 'operator.json') })],
  ['folder "directory"', (directory) => folder({ directory })],
];

const isWorkers = Reflect.get(globalThis, 'navigator')?.userAgent === 'Cloudflare-Workers';

afterEach(() => {
  vi.unstubAllGlobals();
});

describe('what is kept in files', () => {
  it.each(KEPT)('%s is refused on Workers, whose files are gone when a request has ended', (option, make) => {
    if (!isWorkers) vi.stubGlobal('navigator', { userAgent: 'Cloudflare-Workers' });
    const directory = join(tmpdir(), 'gatewarden-none');
    expect(() => make(directory)).toThrow(OptionError);
    expect(() => make(directory)).toThrow(
      `gatewarden: ${option} needs files that stay. On Cloudflare Workers they are gone`,
    );
  });

  it.skipIf(isWorkers).each(KEPT)('%s is accepted elsewhere', async (_option, make) => {
    const directory = mkdtempSync(join(tmpdir(), 'gatewarden-files-'));
    const made = make(directory) as { close?(): unknown };
    await made.close?.();
    rmSync(directory, { recursive: true, force: true });
  });

  it.skipIf(isWorkers).each([
    ['memoryLedger', (file: string) => memoryLedger({ file })],
    ['memoryOperatorStore', (file: string) => memoryOperatorStore({ file })],
  ])('%s refuses a file whose folder does not exist', (factory, make) => {
    const file = join(tmpdir(), 'gatewarden-none', 'kept.json');
    expect(() => make(file)).toThrow(
      `gatewarden: ${factory} "file" must be in a folder that exists and can be written to, got '${file}'`,
    );
  });
});
