import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import sharp from 'sharp';
import { onTestFinished } from 'vitest';
import type { Reply } from '../../src/core/reply.js';
import { type UploadOptions, upload } from '../../src/upload/index.js';
import { type HeaderLine, type TestExchange, testExchange } from '../exchange-fixture.js';
import { MULTIPART, type Part } from './multipart.js';

export const FILES = { types: ['image/png', 'image/jpeg'], maxBytes: '1mb' } satisfies UploadOptions['files'];

/** An image of noise, which hardly compresses. */
export function noiseImage(width: number, height: number, pages = 1): sharp.Sharp {
  const noise = Buffer.alloc(width * height * pages * 3).map((_, i) => (i * i * 17) % 253);
  // sharp accepts `pageHeight` here, but its types do not.
  return sharp(noise, { raw: { width, height: height * pages, channels: 3, pageHeight: height } as never });
}

/** About 5 KB: more than the bytes that its type is detected from. */
export const JPEG = await noiseImage(80, 60).jpeg().toBuffer();

export function filePart(body: Buffer | string = JPEG, name = 'file', filename = 'a.jpg'): Part {
  return { name, filename, body };
}

/** An image with `bytes` zero bytes appended. */
export function padded(bytes: number, image = JPEG): Buffer {
  return Buffer.concat([image, Buffer.alloc(bytes)]);
}

/** Splits a buffer into chunks. */
export function split(whole: Buffer, bytes: number): readonly Buffer[] {
  return Array.from({ length: Math.ceil(whole.length / bytes) }, (_, i) => whole.subarray(i * bytes, (i + 1) * bytes));
}

/** A temporary directory, removed when the test finishes. */
export async function newDirectory(): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'gatewarden-upload-'));
  onTestFinished(() => rm(directory, { recursive: true }));
  return directory;
}

/** A multipart request with a complete body, in chunks. */
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

/** A multipart request whose body is sent by the test. */
export function client(...more: readonly HeaderLine[]): TestExchange & { readonly body: Readable } {
  const body = new Readable({ read: () => undefined });
  const headers: readonly HeaderLine[] = [['Content-Type', MULTIPART], ...more];
  return { body, ...testExchange({ method: 'POST', headers, openBody: () => body }) };
}

/** Runs `upload` on a body. */
export async function send(
  options: UploadOptions,
  body: Buffer,
  ...more: readonly HeaderLine[]
): Promise<TestExchange & { readonly reply: Reply | undefined }> {
  const test = exchangeWith(body, ...more);
  return { ...test, reply: await upload(options)(test.exchange) };
}
