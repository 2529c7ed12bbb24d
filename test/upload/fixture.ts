import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import sharp from 'sharp';
import { onTestFinished } from 'vitest';
import type { Reply } from '../../src/core/reply.js';
import { type UploadOptions, upload } from '../../src/upload/index.js';
import { type HeaderLine, type TestExchange, testExchange } from '../exchange-fixture.js';
import type { Part } from './attacks.js';
import { MULTIPART } from './service.js';

export const FILES = { types: ['image/png', 'image/jpeg'], maxBytes: '1mb' } satisfies UploadOptions['files'];

/** An image of pages that hardly get smaller when they are compressed. */
export function noisy(width: number, height: number, pages = 1): sharp.Sharp {
  const noise = Buffer.alloc(width * height * pages * 3).map((_, i) => (i * i * 17) % 253);
  // As sharp takes it, but does not type it.
  return sharp(noise, { raw: { width, height: height * pages, channels: 3, pageHeight: height } as never });
}

/** Of some 5 KB: more than tells its type. */
export const JPEG = await noisy(80, 60).jpeg().toBuffer();

export function filePart(body: Buffer | string = JPEG, name = 'file', filename = 'a.jpg'): Part {
  return { name, filename, body };
}

/** An image with so many bytes behind it. */
export function longer(bytes: number, image = JPEG): Buffer {
  return Buffer.concat([image, Buffer.alloc(bytes)]);
}

export function cut(whole: Buffer, bytes: number): readonly Buffer[] {
  return Array.from({ length: Math.ceil(whole.length / bytes) }, (_, i) => whole.subarray(i * bytes, (i + 1) * bytes));
}

/** Gone with all that is in it when the test is over. */
export async function newFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'gatewarden-upload-'));
  onTestFinished(() => rm(folder, { recursive: true }));
  return folder;
}

/** A multipart request whose body is all there, in pieces. */
export function exchangeWith(
  body: Buffer | Iterable<Buffer> | AsyncIterable<Buffer>,
  ...more: readonly HeaderLine[]
): TestExchange {
  const headers: readonly HeaderLine[] = [['Content-Type', MULTIPART], ...more];
  return testExchange({
    method: 'POST',
    headers,
    openBody: () => Readable.from(Buffer.isBuffer(body) ? [body] : body),
  });
}

/** A client that sends when it is told to. */
export function client(...more: readonly HeaderLine[]): TestExchange & { readonly body: Readable } {
  const body = new Readable({ read: () => undefined });
  const headers: readonly HeaderLine[] = [['Content-Type', MULTIPART], ...more];
  return { body, ...testExchange({ method: 'POST', headers, openBody: () => body }) };
}

/** What `upload` makes of a body. */
export async function send(
  options: UploadOptions,
  body: Buffer,
  ...more: readonly HeaderLine[]
): Promise<TestExchange & { readonly reply: Reply | undefined }> {
  const test = exchangeWith(body, ...more);
  return { ...test, reply: await upload(options)(test.exchange) };
}
