import type { FileHandle } from 'node:fs/promises';

/** Bytes in memory or in a file, readable at any offset. */
export interface ByteSource {
  readonly size: number;
  /** Reads `length` bytes from `offset` on, or fewer at the end. */
  read(offset: number, length: number): Promise<Buffer>;
  /** Reads as many bytes as are available without further I/O, at least one unless `offset` is the end. */
  readAvailable(offset: number): Promise<Buffer>;
}

/** How many bytes one read of a file fetches. */
export const WINDOW_BYTES = 65_536;
const EMPTY = Buffer.alloc(0);

export function bufferSource(bytes: Uint8Array): ByteSource {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return {
    size: buffer.length,
    read: async (offset, length) => buffer.subarray(offset, offset + length),
    readAvailable: async (offset) => buffer.subarray(offset, offset + WINDOW_BYTES),
  };
}

/** Reads an open file through one cached window, since header readers mostly read near the previous offset. */
export function fileSource(file: FileHandle, size: number): ByteSource {
  let start = 0;
  let window = EMPTY;

  async function read(offset: number, length: number): Promise<Buffer> {
    if (offset >= size) return EMPTY;
    const end = Math.min(size, offset + length);
    if (offset < start || end > start + window.length) {
      const fresh = Buffer.alloc(Math.min(size - offset, Math.max(WINDOW_BYTES, end - offset)));
      const { bytesRead } = await file.read(fresh, 0, fresh.length, offset);
      start = offset;
      window = fresh.subarray(0, bytesRead);
    }
    return window.subarray(offset - start, end - start);
  }

  return {
    size,
    read,
    readAvailable: (offset) =>
      offset < start || offset >= start + window.length
        ? read(offset, WINDOW_BYTES)
        : Promise.resolve(window.subarray(offset - start)),
  };
}
