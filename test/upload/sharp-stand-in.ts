import sharp from 'sharp';
import type { SharpFunction } from '../../src/upload/index.js';

/** Stands in for sharp with another `toBuffer`, for a decoder that is slow or fails. */
export function sharpWith(toBuffer: () => Promise<unknown>, format = 'png'): SharpFunction {
  const image: ReturnType<SharpFunction> = {
    timeout: () => image,
    rotate: () => image,
    toFormat: () => image,
    metadata: async () => ({ format }),
    resize: () => image,
    raw: () => image,
    toBuffer: async () => {
      await toBuffer();
      return Buffer.alloc(0);
    },
  };
  // The real sharp reads the small sample with which the decoder checks that sharp itself works.
  return (input, options) => (input.length < 300 ? sharp(input, options) : image);
}
