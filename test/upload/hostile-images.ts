import { deflateSync, crc32 as nodeCrc32 } from 'node:zlib';
import sharp from 'sharp';
import { beginTiff, gif, hex, oneColorWebp, riffChunk } from './image-bytes.js';

/** zlib has `crc32` only since Node.js 20.15 and 22.2. */
const crc32 = nodeCrc32 as (data: Buffer) => number;

function chunk(name: string, data: Buffer): Buffer {
  const bytes = Buffer.alloc(12 + data.length);
  bytes.writeUInt32BE(data.length, 0);
  bytes.write(name, 4, 'latin1');
  data.copy(bytes, 8);
  bytes.writeUInt32BE(crc32(bytes.subarray(4, 8 + data.length)), 8 + data.length);
  return bytes;
}

const compressedZeros = new Map<number, Buffer>();

/** Zeros by the piece, so that the test itself stays small. */
function deflatedZeros(bytes: number): Buffer {
  const known = compressedZeros.get(bytes);
  if (known !== undefined) return known;
  const compressed = deflateSync(Buffer.alloc(bytes), { level: 9 });
  compressedZeros.set(bytes, compressed);
  return compressed;
}

export interface PngShape {
  readonly width: number;
  readonly height: number;
  readonly depth?: number;
  readonly colorType?: number;
  readonly interlaced?: boolean;
  /** How many bytes of pixels are there. Default 1 MB, whatever the header says. */
  readonly dataBytes?: number;
  readonly chunks?: readonly Buffer[];
}

export function pngOf({ width, height, depth = 8, colorType = 6, interlaced = false, ...more }: PngShape): Buffer {
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header.set([depth, colorType, 0, 0, interlaced ? 1 : 0], 8);
  const palette = colorType === 3 ? [chunk('PLTE', Buffer.alloc(768))] : [];
  return Buffer.concat([
    Buffer.from('\x89PNG\r\n\x1a\n', 'latin1'),
    chunk('IHDR', header),
    ...palette,
    ...(more.chunks ?? []),
    chunk('IDAT', deflatedZeros(more.dataBytes ?? 1_000_000)),
    chunk('IEND', Buffer.alloc(0)),
  ]);
}

/** Compressed text that is `bytes` long when it is decompressed. */
export function compressedText(bytes: number, name: 'zTXt' | 'iCCP' = 'zTXt'): Buffer {
  return chunk(name, Buffer.concat([Buffer.from('Comment\0\0', 'latin1'), deflatedZeros(bytes)]));
}

export interface TiffShape {
  readonly width: number;
  readonly height: number;
  readonly samples?: number;
  readonly bits?: number;
  readonly tile?: readonly [width: number, height: number];
  readonly rowsPerStrip?: number;
  readonly planar?: 1 | 2;
  readonly photometric?: number;
  /** Decompressed bytes of each strip or tile. */
  readonly pieceBytes: number;
  /** How many strips or tiles share the same data. */
  readonly pieces: number;
  readonly little?: boolean;
}

/** A TIFF with deflate compression whose strips or tiles all lie at the same place. */
export function tiffOf(shape: TiffShape): Buffer {
  const { width, height, samples = 3, bits = 8, planar = 1, photometric = 1, pieces, tile, little = true } = shape;
  const piece = deflatedZeros(shape.pieceBytes);
  const bitsAt = 8 + piece.length + (piece.length % 2);
  const offsetsAt = bitsAt + 2 * samples;
  const countsAt = offsetsAt + 4 * pieces;
  const directoryAt = countsAt + 4 * pieces;
  const [offsets, counts] = tile === undefined ? [273, 279] : [324, 325];
  const entries: (readonly [tag: number, type: number, count: number, value: number])[] = [
    [256, 4, 1, width],
    [257, 4, 1, height],
    [258, 3, samples, samples <= 2 ? bits : bitsAt],
    [259, 3, 1, 8],
    [262, 3, 1, photometric],
    [offsets, 4, pieces, pieces === 1 ? 8 : offsetsAt],
    [277, 3, 1, samples],
    ...(tile === undefined ? ([[278, 4, 1, shape.rowsPerStrip ?? height]] as const) : []),
    [counts, 4, pieces, pieces === 1 ? piece.length : countsAt],
    [284, 3, 1, planar],
    ...(tile === undefined
      ? []
      : ([
          [322, 4, 1, tile[0]],
          [323, 4, 1, tile[1]],
        ] as const)),
  ];
  entries.sort(([a], [b]) => a - b);
  const bytes = Buffer.alloc(directoryAt + 2 + 12 * entries.length + 4);
  const { short, long } = beginTiff(bytes, little);
  long(directoryAt, 4);
  piece.copy(bytes, 8);
  for (let i = 0; i < samples; i++) short(bits, bitsAt + 2 * i);
  for (let i = 0; i < pieces; i++) {
    long(8, offsetsAt + 4 * i);
    long(piece.length, countsAt + 4 * i);
  }
  short(entries.length, directoryAt);
  for (const [i, [tag, type, count, value]] of entries.entries()) {
    const at = directoryAt + 2 + 12 * i;
    short(tag, at);
    short(type, at + 2);
    long(count, at + 4);
    // A single SHORT stands in the first two bytes of its field.
    if (type === 3 && count <= 2) for (let n = 0; n < count; n++) short(value, at + 8 + 2 * n);
    else long(value, at + 8);
  }
  return bytes;
}

