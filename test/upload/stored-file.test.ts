import type { FileHandle } from 'node:fs/promises';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { StoredFile } from '../../src/upload/stored-file.js';
import { UploadError } from '../../src/upload/upload-error.js';

let opened: FileHandle[] = [];
/** Called when a temporary file has been opened, before who asked for it is told. */
let onOpened: () => void = () => undefined;
vi.mock('node:fs/promises', async (original) => {
  const real = await original<typeof import('node:fs/promises')>();
  return {
    ...real,
    open: async (...args: Parameters<typeof real.open>) => {
      const file = await real.open(...args);
      opened.push(file);
      onOpened();
      return file;
    },
  };
});

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'gatewarden-stored-'));
});
afterAll(() => rm(folder, { recursive: true }));

test.each([0, 1, 2, 3, 4, 5, 6, 7, 8])(
  'leaves nothing open or behind where it is removed %d turns after its file was opened',
  async (turns) => {
    opened = [];
    const stored = new StoredFile(folder, 0);
    const removed = new Promise<void>((resolve, reject) => {
      onOpened = async () => {
        for (let turn = 0; turn < turns; turn++) await undefined;
        stored.remove().then(resolve, reject);
      };
    });
    await stored.write(Buffer.from('an image')).catch(() => undefined);
    await removed;
    expect(opened).toHaveLength(1);
    expect(await readdir(folder)).toEqual([]);
    await expect.poll(() => opened.map(({ fd }) => fd)).toEqual([-1]);
    await expect(stored.write(Buffer.from('more'))).rejects.toBeInstanceOf(UploadError);
  },
);
