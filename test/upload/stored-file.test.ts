import type { FileHandle } from 'node:fs/promises';
import { readdir } from 'node:fs/promises';
import { beforeEach, describe, expect, it, vi } from 'vitest';
import { type UploadOptions, upload } from '../../src/upload/index.js';
import { StoredFile } from '../../src/upload/stored-file.js';
import { UploadError } from '../../src/upload/upload-error.js';
import { multipart } from './attacks.js';
import { cut, exchangeWith, FILES, filePart, JPEG, longer, newFolder, send } from './fixture.js';

let opened: FileHandle[] = [];
/** Called when a temporary file has been opened, before who asked for it is told. */
let onOpened: (file: FileHandle) => void = () => undefined;
vi.mock('node:fs/promises', async (original) => {
  const real = await original<typeof import('node:fs/promises')>();
  return {
    ...real,
    open: async (...args: Parameters<typeof real.open>) => {
      const file = await real.open(...args);
      opened.push(file);
      onOpened(file);
      return file;
    },
  };
});

let folder: string;
beforeEach(async () => {
  folder = await newFolder();
  opened = [];
  onOpened = () => undefined;
});

/** Whether each file that was opened still is. */
const stillOpen = () => opened.map(({ fd }) => fd !== -1);

it.each([0, 1, 2, 3, 4, 5, 6, 7, 8])(
  'leaves nothing open or behind where it is removed %d turns after its file was opened',
  async (turns) => {
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
    await expect.poll(stillOpen).toEqual([false]);
    await expect(stored.write(Buffer.from('more'))).rejects.toBeInstanceOf(UploadError);
  },
);

describe('a file that is kept', () => {
  it.each<[string, UploadOptions['files']['maxBytes'], number | undefined, number, boolean]>([
    ['as large as the memory for it', '1mb', JPEG.length, JPEG.length, true],
    ['one byte larger', '1mb', JPEG.length - 1, JPEG.length, false],
    ['of 1 MiB, where nothing is said', '2mb', undefined, 1_048_576, true],
    ['of 1 MiB and a byte, where nothing is said', '2mb', undefined, 1_048_577, false],
  ])('%s, is in memory or on the disk', async (_what, maxBytes, memoryBytes, size, inMemory) => {
    const spool = { directory: folder, ...(memoryBytes === undefined ? {} : { memoryBytes }) };
    const body = multipart([filePart(longer(size - JPEG.length))]);
    const { exchange } = await send({ files: { ...FILES, maxBytes }, spool }, body);
    const [file] = exchange.upload?.files ?? [];
    expect([file?.bytes, file?.path === undefined, opened.length]).toEqual([size, inMemory, inMemory ? 0 : 1]);
    exchange.end({ kind: 'completed', status: 200 });
    await expect.poll(() => readdir(folder)).toEqual([]);
  });

  it('takes no more memory than it needs, however much it may', async () => {
    const { exchange } = await send({ files: FILES, spool: { memoryBytes: '1mb' } }, multipart([filePart()]));
    const content = await exchange.upload?.files[0]?.buffer();
    expect(content).toEqual(JPEG);
    expect(content?.buffer.byteLength).toBeLessThan(20_000);
  });

  it('is open until the exchange settles, and no longer', async () => {
    const { exchange } = await send(
      { files: FILES, spool: { directory: folder, memoryBytes: 10 } },
      multipart([filePart()]),
    );
    expect(stillOpen()).toEqual([true]);
    exchange.end({ kind: 'completed', status: 200 });
    await expect.poll(stillOpen).toEqual([false]);
  });
});

describe('a disk', () => {
  it('that is full is a fault, and nothing is left open or behind', async () => {
    onOpened = (file) => vi.spyOn(file, 'writeFile').mockRejectedValue(new Error('ENOSPC'));
    const { exchange } = exchangeWith(cut(multipart([filePart(longer(20_000))]), 1000));
    const guard = upload({ files: FILES, spool: { directory: folder, memoryBytes: 8000 } });
    await expect(guard(exchange)).rejects.toThrow('ENOSPC');
    await expect.poll(stillOpen).toEqual([false]);
    await expect.poll(() => readdir(folder)).toEqual([]);
  });

  it('that cannot be read is a fault, and not the fault of the image', async () => {
    onOpened = (file) => vi.spyOn(file, 'read').mockRejectedValue(new Error('EIO'));
    const { exchange } = exchangeWith(multipart([filePart()]));
    const guard = upload({ files: FILES, spool: { directory: folder, memoryBytes: 10 } });
    await expect(guard(exchange)).rejects.toThrow('EIO');
    exchange.end({ kind: 'completed', status: 500 });
    await expect.poll(() => readdir(folder)).toEqual([]);
  });

  it('that is slow slows down its client', async () => {
    const written: (() => void)[] = [];
    onOpened = (file) => {
      vi.spyOn(file, 'writeFile').mockImplementation(() => new Promise((resolve) => written.push(resolve)));
    };
    let pulled = 0;
    const pieces = function* () {
      for (const piece of cut(multipart([filePart(longer(8_000_000))]), 65_536)) {
        pulled += piece.length;
        yield piece;
      }
      throw new Error('nothing was held up');
    };
    const { exchange } = exchangeWith(pieces());
    const guard = upload({ files: { ...FILES, maxBytes: '10mb' }, spool: { directory: folder, memoryBytes: 10 } });
    const answered = guard(exchange);
    await expect.poll(() => written.length).toBe(1);
    await new Promise((turn) => setTimeout(turn, 50));
    expect(pulled).toBeLessThan(2_000_000);
    exchange.abort();
    for (const resolve of written) resolve();
    expect(await answered).toMatchObject({ status: 400 });
  });
});
