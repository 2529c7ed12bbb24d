/** Bytes from hexadecimal digits; spaces are ignored. */
export function hex(digits: string): Buffer {
  return Buffer.from(digits.replaceAll(' ', ''), 'hex');
}

export function times<T>(count: number, one: T): readonly T[] {
  return Array.from({ length: count }, () => one);
}

/** A copy with `text` written at an offset. */
export function patched(bytes: Buffer, at: number, text: string): Buffer {
  const changed = Buffer.from(bytes);
  changed.write(text, at, 'latin1');
  return changed;
}

/** A GIF with a screen of one pixel and these blocks. */
export function gif(...blocks: readonly Buffer[]): Buffer {
  return Buffer.concat([Buffer.from('GIF89a\x01\0\x01\0\0\0\0', 'latin1'), ...blocks, Buffer.from(';')]);
}

export function gifFrame(width: number, height: number, left = 0, top = 0): Buffer {
  const frame = Buffer.alloc(12);
  frame[0] = 0x2c;
  for (const [i, value] of [left, top, width, height].entries()) frame.writeUInt16LE(value, 1 + 2 * i);
  return frame;
}

/** A comment in blocks of one byte. */
export function gifComment(blocks: number): Buffer {
  return Buffer.concat([hex('21 fe'), Buffer.alloc(blocks * 2, 1), hex('00')]);
}

/** A JPEG of 5 x 6, up to its frame header. */
export function jpeg(...segments: readonly Buffer[]): Buffer {
  return Buffer.concat([hex('ffd8'), ...segments, hex('ffc0 000b 08 0006 0005 01 01 11 00')]);
}

export function pngChunk(name: string, data: Buffer = Buffer.alloc(0)): Buffer {
  const head = Buffer.alloc(8);
  head.writeUInt32BE(data.length, 0);
  head.write(name, 4, 'latin1');
  return Buffer.concat([head, data, Buffer.alloc(4)]);
}

export function acTL(frames: number): Buffer {
  const data = Buffer.alloc(8);
  data.writeUInt32BE(frames, 0);
  return pngChunk('acTL', data);
}

/** A PNG of 5 x 6, up to its pixels. */
export function png(...chunks: readonly Buffer[]): Buffer {
  const ihdr = pngChunk('IHDR', hex('00000005 00000006 08 02 00 00 00'));
  return Buffer.concat([Buffer.from('\x89PNG\r\n\x1a\n', 'latin1'), ihdr, ...chunks, pngChunk('IDAT')]);
}

/** A RIFF chunk, padded to an even length. */
export function riffChunk(name: string, digits = ''): Buffer {
  const data = hex(digits);
  const bytes = Buffer.alloc(8 + data.length + (data.length % 2));
  bytes.write(name, 'latin1');
  bytes.writeUInt32LE(data.length, 4);
  data.copy(bytes, 8);
  return bytes;
}

export function webp(name: string, digits: string, ...chunks: readonly Buffer[]): Buffer {
  return Buffer.concat([Buffer.from('RIFF\0\0\0\0WEBP', 'latin1'), riffChunk(name, digits), ...chunks]);
}

/** A lossless WebP of one color: 28 bytes, since its pixels take none. */
export function oneColorWebp(width: number, height: number): Buffer {
  const bytes = Buffer.concat([Buffer.from('RIFF\x14\0\0\0WEBPVP8L\x08\0\0\0\x2f', 'latin1'), hex('00000000 888808')]);
  bytes.writeUInt32LE((width - 1) | ((height - 1) << 14), 21);
  return bytes;
}

/** A WebP of 5 x 6 with empty frames. */
export function animatedWebp(frames: number, ...before: readonly Buffer[]): Buffer {
  return webp('VP8X', '02 000000 040000 050000', ...before, ...times(frames, riffChunk('ANMF')));
}

/** A TIFF of pages of 5 x 6, each with the largest number of entries. */
export function tiffWithManyEntries(pages: number): Buffer {
  const [count, page] = [65_535, tiff(true, [[5, 6]]).subarray(10, 34)];
  const size = 2 + count * 12 + 4;
  const bytes = Buffer.alloc(8 + pages * size);
  bytes.write('II*\0\x08', 'latin1');
  for (let i = 0; i < pages; i++) {
    const at = 8 + i * size;
    bytes.writeUInt16LE(count, at);
    page.copy(bytes, at + 2);
    bytes.writeUInt32LE(i + 1 < pages ? at + size : 0, at + size - 4);
  }
  return bytes;
}

/** Begins a TIFF. Returns how its numbers are written, in one byte order or the other. */
export function beginTiff(bytes: Buffer, little: boolean) {
  const short = (value: number, at: number) =>
    little ? bytes.writeUInt16LE(value, at) : bytes.writeUInt16BE(value, at);
  const long = (value: number, at: number) =>
    little ? bytes.writeUInt32LE(value, at) : bytes.writeUInt32BE(value, at);
  bytes.write(little ? 'II' : 'MM', 0, 'latin1');
  short(42, 2);
  return { short, long };
}

/** A TIFF with only the sizes of its pages. */
export function tiff(little: boolean, pages: readonly (readonly [width: number, height: number])[]): Buffer {
  const bytes = Buffer.alloc(8 + pages.length * 30);
  const { short, long } = beginTiff(bytes, little);
  long(8, 4);
  pages.forEach(([width, height], i) => {
    const at = 8 + i * 30;
    short(2, at);
    for (const [n, tag, value] of [
      [0, 256, width],
      [1, 257, height],
    ] as const) {
      short(tag, at + 2 + n * 12);
      short(4, at + 4 + n * 12);
      long(1, at + 6 + n * 12);
      long(value, at + 10 + n * 12);
    }
    long(i + 1 < pages.length ? at + 30 : 0, at + 26);
  });
  return bytes;
}

/** A TIFF whose page points to itself. */
export function loopingTiff(): Buffer {
  const bytes = tiff(true, [[5, 5]]);
  bytes.writeUInt32LE(8, 8 + 26);
  return bytes;
}

/** A TIFF of ten thousand directories with 65,535 entries each, in less than a megabyte. */
export function tiffWithOverlappingDirectories(): Buffer {
  const count = 10_000;
  const bytes = Buffer.alloc(8 + 6 * count + 2 + 65_535 * 12 + 4);
  bytes.write('II*\0\x08', 'latin1');
  for (let i = 0; i < count; i++) {
    const at = 8 + 6 * i;
    bytes.writeUInt16LE(0xffff, at);
    bytes.writeUInt32LE(at + 6, at + 2 + 65_535 * 12);
  }
  return bytes;
}

/** A GIF with a comment of millions of blocks. */
export function gifWithEndlessComment(): Buffer {
  const bytes = Buffer.alloc(5_000_000, 1);
  bytes.write('GIF89a\x01\0\x01\0\0\0\0\x21\xfe', 'latin1');
  return bytes;
}

export function endOfFirstFrame(gif: Buffer): number {
  const table = (flags = 0) => ((flags & 0x80) === 0 ? 0 : 3 * 2 ** ((flags & 7) + 1));
  let at = 13 + table(gif[10]);
  for (;;) {
    const isFrame = gif[at] === 0x2c;
    at += isFrame ? 11 + table(gif[at + 9]) : 2;
    while ((gif[at] ?? 0) !== 0) at += 1 + (gif[at] ?? 0);
    at++;
    if (isFrame) return at;
  }
}
