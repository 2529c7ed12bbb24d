import { Readable } from 'node:stream';
import { isAnyArrayBuffer } from 'node:util/types';
import { badOption, checkOptionNames, positiveInteger } from '../core/option.js';
import { type Problem, problem } from '../core/problem.js';
import { bytes, type Size } from '../core/size.js';
import { fromBase64 } from './base64.js';
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
 * Inspects one image: its bytes, a stream of them (a request's body, a file that a parser gives), a `File`, or text in base64 (RFC
 * 4648, line breaks as in RFC 2045), with or without `data:image/...;base64,` before it. Whatever else it is given, as a
 * client may write anything into its JSON, is refused as `upload-malformed`. `signal` ends the wait for a turn at the decoder.
 * @throws what the stream fails with, and an `UploadError` where the signal said to stop
 */
export type ImageInspector = (image: unknown, signal?: AbortSignal) => Promise<ImageInspection>;

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
    if (typeof image === 'string') {
      const start = DATA_URL.exec(image.slice(0, 100))?.[0].length ?? 0;
      return within(fromBase64(image.slice(start), maxBytes));
    }
    if (isBytes(image)) return within(bufferOf(image));
    const stream = image instanceof Blob ? image.stream() : image;
    if (isAsyncIterable(stream)) return within(await collected(stream, maxBytes));
    throw malformed('no image');
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

/** Of whatever realm: tests and worker threads have others. */
function isBytes(value: unknown): value is ArrayBufferView | ArrayBufferLike {
  return ArrayBuffer.isView(value) || isAnyArrayBuffer(value);
}

function isAsyncIterable(value: unknown): value is AsyncIterable<unknown> {
  return typeof value === 'object' && value !== null && Symbol.asyncIterator in value;
}

function bufferOf(bytes: ArrayBufferView | ArrayBufferLike): Buffer {
  return ArrayBuffer.isView(bytes) ? Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength) : Buffer.from(bytes);
}

/** The rest of a request's body that is too large is thrown away, so that the client comes to read the answer. */
async function collected(stream: AsyncIterable<unknown>, maxBytes: number): Promise<Buffer> {
  const chunks = stream instanceof Readable ? stream.iterator({ destroyOnReturn: false }) : stream;
  const content = new StoredFile('', maxBytes);
  for await (const chunk of chunks as AsyncIterable<unknown>) {
    if (!isBytes(chunk)) throw new TypeError('gatewarden: imageInspector takes streams of bytes, not of text');
    const bytes = bufferOf(chunk);
    if (content.size + bytes.length > maxBytes) {
      if (stream instanceof Readable) drain(stream);
      throw tooLarge('file', maxBytes);
    }
    await content.write(bytes);
  }
  return content.buffer();
}