const progressiveJpegs = new Map<string, Promise<Buffer>>();

/** A progressive JPEG of one color. Its size is also its height. */
function progressiveJpeg(size: number, cmyk: boolean): Promise<Buffer> {
  const key = `${size} ${cmyk}`;
  const known = progressiveJpegs.get(key);
  if (known !== undefined) return known;
  const plain = sharp({ create: { width: size, height: size, channels: 3, background: '#246' } });
  const image = cmyk ? plain.toColourspace('cmyk') : plain;
  const made = image.jpeg({ progressive: true, chromaSubsampling: '4:4:4' }).toBuffer();
  progressiveJpegs.set(key, made);
  return made;
}

/** A progressive JPEG with its last scan repeated. */
export async function jpegOfScans(size: number, scans: number, cmyk = false): Promise<Buffer> {
  const image = await progressiveJpeg(size, cmyk);
  const starts: number[] = [];
  for (let at = image.indexOf(hex('ffda')); at !== -1; at = image.indexOf(hex('ffda'), at + 1)) starts.push(at);
  const scan = image.subarray(starts.at(-1) ?? 0, image.length - 2);
  const more = Array.from({ length: Math.max(0, scans - starts.length) }, () => scan);
  return Buffer.concat([image.subarray(0, image.length - 2), ...more, image.subarray(image.length - 2)]);
}

/** A JPEG whose frame header declares another size than its data has. */
export async function jpegThatDeclares(width: number, height: number, scans: number, cmyk: boolean): Promise<Buffer> {
  const image = await jpegOfScans(64, scans, cmyk);
  const frame = image.indexOf(hex('ffc2'));
  image.writeUInt16BE(height, frame + 5);
  image.writeUInt16BE(width, frame + 7);
  return image;
}

/** A GIF whose frames are each as large as its screen. Their pixels are cleared codes, three bits each. */
export function gifOf(width: number, height: number, frames: number, disposal = 3): Buffer {
  const frame = Buffer.alloc(11);
  frame[0] = 0x2c;
  frame.writeUInt16LE(width, 5);
  frame.writeUInt16LE(height, 7);
  frame[10] = 2;
  const control = Buffer.from([0x21, 0xf9, 4, disposal << 2, 10, 0, 0, 0]);
  const data = Buffer.concat([frame, Buffer.from([3, 0x44, 0x00, 0x05, 0])]);
  const image = gif(...Array.from({ length: frames }, () => Buffer.concat([control, data])));
  image.writeUInt16LE(width, 6);
  image.writeUInt16LE(height, 8);
  return image;
}

/** An animated WebP whose frames are each as large as its canvas. */
export function webpOfFrames(width: number, height: number, frames: number): Buffer {
  const size = (value: number) => {
    const bytes = Buffer.alloc(3);
    bytes.writeUIntLE(value - 1, 0, 3);
    return bytes.toString('hex');
  };
  const image = oneColorWebp(width, height).subarray(12);
  const frame = riffChunk('ANMF', `000000 000000 ${size(width)} ${size(height)} 0a0000 00 ${image.toString('hex')}`);
  const chunks = [
    riffChunk('VP8X', `02 000000 ${size(width)} ${size(height)}`),
    riffChunk('ANIM', '00000000 0000'),
    ...Array.from({ length: frames }, () => frame),
  ];
  const body = Buffer.concat([Buffer.from('WEBP', 'latin1'), ...chunks]);
  const head = Buffer.from('RIFF\0\0\0\0', 'latin1');
  head.writeUInt32LE(body.length, 4);
  return Buffer.concat([head, body]);
}
