import { chmod, mkdir, readdir, readFile, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import { type Exchange, OptionError, type UploadedFile, uploadOf } from '../../src/index.js';
import { UploadError, upload } from '../../src/upload/index.js';
import { exchangeWith, FILES, filePart, JPEG, newDirectory } from './fixture.js';
import { multipart } from './multipart.js';

/** What `link` fails with, as on file systems without links or across devices. */
let linkFails: string | undefined;
vi.mock('node:fs/promises', async (original) => {
  const real = await original<typeof import('node:fs/promises')>();
  return {
    ...real,
    link: async (from: string, to: string) => {
      if (linkFails !== undefined) throw Object.assign(new Error(`${linkFails}: link`), { code: linkFails });
      return real.link(from, to);
    },
  };
});

let directory: string;
let target: string;
beforeEach(async () => {
  linkFails = undefined;
  directory = await newDirectory();
  target = join(await newDirectory(), 'saved.jpg');
});

async function received(memoryBytes: number): Promise<{ readonly exchange: Exchange; readonly file: UploadedFile }> {
  const { exchange } = exchangeWith(multipart([filePart()]));
  expect(await upload({ files: FILES, spool: { directory, memoryBytes } })(exchange)).toBeUndefined();
  const [file] = uploadOf(exchange).files;
  if (file === undefined) throw new Error('no file');
  return { exchange, file };
}

/** Ends the exchange, and waits until its own files are gone. */
async function end(exchange: Exchange): Promise<void> {
  exchange.end({ kind: 'completed', status: 200 });
  await expect.poll(() => readdir(directory)).toEqual([]);
}

const filesBesideTarget = () => readdir(join(target, '..'));

describe.each([
  ['in memory', 1_000_000, undefined],
  ['on disk', 10, undefined],
  ['on another device', 10, 'EXDEV'],
  ['in memory, where files have no links', 1_000_000, 'EPERM'],
] as const)('saveTo of a file %s', (_where, memoryBytes, fails) => {
  beforeEach(() => {
    linkFails = fails;
  });

  it('saves it privately for longer than the exchange, and leaves it readable until then', async () => {
    const { exchange, file } = await received(memoryBytes);
    expect(await file.saveTo(target)).toBeUndefined();
    expect(await file.buffer()).toEqual(JPEG);
    await end(exchange);
    expect(await readFile(target)).toEqual(JPEG);
    expect((await stat(target)).mode & 0o777).toBe(0o600);
    expect(await filesBesideTarget()).toEqual(['saved.jpg']);
  });

  it('never overwrites a file', async () => {
    await writeFile(target, 'mine');
    const { exchange, file } = await received(memoryBytes);
    const error = await file.saveTo(target).catch((reason: unknown) => reason);
    expect(error).toMatchObject({
      code: 'EEXIST',
      message: `gatewarden: file.saveTo cannot save to ${target}: it exists already; choose another path, or set { overwrite: true }`,
    });
    expect(await readFile(target, 'utf8')).toBe('mine');
    expect(await filesBesideTarget()).toEqual(['saved.jpg']);
    await end(exchange);
  });

  it('never writes through a symbolic link', async () => {
    const other = join(directory, '..', 'never-written');
    await symlink(other, target);
    const { exchange, file } = await received(memoryBytes);
    await expect(file.saveTo(target)).rejects.toMatchObject({ code: 'EEXIST' });
    await expect(stat(other)).rejects.toMatchObject({ code: 'ENOENT' });
    await end(exchange);
  });

  it('replaces a file if it is told to, with a private one', async () => {
    await writeFile(target, 'mine', { mode: 0o644 });
    const { exchange, file } = await received(memoryBytes);
    await file.saveTo(target, { overwrite: true });
    await file.saveTo(target, { overwrite: true });
    await end(exchange);
    expect(await readFile(target)).toEqual(JPEG);
    expect((await stat(target)).mode & 0o777).toBe(0o600);
    expect(await filesBesideTarget()).toEqual(['saved.jpg']);
  });

  it('lets one of several savers win', async () => {
    const uploads = await Promise.all(Array.from({ length: 5 }, () => received(memoryBytes)));
    const results = await Promise.allSettled(uploads.map(({ file }) => file.saveTo(target)));
    expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    expect(await readFile(target)).toEqual(JPEG);
    expect(await filesBesideTarget()).toEqual(['saved.jpg']);
    for (const { exchange } of uploads) exchange.end({ kind: 'completed', status: 200 });
  });

  it('says that a directory is missing', async () => {
    const { exchange, file } = await received(memoryBytes);
    const path = join(target, 'a.jpg');
    await expect(file.saveTo(path)).rejects.toMatchObject({
      code: 'ENOENT',
      message: `gatewarden: file.saveTo cannot save to ${path}: its directory does not exist; create it first`,
    });
    await end(exchange);
  });

  it('does not replace a directory', async () => {
    await mkdir(target);
    const { exchange, file } = await received(memoryBytes);
    await expect(file.saveTo(target)).rejects.toMatchObject({ code: 'EEXIST' });
    await expect(file.saveTo(target, { overwrite: true })).rejects.toThrow('gatewarden: file.saveTo cannot save to');
    expect([await filesBesideTarget(), await readdir(target)]).toEqual([['saved.jpg'], []]);
    await end(exchange);
  });

  it('fails after the exchange has ended', async () => {
    const { exchange, file } = await received(memoryBytes);
    await end(exchange);
    await expect(file.saveTo(target)).rejects.toBeInstanceOf(UploadError);
    expect(await filesBesideTarget()).toEqual([]);
  });

  it('saves the file whole or not at all if the exchange ends meanwhile', async () => {
    const { exchange, file } = await received(memoryBytes);
    const saved = file.saveTo(target).then(
      () => true,
      (error: unknown) => {
        expect(error).toBeInstanceOf(UploadError);
        return false;
      },
    );
    await end(exchange);
    if (await saved) expect(await readFile(target)).toEqual(JPEG);
    else expect(await filesBesideTarget()).toEqual([]);
  });

  it.each<[unknown, unknown, RegExp]>([
    ['', undefined, /file\.saveTo "path" must be a non-empty string/],
    [undefined, undefined, /file\.saveTo "path" must be a non-empty string/],
    ['a.jpg', { overWrite: true }, /file\.saveTo has no option "overWrite"\. Did you mean "overwrite"\?/],
    ['a.jpg', { overwrite: 'yes' }, /file\.saveTo "overwrite" must be true or false/],
  ])('refuses the arguments %j, %j', async (path, options, message) => {
    const { exchange, file } = await received(memoryBytes);
    const saved = file.saveTo(path as string, options as object);
    await expect(saved).rejects.toThrow(message);
    await expect(saved).rejects.toBeInstanceOf(OptionError);
    await end(exchange);
  });
});

it.runIf(process.getuid?.() !== 0)('says why a file cannot be saved', async () => {
  const { file } = await received(10);
  await chmod(join(target, '..'), 0o500);
  onTestFinished(() => chmod(join(target, '..'), 0o700));
  await expect(file.saveTo(target)).rejects.toMatchObject({ code: 'EACCES' });
});

describe('uploadOf', () => {
  it('returns the upload', async () => {
    const { exchange, file } = await received(10);
    expect(uploadOf(exchange)).toBe(exchange.upload);
    const {
      fields,
      files: [first],
    } = uploadOf(exchange);
    expect([fields.size, first]).toEqual([0, file]);
    await end(exchange);
  });

  it.each([
    ['no upload ran', () => exchangeWith(multipart([])).exchange],
    ['no guard ran', () => undefined as never],
  ])('says what to do if %s', (_what, exchange) => {
    expect(() => uploadOf(exchange())).toThrow(
      'gatewarden: there is no upload; put guard(upload({ ... })) on this route, before the handler',
    );
  });

  it('says what to do if the upload was refused', async () => {
    const { exchange } = exchangeWith(multipart([]));
    expect(await upload({ files: FILES })(exchange)).toMatchObject({ status: 400 });
    expect(() => uploadOf(exchange)).toThrow('there is no upload');
  });
});
