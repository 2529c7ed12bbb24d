import type { FileHandle } from 'node:fs/promises';

/** Bytes that can be read anywhere, in memory or in a file, few at a time. */
export interface ByteSource {
  readonly size: number;
  /** The bytes from `offset` on: `length` of them, or fewer where they end. */
  read(offset: number, length: number): Promise<Buffer>;
  /** Bytes from `offset` on, as many as are at hand; none only where they end. */
  some(offset: number): Promise<Buffer>;
}

/** How much is read at once. */
export const WINDOW = 65_536;
const NONE = Buffer.alloc(0);

export function bufferSource(bytes: Uint8Array): ByteSource {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return {
    size: buffer.length,
    read: async (offset, length) => buffer.subarray(offset, offset + length),
    some: async (offset) => buffer.subarray(offset, offset + WINDOW),
  };
}

/** Over an open file, one window of which is kept: what is read next is mostly near. */
export function fileSource(file: FileHandle, size: number): ByteSource {
  let start = 0;
  let window = NONE;

  async function read(offset: number, length: number): Promise<Buffer> {
    if (offset >= size) return NONE;
    const end = Math.min(size, offset + length);
    if (offset < start || end > start + window.length) {
      const fresh = Buffer.alloc(Math.min(size - offset, Math.max(WINDOW, end - offset)));
      const { bytesRead } = await file.read(fresh, 0, fresh.length, offset);
      start = offset;
      window = fresh.subarray(0, bytesRead);
    }
    return window.subarray(offset - start, end - start);
  }

  return {
    size,
    read,
    some: (offset) =>
      offset < start || offset >= start + window.length
        ? read(offset, WINDOW)
        : Promise.resolve(window.subarray(offset - start)),
  };
}
