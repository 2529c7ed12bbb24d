import type { ImageFormat } from './formats/format.js';
import type { SharpFunction, SharpImage } from './sharp-function.js';

/** One image to decode. Can be sent to another process. */
export interface DecodeJob {
  /** A path, or the bytes. */
  readonly input: string | Uint8Array;
  readonly format: ImageFormat['name'];
  /** The class of the only loader that may read it. */
  readonly loader: string;
  /** A valid image of the format. */
  readonly sample: Uint8Array;
  readonly maxPixels: number;
  readonly animated: boolean;
  readonly reencode: boolean;
  readonly timeoutSeconds: number;
  /** How much memory decoding may take. */
  readonly maxBytes: number;
}

export type DecodeResult =
  | { readonly kind: 'decoded'; readonly reencoded: Uint8Array | undefined }
  | { readonly kind: 'refused'; readonly reason: 'corrupt' | 'decodeTimeout' | 'ambiguous' | 'notRewritable' }
  /** sharp cannot even read the sample. */
  | { readonly kind: 'fault'; readonly message: string };

/**
 * Decodes an image to its last row. Its source also runs in another process, so it uses nothing outside of itself. Its
 * inner functions are methods: bundlers that keep names wrap others in a function of their own.
 */
export async function decodeImage(sharp: SharpFunction, job: DecodeJob): Promise<DecodeResult> {
  const steps = {
    open(input: string | Uint8Array, limitInputPixels: number, pages: number) {
      const content = typeof input === 'string' ? input : Buffer.from(input.buffer, input.byteOffset, input.byteLength);
      const image = sharp(content, { limitInputPixels, failOn: 'error', pages, sequentialRead: true });
      return image.timeout({ seconds: job.timeoutSeconds });
    },
    // Reducing each row to one pixel reads every pixel with little memory. `metadata` would accept a truncated file,
    // and `stats` has no timeout. libvips reduces by at most a million.
    readPixels(image: SharpImage, width: number, height: number) {
      const row = image.resize({ width: Math.ceil(width / 1_000_000), height, fit: 'fill' });
      return row.raw().toBuffer();
    },
    isTimeout(error: unknown) {
      return error instanceof Error && /timeout: /i.test(error.message);
    },
  };
  const pages = job.animated ? -1 : 1;
  let size: { readonly width: number; readonly height: number } | undefined;
  try {
    const image = steps.open(job.input, job.maxPixels, pages);
    // libvips chooses a loader by its own rules. Only the loader of the detected type may read the pixels.
    const { format, width = 1, height = 0, pageHeight = height } = await image.metadata();
    if (format !== job.format) return { kind: 'refused', reason: 'ambiguous' };
    size = { width, height: pageHeight };
    if (job.reencode) return { kind: 'decoded', reencoded: await image.rotate().toFormat(job.format).toBuffer() };
    await steps.readPixels(image, width, pageHeight);
    return { kind: 'decoded', reencoded: undefined };
  } catch (error) {
    if (steps.isTimeout(error)) return { kind: 'refused', reason: 'decodeTimeout' };
  }
  try {
    await steps.readPixels(steps.open(job.sample, 1, 1), 1, 1);
  } catch (error) {
    return { kind: 'fault', message: error instanceof Error ? error.message : String(error) };
  }
  if (!job.reencode || size === undefined) return { kind: 'refused', reason: 'corrupt' };
  try {
    await steps.readPixels(steps.open(job.input, job.maxPixels, pages), size.width, size.height);
    return { kind: 'refused', reason: 'notRewritable' };
  } catch (error) {
    return { kind: 'refused', reason: steps.isTimeout(error) ? 'decodeTimeout' : 'corrupt' };
  }
}
