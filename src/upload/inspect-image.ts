import { fileTypeFromBuffer } from 'file-type';
import { badOption, bytes, checkOptionNames, positiveInteger, type Size } from '../option.js';
import { type Problem, problem } from '../problem.js';
import { bufferSource } from './byte-source.js';
import { type DecodeOptions, imageDecoder } from './decode.js';
import { type ImageHeader, type ImageType, isImageType } from './image-header.js';
import { inspect } from './inspect.js';
import { UploadRefused } from './receive.js';

/** What `imageInspector` takes. */
export interface InspectImageOptions {
  /** Of `image/png`, `image/jpeg`, `image/webp`, `image/gif`, `image/tiff`. */
  readonly types: readonly ImageType[];
  readonly maxBytes: Size;
  /** Width x height x pages. Default 40,000,000. */
  readonly maxPixels?: number;
  /** Whether several frames or pages are taken. Default false. */
  readonly animated?: boolean;
  /** Decodes the image to its last row, and writes it anew where `reencode` says so. Default not. */
  readonly decode?: DecodeOptions;
}

/** What an image is, or why it is not taken. */
export type ImageInspection =
  | ({ readonly kind: 'accepted'; readonly type: ImageType; readonly content: Buffer } & ImageHeader)
  | { readonly kind: 'refused'; readonly problem: Problem };

/** Inspects one image: its bytes, or text in base64, with or without `data:image/...;base64,` before it. */
export type ImageInspector = (image: Uint8Array | string) => Promise<ImageInspection>;

const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;
const DATA_URL = /^data:image\/[a-z0-9.+-]+;base64,/i;

/**
 * The checks of `upload` for images that come another way: in the body of a request, as base64 in JSON, or through a parser
 * of your own. It refuses by value and throws for faults only.
 *
 * ```ts
 * const inspect = imageInspector({ types: ['image/png', 'image/jpeg'], maxBytes: '50mb' })
 * const image = await inspect(request.body.image)
 * if (image.kind === 'refused') return reply.code(image.problem.status).send(image.problem)
 * ```
 * @throws OptionError
 */
export function imageInspector(options: InspectImageOptions): ImageInspector {
  const factory = 'imageInspector';
  checkOptionNames(factory, options, ['types', 'maxBytes', 'maxPixels', 'animated', 'decode']);
  const { types, animated = false } = options;
  if (!Array.isArray(types) || types.length === 0 || !types.every(isImageType)) {
    throw badOption(
      factory,
      'types',
      'must be a list of image/png, image/jpeg, image/webp, image/gif, image/tiff',
      types,
    );
  }
  if (typeof animated !== 'boolean') throw badOption(factory, 'animated', 'must be true or false', animated);
  const maxBytes = bytes(factory, 'maxBytes', options.maxBytes, 2 ** 31);
  const maxPixels = positiveInteger(factory, 'maxPixels', options.maxPixels ?? 40_000_000);
  const decode = options.decode === undefined ? undefined : imageDecoder(options.decode);
  const limits = { types: [...types], maxPixels, animated };

  /** Nothing is decoded of text that is too long. */
  function contentOf(image: Uint8Array | string): Buffer {
    if (typeof image !== 'string') return within(Buffer.from(image.buffer, image.byteOffset, image.byteLength));
    const text = image.slice(DATA_URL.exec(image.slice(0, 100))?.[0].length ?? 0);
    if (text.length > Math.ceil(maxBytes / 3) * 4) throw tooLarge(maxBytes);
    if (!BASE64.test(text)) throw refused('upload-malformed', 'no base64');
    return within(Buffer.from(text, 'base64'));
  }

  function within(content: Buffer): Buffer {
    if (content.length > maxBytes) throw tooLarge(maxBytes);
    if (content.length === 0) throw refused('upload-malformed', 'an empty file');
    return content;
  }

  return async function inspectImage(image) {
    try {
      const content = contentOf(image);
      const mime = (await fileTypeFromBuffer(content.subarray(0, 4100)))?.mime ?? 'unknown';
      const type = mime === 'image/apng' ? 'image/png' : mime;
      if (!isImageType(type) || !limits.types.includes(type)) {
        throw new UploadRefused(problem('upload-type-unsupported', { found: type, allowed: limits.types }));
      }
      const inMemory = {
        withSource: <T>(read: (source: ReturnType<typeof bufferSource>) => Promise<T>) => read(bufferSource(content)),
        input: async () => content,
      };
      const { header, anew } = await inspect(type, inMemory, limits, decode);
      return { kind: 'accepted', type, content: anew ?? content, ...header };
    } catch (error) {
      if (error instanceof UploadRefused) return { kind: 'refused', problem: error.problem };
      throw error;
    }
  };
}

function refused(code: 'upload-malformed', reason: string): UploadRefused {
  return new UploadRefused(problem(code, { reason }));
}

function tooLarge(limit: number): UploadRefused {
  return new UploadRefused(problem('upload-too-large', { part: 'file', limit }));
}
