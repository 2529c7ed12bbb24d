import type { FileHandle } from 'node:fs/promises';
import { readdir } from 'node:fs/promises';
import { beforeEach, describe, expect, it, vi } from 'vitest';
import { IncomingStream } from '../../src/upload/incoming-stream.js';
import { type UploadOptions, upload } from '../../src/upload/index.js';
import { SpooledFile } from '../../src/upload/spooled-file.js';
import { UploadError } from '../../src/upload/upload-error.js';
import { exchangeWith, FILES, filePart, JPEG, newDirectory, padded, send, split } from './fixture.js';
import { multipart } from './multipart.js';

let opened: FileHandle[] = [];
/** Called when a temporary file has been opened, before its `open` resolves. */
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

let directory: string;
beforeEach(async () => {
  directory = await newDirectory();
  opened = [];
  onOpened = () => undefined;
});

/** For each file that was opened, whether it is still open. */
const stillOpen = () => opened.map(({ fd }) => fd !== -1);

it.each([0, 1, 2, 3, 4, 5, 6, 7, 8])(
  'leaves no handle and no file if it is removed %d microtasks after its file was opened',
  async (turns) => {
    const spooled = new SpooledFile(directory, 0);
    const removed = new Promise<void>((resolve, reject) => {
      onOpened = async () => {
        for (let turn = 0; turn < turns; turn++) await undefined;
        spooled.remove().then(resolve, reject);
      };
    });
    const writeAndFinish = async () => {
      await spooled.write(Buffer.from('an image'));
      await spooled.finish();
    };
    await writeAndFinish().catch(() => undefined);
    await removed;
    expect(opened).toHaveLength(1);
    expect(await readdir(directory)).toEqual([]);
    await expect.poll(stillOpen).toEqual([false]);
    await expect(spooled.write(Buffer.from('more'))).rejects.toBeInstanceOf(UploadError);
  },
);

describe('a spooled file', () => {
  it.each<[string, UploadOptions['files']['maxBytes'], number | undefined, number, boolean]>([
    ['in memory if it has exactly memoryBytes', '1mb', JPEG.length, JPEG.length, true],
    ['on disk if it has one byte more than memoryBytes', '1mb', JPEG.length - 1, JPEG.length, false],
    ['in memory by default if it has 1 MiB', '2mb', undefined, 1_048_576, true],
    ['on disk by default if it has 1 MiB and one byte', '2mb', undefined, 1_048_577, false],
  ])('is kept %s', async (_what, maxBytes, memoryBytes, size, inMemory) => {
    const spool = { directory, ...(memoryBytes === undefined ? {} : { memoryBytes }) };
    const body = multipart([filePart(padded(size - JPEG.length))]);
    const { exchange } = await send({ files: { ...FILES, maxBytes }, spool }, body);
    const [file] = exchange.upload?.files ?? [];
    expect([file?.bytes, file?.path === undefined, opened.length]).toEqual([size, inMemory, inMemory ? 0 : 1]);
    exchange.end({ kind: 'completed', status: 200 });
    await expect.poll(() => readdir(directory)).toEqual([]);
  });

  it('allocates little more memory than the file needs, whatever memoryBytes is', async () => {
    const { exchange } = await send({ files: FILES, spool: { memoryBytes: '1mb' } }, multipart([filePart()]));
    const content = await exchange.upload?.files[0]?.buffer();
    expect(content).toEqual(JPEG);
    expect(content?.buffer.byteLength).toBeLessThan(20_000);
  });

  it('is open until the exchange ends, and no longer', async () => {
    const { exchange } = await send({ files: FILES, spool: { directory, memoryBytes: 10 } }, multipart([filePart()]));
    expect(stillOpen()).toEqual([true]);
    exchange.end({ kind: 'completed', status: 200 });
    await expect.poll(stillOpen).toEqual([false]);
  });
});

describe('a file larger than its blocks', () => {
  const content = Buffer.alloc(3_000_000).map((_, i) => (i * i * 31) % 251);

  it.each([
    [1000, 0],
    [65_536, 0],
    [65_536, 300_000],
    [300_000, 1_048_576],
    [content.length, 0],
  ])('is read whole while it is written in chunks of %d bytes, with %d in memory', async (chunkBytes, memoryBytes) => {
    for (const pauseMs of [0, 1]) {
      const spooled = new SpooledFile(directory, memoryBytes);
      const stream = new IncomingStream(spooled);
      const read = (async () => {
        const chunks: Buffer[] = [];
        for await (const chunk of stream) {
          chunks.push(Buffer.from(chunk as Buffer));
          // The reader owns what it was given.
          (chunk as Buffer).fill(0);
          if (pauseMs > 0) await new Promise((later) => setTimeout(later, pauseMs));
        }
        return Buffer.concat(chunks);
      })();
      for (const chunk of split(Buffer.from(content), chunkBytes)) {
        await spooled.write(chunk);
        await new Promise((turn) => setImmediate(turn));
      }
      await spooled.finish();
      stream.complete();
      expect((await read).equals(content)).toBe(true);
      expect((await spooled.buffer()).equals(content)).toBe(true);
      await spooled.remove();
    }
    expect(await readdir(directory)).toEqual([]);
  });
});

describe('the disk', () => {
  it('throws a fault if it is full, and leaves no handle and no file', async () => {
    onOpened = (file) => vi.spyOn(file, 'write').mockRejectedValue(new Error('ENOSPC'));
    const { exchange } = exchangeWith(split(multipart([filePart(padded(20_000))]), 1000));
    const guard = upload({ files: FILES, spool: { directory, memoryBytes: 8000 } });
    await expect(guard(exchange)).rejects.toThrow('ENOSPC');
    await expect.poll(stillOpen).toEqual([false]);
    await expect.poll(() => readdir(directory)).toEqual([]);
  });

  it('throws a fault if it cannot be read, and does not blame the image', async () => {
    onOpened = (file) => vi.spyOn(file, 'read').mockRejectedValue(new Error('EIO'));
    const { exchange } = exchangeWith(multipart([filePart()]));
    const guard = upload({ files: FILES, spool: { directory, memoryBytes: 10 } });
    await expect(guard(exchange)).rejects.toThrow('EIO');
    exchange.end({ kind: 'completed', status: 500 });
    await expect.poll(() => readdir(directory)).toEqual([]);
  });

  it('slows the client down if it is slow', async () => {
    const written: (() => void)[] = [];
    onOpened = (file) => {
      vi.spyOn(file, 'write').mockImplementation(
        (...[bytes]) =>
          new Promise((resolve) => written.push(() => resolve({ bytesWritten: bytes.length, buffer: bytes }))),
      );
    };
    let pulled = 0;
    const pieces = function* () {
      for (const piece of split(multipart([filePart(padded(8_000_000))]), 65_536)) {
        pulled += piece.length;
        yield piece;
      }
      throw new Error('the client was not slowed down');
    };
    const { exchange } = exchangeWith(pieces());
    const guard = upload({ files: { ...FILES, maxBytes: '10mb' }, spool: { directory, memoryBytes: 10 } });
    const answered = guard(exchange);
    await expect.poll(() => written.length).toBe(1);
    await new Promise((turn) => setTimeout(turn, 50));
    expect(pulled).toBeLessThan(2_000_000);
    exchange.abort();
    for (const resolve of written) resolve();
    expect(await answered).toMatchObject({ status: 400 });
  });
});
