import { accessSync, constants, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import type { Guard } from '../core/guard.js';
import { badOption, checkOptionNames } from '../core/option.js';
import { refuse } from '../core/reply.js';
import type { RequestView } from '../core/request-view.js';
import { bytes } from '../core/size.js';
import type { UploadedFile } from '../core/uploaded-file.js';
import { boundaryOf } from './boundary.js';
import { type DecodeOptions, type Decoder, imageDecoder } from './decode.js';
import { drain } from './drain.js';
import { isImageType } from './image-header.js';
import { inspect } from './inspect.js';
import { type FieldOptions, type FileOptions, type Limits, type SpoolOptions, uploadLimits } from './limits.js';
import { type OnFile, Provisional } from './provisional.js';
import { type OnTaken, type ReceivedFile, receive } from './receive.js';
import { StoredFile } from './stored-file.js';
import { aborted, malformed, tooLarge, UploadError } from './upload-error.js';

/** What `upload` takes. */
export interface UploadOptions {
  readonly files: FileOptions;
  readonly fields?: FieldOptions;
  readonly spool?: SpoolOptions;
  /** Decodes images to their last row, which is the only way to know that they are whole. Default not. */
  readonly decode?: DecodeOptions;
  /**
   * Called with each file as soon as its type is known and taken, for a worker that is to have it while it still comes: its
   * stream ends only when every check has passed, and fails with an `UploadError` otherwise. The guard still waits for all
   * of it before the handler runs, which finds what this gave as `result` of the file. Not together with
   * `decode.reencode`. Default none.
   */
  readonly onFile?: OnFile;
}

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
  checkOptionNames('upload', options, ['files', 'fields', 'spool', 'decode', 'onFile']);
  const limits = uploadLimits(options.files, options.fields);
  const largest = options.decode?.reencode === true ? Number.POSITIVE_INFINITY : limits.fileBytes;
  const newStored = storedFileMaker(options.spool, largest);
  const decode = options.decode === undefined ? undefined : imageDecoder(options.decode, limits.types);
  const onFile = onFileOf(options);

  return async function upload(exchange) {
    const { request } = exchange;
    const boundary = boundaryOf(request.fieldLines('content-type'));
    const unseen = typeof boundary === 'string' ? tooLong(request, limits) : boundary;
    // A client that waits for leave to send is told before it has sent anything.
    const body = request.openBody?.(unseen === undefined ? 'read' : 'discard');
    if (body === undefined) throw new Error('gatewarden: upload cannot read bodies on this server');
    if (unseen !== undefined || typeof boundary !== 'string') {
      if (body !== 'consumed') drain(body);
      return refuse((unseen ?? malformed('no boundary')).problem);
    }
    if (body === 'consumed') {
      throw new Error('gatewarden: something has read the body before upload; put it before body parsers');
    }
    const newFile = () => {
      const file = newStored();
      exchange.onEnd(() => file.remove());
      return file;
    };
    const provisional = onFile === undefined ? undefined : new Provisional(onFile, exchange);
    try {
      const onTaken: OnTaken | undefined = provisional && ((file, fields) => provisional.take(file, fields));
      const { fields, files } = await receive(body, boundary, limits, newFile, onTaken);
      const signal = decode === undefined ? undefined : exchange.signal;
      const uploaded: UploadedFile[] = [];
      // One after the other: the files of one upload take one turn at the decoder at a time.
      for (const file of files) {
        const found = await inspected(file, limits, decode, newFile, signal);
        uploaded.push(provisional === undefined ? found : { ...found, result: provisional.given(file.stored) });
      }
      provisional?.release();
      exchange.upload = { fields, files: uploaded };
      return undefined;
    } catch (error) {
      // Where the client left, its files are gone while they are looked into; nobody reads the answer, and no handler runs.
      const reason = exchange.outcome === undefined || error instanceof UploadError ? error : aborted(error);
      provisional?.fail(reason instanceof UploadError ? reason : aborted(reason));
      if (reason instanceof UploadError) return refuse(reason.problem);
      throw reason;
    }
  };
}

/** By what the request announces, before a byte of it is read. */
function tooLong(request: RequestView, { bodyBytes }: Limits): UploadError | undefined {
  const announced = Number(request.fieldLines('content-length')[0] ?? 0);
  return announced > bodyBytes ? tooLarge('body', bodyBytes) : undefined;
}

/** The file as the handler gets it; written anew, it is another one, which `newFile` made. */
async function inspected(
  file: ReceivedFile,
  limits: Limits,
  decode: Decoder | undefined,
  newFile: () => StoredFile,
  signal: AbortSignal | undefined,
): Promise<UploadedFile> {
  const { type, stored } = file;
  if (!isImageType(type)) return kept(file, stored);
  const source = stored.source();
  const input = stored.path ?? (await stored.buffer());
  const { header, anew } = await inspect(type, { source, input }, limits, decode, signal);
  if (anew === undefined) return { ...kept(file, stored), ...header };
  const fresh = newFile();
  await fresh.write(anew);
  await stored.remove();
  return { ...kept(file, fresh), ...header };
}

function kept({ field, filename, type }: ReceivedFile, stored: StoredFile): UploadedFile {
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

/** `largest`: of the files that may have to be stored, in bytes. */
function storedFileMaker(options: SpoolOptions = {}, largest: number): () => StoredFile {
  checkOptionNames('upload "spool"', options, ['memoryBytes', 'directory']);
  const { directory = tmpdir() } = options;
  const memoryBytes = bytes('upload', 'spool.memoryBytes', options.memoryBytes ?? '1mb', 2 ** 30);
  if (typeof directory !== 'string' || directory === '' || (memoryBytes < largest && !isWritable(directory))) {
    throw badOption('upload', 'spool.directory', 'must be a directory in which this process may write', directory);
  }
  return () => new StoredFile(directory, memoryBytes);
}

function isWritable(directory: string): boolean {
  try {
    accessSync(directory, constants.W_OK | constants.X_OK);
    return statSync(directory).isDirectory();
  } catch {
    return false;
  }
}

function onFileOf({ onFile, decode }: UploadOptions): OnFile | undefined {
  if (onFile === undefined) return undefined;
  if (typeof onFile !== 'function') throw badOption('upload', 'onFile', 'must be a function', onFile);
  if (decode?.reencode === true) {
    throw badOption(
      'upload',
      'onFile',
      'hands over what came, not what `decode.reencode` makes of it: use one of them',
      onFile,
    );
  }
  return onFile;
}
