import { Readable } from 'node:stream';
import { badOption, bytes, checkOptionNames, positiveInteger, type Size } from '../option.js';
import { type Problem, problem } from '../problem.js';
import { bufferSource } from './byte-source.js';
import { contentType } from './content-type.js';
import { type DecodeOptions, imageDecoder } from './decode.js';
import { drain } from './drain.js';
import type { ImageHeader } from './formats/format.js';
import { type ImageType, isImageType } from './image-header.js';
import { inspect } from './inspect.js';
import { StoredFile } from './stored-file.js';
import { malformed, refused, tooLarge, UploadError } from './upload-error.js';

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

/**
 * Inspects one image: its bytes, a stream of them (a request's body, a file that a parser gives), or text in base64 (RFC
 * 4648, line breaks as in RFC 2045), with or without `data:image/...;base64,` before it. Whatever else it is given, as a
 * client may write anything into its JSON, is refused as `upload-malformed`. `signal` ends the wait for a turn at the decoder.
 * @throws what the stream fails with, and an `UploadError` where the signal said to stop
 */
export type ImageInspector = (image: unknown, signal?: AbortSignal) => Promise<ImageInspection>;

/** Of a length that four divides. No group that repeats: regular expressions keep such on a stack, which is not endless. */
const BASE64 = /^[A-Za-z0-9+/]*={0,2}$/;
const LINE_BREAK = /\r?\n/g;
const DATA_URL = /^data:image\/[a-z0-9.+-]+;base64,/i;

/**
 * The checks of `upload` for images that come another way: as the body of a request, as base64 in JSON, or through a parser
 * of your own. A stream is held in memory, up to `maxBytes`. It refuses by value and throws for faults only.
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
  const decode = options.decode === undefined ? undefined : imageDecoder(options.decode, types);
  const limits = { types: [...types], maxPixels, animated };

  async function contentOf(image: unknown): Promise<Buffer> {
    if (typeof image === 'string') return within(decoded(image));
    if (image instanceof Uint8Array) return within(bufferOf(image));
    if (isAsyncIterable(image)) return within(await collected(image, maxBytes));
    throw malformed('no image');
  }

  /** Nothing is decoded of text that is too long. */
  function decoded(image: string): Buffer {
    const start = DATA_URL.exec(image.slice(0, 100))?.[0].length ?? 0;
    // Twice as much, for line breaks.
    if (image.length - start > Math.ceil(maxBytes / 3) * 8) throw tooLarge('file', maxBytes);
    const lines = image.slice(start);
    const text = lines.includes('\n') ? lines.replaceAll(LINE_BREAK, '') : lines;
    if (text.length > Math.ceil(maxBytes / 3) * 4) throw tooLarge('file', maxBytes);
    if (text.length % 4 !== 0 || !BASE64.test(text)) throw malformed('no base64');
    return Buffer.from(text, 'base64');
  }

  function within(content: Buffer): Buffer {
    if (content.length > maxBytes) throw tooLarge('file', maxBytes);
    if (content.length === 0) throw malformed('an empty file');
    return content;
  }

  return async function inspectImage(image, signal) {
    try {
      const content = await contentOf(image);
      const type = await contentType(content);
      if (!isImageType(type) || !limits.types.includes(type)) {
        throw refused(problem('upload-type-unsupported', { found: type, allowed: limits.types }));
      }
      const source = bufferSource(content);
      const { header, anew } = await inspect(type, { source, input: content }, limits, decode, signal);
      return { kind: 'accepted', type, content: anew ?? content, ...header };
    } catch (error) {
      if (error instanceof UploadError && error.code === 'GATEWARDEN_UPLOAD_REFUSED') {
        return { kind: 'refused', problem: error.problem };
      }
      throw error;
    }
  };
}

function isAsyncIterable(value: unknown): value is AsyncIterable<unknown> {
  return typeof value === 'object' && value !== null && Symbol.asyncIterator in value;
}

function bufferOf({ buffer, byteOffset, byteLength }: Uint8Array): Buffer {
  return Buffer.from(buffer, byteOffset, byteLength);
}

/** The rest of a request's body that is too large is thrown away, so that the client comes to read the answer. */
async function collected(stream: AsyncIterable<unknown>, maxBytes: number): Promise<Buffer> {
  const chunks = stream instanceof Readable ? stream.iterator({ destroyOnReturn: false }) : stream;
  const content = new StoredFile('', maxBytes);
  for await (const chunk of chunks as AsyncIterable<unknown>) {
    if (!(chunk instanceof Uint8Array))
      throw new TypeError('gatewarden: imageInspector takes streams of bytes, not of text');
    if (content.size + chunk.length > maxBytes) {
      if (stream instanceof Readable) drain(stream);
      throw tooLarge('file', maxBytes);
    }
    await content.write(bufferOf(chunk));
  }
  return content.buffer();
}
