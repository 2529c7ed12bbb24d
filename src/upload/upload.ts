import { tmpdir } from 'node:os';
import { type Guard, type Reply, type RequestView, refuse, type UploadedFile } from '../exchange.js';
import { badOption, bytes, checkOptionNames } from '../option.js';
import { type Problem, problem } from '../problem.js';
import type { ByteSource } from './byte-source.js';
import { type DecodeOptions, type Decoder, imageDecoder } from './decode.js';
import { drain } from './drain.js';
import { isImageType } from './image-header.js';
import { inspect } from './inspect.js';
import { type FieldOptions, type FileOptions, type Limits, type StoreOptions, uploadLimits } from './limits.js';
import { type Received, type ReceivedFile, receive, UploadAborted, UploadRefused } from './receive.js';
import { StoredFile } from './stored-file.js';

/** What `upload` takes. */
export interface UploadOptions {
  readonly files: FileOptions;
  readonly fields?: FieldOptions;
  readonly store?: StoreOptions;
  /** Decodes images to their last row, which is the only way to know that they are whole. Default not. */
  readonly decode?: DecodeOptions;
}

/** RFC 2046 section 5.1.1: what a boundary may be. */
const BOUNDARY = /;\s*boundary=(?:"([^"]*)"|([^;\s]*))/i;
const BOUNDARY_FORM = /^[0-9A-Za-z'()+_,\-./:=? ]{0,69}[0-9A-Za-z'()+_,\-./:=?]$/;
/**
 * Takes a multipart upload (RFC 7578) while it streams, and refuses it as soon as it is known that it will not do: by
 * `Content-Length` before a byte is read, by size, by the number of parts, by type (of the content, whatever name and type
 * the client gives), by the pixels that an image's header tells of. Handlers find it in `exchange.upload`. Small files stay
 * in memory, larger ones in a private temporary file that is removed when the exchange settles. Put it last: what is
 * refused before costs no body.
 *
 * ```ts
 * guard(authenticate(...), limit({ ... }), upload({ files: { types: ['image/png', 'image/jpeg'], maxBytes: '50mb' } }))
 * ```
 * | upload | answer |
 * |---|---|
 * | not multipart, malformed, cut short, no file or too many | 400 `upload-malformed`, with the `reason` |
 * | file, field, body, number of parts or of pixels too large | 413 `upload-too-large` |
 * | a type that is not taken, an animation where none is | 415 `upload-type-unsupported`, with what was `found` |
 * | no image of its type, or (with `decode`) not a whole one | 422 `upload-undecodable` |
 *
 * @throws OptionError
 */
export function upload(options: UploadOptions): Guard {
  checkOptionNames('upload', options, ['files', 'fields', 'store', 'decode']);
  const limits = uploadLimits(options.files, options.fields);
  const newFile = storeOf(options.store);
  const decode = options.decode === undefined ? undefined : imageDecoder(options.decode);

  return async function upload(exchange) {
    const { request } = exchange;
    const contentType = multipartType(request.fieldLines('content-type'));
    const unseen = typeof contentType === 'string' ? tooLong(request, limits) : contentType.problem;
    // A client that waits for leave to send is told before it has sent anything.
    if (unseen !== undefined && expectsContinue(request)) return refuse(unseen);
    const body = request.openBody?.();
    if (body === undefined) throw new Error('gatewarden: upload cannot read bodies on this server');
    if (body === 'consumed') {
      throw new Error('gatewarden: something has read the body before upload; put it before body parsers');
    }
    if (unseen !== undefined || typeof contentType !== 'string') {
      drain(body);
      return refuse(unseen ?? problem('upload-malformed', { reason: 'not multipart' }));
    }
    let received: Received;
    try {
      received = await receive(body, contentType, limits, newFile);
    } catch (error) {
      return refusalOf(error);
    }
    const kept = received.files.map(({ stored }) => stored);
    const newKept = () => {
      const file = newFile();
      kept.push(file);
      return file;
    };
    exchange.onSettled(() => Promise.all(kept.map((file) => file.remove())));
    try {
      const files = await Promise.all(received.files.map((file) => inspected(file, limits, decode, newKept)));
      exchange.upload = { fields: received.fields, files };
      return undefined;
    } catch (error) {
      return refusalOf(error);
    }
  };
}

/** What answers an upload that is not taken. Where the client left, nobody reads it, and no handler runs. */
function refusalOf(error: unknown): Reply {
  if (error instanceof UploadRefused) return refuse(error.problem);
  if (error instanceof UploadAborted) return refuse(problem('upload-malformed', { reason: 'cut short' }));
  throw error;
}

function multipartType(lines: readonly string[]): string | UploadRefused {
  const [line] = lines;
  const malformed = (reason: string) => new UploadRefused(problem('upload-malformed', { reason }));
  if (lines.length !== 1 || line === undefined || !/^multipart\/form-data\s*(?:;|$)/i.test(line)) {
    return malformed('not multipart');
  }
  const boundary = BOUNDARY.exec(line);
  const text = boundary?.[1] ?? boundary?.[2];
  if (text === undefined || text === '') return malformed('no boundary');
  return BOUNDARY_FORM.test(text) ? line : malformed('malformed boundary');
}

function expectsContinue(request: RequestView): boolean {
  return request.fieldLines('expect').some((line) => line.toLowerCase() === '100-continue');
}

/** By what the request announces, before a byte of it is read. */
function tooLong(request: RequestView, { bodyBytes }: Limits): Problem | undefined {
  const announced = Number(request.fieldLines('content-length')[0] ?? 0);
  return announced > bodyBytes ? problem('upload-too-large', { part: 'body', limit: bodyBytes }) : undefined;
}

/** The file as the handler gets it; written anew, it is another one, which `newFile` made. */
async function inspected(
  file: ReceivedFile,
  limits: Limits,
  decode: Decoder | undefined,
  newFile: () => StoredFile,
): Promise<UploadedFile> {
  const { type, stored } = file;
  if (!isImageType(type)) return uploaded(file, stored);
  const content = {
    withSource: <T>(read: (source: ByteSource) => Promise<T>) => stored.withSource(read),
    input: async () => stored.path ?? stored.buffer(),
  };
  const { header, anew } = await inspect(type, content, limits, decode);
  if (anew === undefined) return { ...uploaded(file, stored), ...header };
  const fresh = newFile();
  await fresh.write(anew);
  await fresh.end();
  await stored.remove();
  return { ...uploaded(file, fresh), ...header };
}

function uploaded({ field, filename, type }: ReceivedFile, stored: StoredFile): UploadedFile {
  return {
    field,
    filename,
    type,
    bytes: stored.size,
    path: stored.path,
    stream: () => stored.stream(),
    buffer: () => stored.buffer(),
  };
}

function storeOf(store: StoreOptions = {}): () => StoredFile {
  checkOptionNames('upload "store"', store, ['memoryBytes', 'folder']);
  const { folder = tmpdir() } = store;
  if (typeof folder !== 'string' || folder === '') throw badOption('upload', 'store.folder', 'must be a path', folder);
  const memoryBytes = bytes('upload', 'store.memoryBytes', store.memoryBytes ?? '1mb', 2 ** 30);
  return () => new StoredFile(folder, memoryBytes);
}
