import { Readable } from 'node:stream';
import { isAnyArrayBuffer } from 'node:util/types';
import { badOption, boolean, checkOptionNames, type OptionNames, positiveInteger } from '../core/option.js';
import { type Problem, problem } from '../core/problem.js';
import { bytes, type Size } from '../core/size.js';
import { fromBase64 } from './base64.js';
import { bufferSource } from './byte-source.js';
import { type Caller, type CallingExchange, callerOf, NO_CALLER } from './caller.js';
import { checkImage } from './check-image.js';
import { contentType } from './content-type.js';
import { type DecodeOptions, imageDecoder } from './decode.js';
import { drain } from './drain.js';
import type { ImageHeader } from './formats/format.js';
import { type ImageType, isImageType } from './image-header.js';
import { SpooledFile } from './spooled-file.js';
import { malformed, refused, tooLarge, UploadError } from './upload-error.js';

/** Options of `imageInspector`. */
export interface ImageInspectorOptions {
  /** The accepted types: any of `image/png`, `image/jpeg`, `image/webp`, `image/gif`, `image/tiff`. */
  readonly types: readonly ImageType[];
  /** The largest size of an image, at most 2 GiB. For base64, the size after decoding it. */
  readonly maxBytes: Size;
  /** The largest number of pixels: width x height x pages. Default 40,000,000. */
  readonly maxPixels?: number | undefined;
  /** Whether images with several frames or pages are accepted. Default false. */
  readonly animated?: boolean | undefined;
  /** Decodes each image to its last row, and re-encodes it if `reencode` is set. Default: only headers are read. */
  readonly decode?: DecodeOptions;
}

const OPTIONS: OptionNames<ImageInspectorOptions> = {
  types: true,
  maxBytes: true,
  maxPixels: true,
  animated: true,
  decode: true,
};

/** The result of an inspection: the accepted image, or the problem to answer with. */
export type ImageInspection =
  | ({ readonly kind: 'accepted'; readonly type: ImageType; readonly content: Buffer } & ImageHeader)
  | { readonly kind: 'refused'; readonly problem: Problem };

/**
 * Inspects one image. It accepts bytes, a stream of bytes (such as a request body, or a file from a parser), a `Blob`
 * or `File`, and base64 text (RFC 4648, with line breaks as in RFC 2045), with or without a `data:image/...;base64,`
 * prefix. Any other value is refused as `upload-malformed`, so that a member of a JSON body can be passed in unchecked.
 * Pass the exchange as the second argument, so that its client takes turns with others at the decoder, and decoding ends
 * when it disconnects. Pass a signal to end it without turns.
 * @throws the error of the stream if the stream fails, and an `UploadError` if the client disconnects before the end
 */
export type ImageInspector = (
  image: unknown,
  caller?: AbortSignal | CallingExchange | undefined,
) => Promise<ImageInspection>;

const DATA_URL = /^data:image\/[a-z0-9.+-]+;base64,/i;

/**
 * Creates a function that makes the checks of `upload` for an image from another source: a raw request body, base64 in
 * JSON, or your own multipart parser. The image is held in memory, up to `maxBytes`. A refusal is a value; only faults
 * are thrown.
 *
 * ```ts
 * const inspect = imageInspector({ types: ['image/png', 'image/jpeg'], maxBytes: '50mb' })
 * const image = await inspect(request.body.image, request.exchange)
 * if (image.kind === 'refused') return reply.code(image.problem.status).send(image.problem)
 * ```
 * @throws OptionError
 */
export function imageInspector(options: ImageInspectorOptions): ImageInspector {
  const factory = 'imageInspector';
  checkOptionNames(factory, options, OPTIONS);
  const { types } = options;
  if (!Array.isArray(types) || types.length === 0 || !types.every(isImageType)) {
    const rule = 'must be a non-empty list of image/png, image/jpeg, image/webp, image/gif or image/tiff';
    throw badOption(factory, 'types', rule, types);
  }
  const animated = boolean(factory, 'animated', options.animated ?? false);
  const maxBytes = bytes(factory, 'maxBytes', options.maxBytes, 2 ** 31);
  const maxPixels = positiveInteger(factory, 'maxPixels', options.maxPixels ?? 40_000_000);
  const decode = options.decode === undefined ? undefined : imageDecoder(options.decode, types);
  const limits = { types: [...types], maxPixels, animated };

  async function contentOf(image: unknown): Promise<Buffer> {
    if (typeof image === 'string') {
      const start = DATA_URL.exec(image.slice(0, 100))?.[0].length ?? 0;
      return fromBase64(image.slice(start), maxBytes);
    }
    if (isBytes(image)) return bufferOf(image);
    const stream = image instanceof Blob ? image.stream() : image;
    if (isAsyncIterable(stream)) return collect(stream, maxBytes);
    throw malformed('noImage');
  }

  return async function inspectImage(image, caller) {
    try {
      const content = await contentOf(image);
      if (content.length > maxBytes) throw tooLarge('file', maxBytes);
      if (content.length === 0) throw malformed('emptyFile');
      const type = await contentType(content);
      if (!isImageType(type) || !limits.types.includes(type)) {
        throw refused(problem('upload-type-unsupported', { found: type, allowed: limits.types }));
      }
      const source = bufferSource(content);
      const { header, reencoded } = await checkImage(
        type,
        { source, input: content },
        limits,
        decode,
        callerFrom(caller),
      );
      return { kind: 'accepted', type, content: reencoded ?? content, ...header };
    } catch (error) {
      if (error instanceof UploadError && error.code === 'GATEWARDEN_UPLOAD_REFUSED') {
        return { kind: 'refused', problem: error.problem };
      }
      throw error;
    }
  };
}

function callerFrom(caller: AbortSignal | CallingExchange | undefined): Caller {
  if (caller === undefined) return NO_CALLER;
  return 'aborted' in caller ? { signal: caller, client: undefined } : callerOf(caller);
}

/** Without `instanceof`: bytes can come from another realm, such as a test runner's. */
function isBytes(value: unknown): value is ArrayBufferView | ArrayBufferLike {
  return ArrayBuffer.isView(value) || isAnyArrayBuffer(value);
}

function isAsyncIterable(value: unknown): value is AsyncIterable<unknown> {
  return typeof value === 'object' && value !== null && Symbol.asyncIterator in value;
}

function bufferOf(bytes: ArrayBufferView | ArrayBufferLike): Buffer {
  return ArrayBuffer.isView(bytes) ? Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength) : Buffer.from(bytes);
}

/** Reads a stream into memory. If it is too large, the rest is drained, so that the client can read the answer. */
async function collect(stream: AsyncIterable<unknown>, maxBytes: number): Promise<Buffer> {
  const chunks = stream instanceof Readable ? stream.iterator({ destroyOnReturn: false }) : stream;
  // Stays in memory, since it never grows beyond `maxBytes`.
  const content = new SpooledFile('', maxBytes);
  for await (const chunk of chunks as AsyncIterable<unknown>) {
    if (!isBytes(chunk)) {
      throw new TypeError('gatewarden: imageInspector accepts streams of bytes, not of text; do not set an encoding');
    }
    const bytes = bufferOf(chunk);
    if (content.size + bytes.length > maxBytes) {
      if (stream instanceof Readable) drain(stream);
      throw tooLarge('file', maxBytes);
    }
    await content.write(bytes);
  }
  return content.buffer();
}
