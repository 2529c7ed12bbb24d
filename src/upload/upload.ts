import { checkExchange } from '../core/check-exchange.js';
import type { Exchange } from '../core/exchange.js';
import type { Guard } from '../core/guard.js';
import { inOrder } from '../core/guard-order.js';
import { callback, checkOptionNames, OptionError, type OptionNames } from '../core/option.js';
import { type Reply, refuse } from '../core/reply.js';
import type { RequestView } from '../core/request-view.js';
import type { UploadedFile } from '../core/uploaded-file.js';
import { boundaryOf } from './boundary.js';
import { type Caller, callerOf, NO_CALLER } from './caller.js';
import { checkImage } from './check-image.js';
import { type DecodeOptions, type Decoder, imageDecoder } from './decode.js';
import { drain } from './drain.js';
import { isImageType } from './image-header.js';
import { IncomingFiles, type OnFile } from './incoming-file.js';
import { type FieldOptions, type FileOptions, type Limits, uploadLimits } from './limits.js';
import { type OnFileStart, type ReceivedFile, receive } from './receive.js';
import { type SpoolOptions, spool } from './spool.js';
import type { SpooledFile } from './spooled-file.js';
import { aborted, malformed, tooLarge, UploadError } from './upload-error.js';

/** Options of `upload`. */
export interface UploadOptions {
  /** Which files are accepted: their types, sizes and number. */
  readonly files: FileOptions;
  /** Which text fields are accepted. Default: up to 20, of up to 64 KiB each. */
  readonly fields?: FieldOptions | undefined;
  /** Where files are kept until the exchange ends. Default: up to 1 MiB in memory, larger ones in temporary files. */
  readonly spool?: SpoolOptions | undefined;
  /** Decodes images to their last row, the only way to know that they are complete. Default: only headers are read. */
  readonly decode?: DecodeOptions;
  /**
   * Called with each file as soon as its type is accepted, so that a worker can receive it while the client still sends
   * it. The stream ends only after every check has passed, and otherwise fails with an `UploadError`. The handler still
   * runs after the whole upload is checked, and finds the return value as `result` of the file. Cannot be combined with
   * `decode.reencode`. Default none.
   */
  readonly onFile?: OnFile;
}

const OPTIONS: OptionNames<UploadOptions> = { files: true, fields: true, spool: true, decode: true, onFile: true };

/**
 * Creates a guard that receives a multipart upload (RFC 7578) and checks it while it streams in. It refuses at the
 * first violation: by `Content-Length` before the body is read, by size, by number of parts, by type (detected from the
 * content, whatever name and type the client sends), and by the pixels that an image's header declares. Handlers read
 * the files from `exchange.upload`. Small files stay in memory, larger ones go to private temporary files; both are
 * removed when the exchange ends. Put this guard last: if an earlier guard refuses, the body is never read.
 *
 * ```ts
 * guard(authenticate(...), limit({ ... }), upload({ files: { types: ['image/png', 'image/jpeg'], maxBytes: '50mb' } }))
 * ```
 * | upload | answer |
 * |---|---|
 * | not multipart, malformed, incomplete, no file, or too many files | 400 `upload-malformed`, with the `reason` |
 * | file, field, body, number of parts, number of pixels or decoded image too large | 413 `upload-too-large`, with `part`, `limit` |
 * | a type that is not accepted, or several pages without `animated` | 415 `upload-type-unsupported`, with `found` |
 * | not a valid image of its type, or (with `decode`) incomplete | 422 `upload-undecodable`, with the `reason` |
 *
 * @throws OptionError
 */
export function upload(options: UploadOptions): Guard {
  checkOptionNames('upload', options, OPTIONS);
  const limits = uploadLimits(options.files, options.fields);
  const reencode = options.decode?.reencode === true;
  // A re-encoded image can be larger than the file that came.
  const newSpooledFile = spool(options.spool, reencode ? Number.POSITIVE_INFINITY : limits.fileBytes);
  const decode = options.decode === undefined ? undefined : imageDecoder(options.decode, limits.types);
  const onFile = callback('upload', 'onFile', options.onFile);
  if (onFile !== undefined && reencode) {
    throw new OptionError(
      'gatewarden: upload "onFile" cannot be combined with "decode.reencode": it streams the original file',
    );
  }

  async function receiveUpload(exchange: Exchange): Promise<Reply | undefined> {
    const { request } = exchange;
    const boundary = boundaryOf(request.fieldLines('content-type'));
    const refusal = typeof boundary === 'string' ? announcedTooLarge(request, limits) : boundary;
    // 'discard' sends no `100 Continue`, so a client that waits for one is refused before it sends the body.
    const body = request.openBody?.(refusal === undefined ? 'read' : 'discard');
    if (body === undefined) {
      throw new Error('gatewarden: upload cannot read the request body: its adapter has no openBody');
    }
    if (refusal !== undefined || typeof boundary !== 'string') {
      if (body !== 'consumed') drain(body);
      return refuse((refusal ?? malformed('noBoundary')).problem);
    }
    if (body === 'consumed') {
      throw new Error('gatewarden: the request body was read before upload; put upload before body parsers');
    }
    const newFile = () => {
      const file = newSpooledFile();
      exchange.onEnd(() => file.remove());
      return file;
    };
    const incoming = onFile === undefined ? undefined : new IncomingFiles(onFile, exchange);
    try {
      const onFileStart: OnFileStart | undefined = incoming && ((file, fields) => incoming.start(file, fields));
      const { fields, files } = await receive(body, boundary, limits, newFile, onFileStart);
      const caller = decode === undefined ? NO_CALLER : callerOf(exchange);
      const uploaded: UploadedFile[] = [];
      // In sequence, so that one upload occupies one slot of the decoder at a time.
      for (const file of files) {
        const checked = await checkFile(file, limits, decode, newFile, caller);
        uploaded.push(incoming === undefined ? checked : { ...checked, result: incoming.resultOf(file.spooled) });
      }
      incoming?.accept();
      exchange.upload = { fields, files: uploaded };
      return undefined;
    } catch (error) {
      // Once the exchange has ended, its files are removed and reading them fails. That is not a fault.
      const reason = exchange.outcome === undefined || error instanceof UploadError ? error : aborted(error);
      incoming?.fail(reason instanceof UploadError ? reason : aborted(reason));
      if (reason instanceof UploadError) return refuse(reason.problem);
      throw reason;
    }
  }

  // Not asynchronous, so that the check throws: Express 4 ignores a rejection.
  function upload(exchange: Exchange): Promise<Reply | undefined> {
    checkExchange('upload', exchange);
    return receiveUpload(exchange);
  }

  return inOrder(upload, {
    name: 'upload',
    after: { authenticate: 'upload would read bodies of callers that are refused' },
  });
}

/** Checks the length that the request announces. */
function announcedTooLarge(request: RequestView, { bodyBytes }: Limits): UploadError | undefined {
  const announced = Number(request.fieldLines('content-length')[0] ?? 0);
  return announced > bodyBytes ? tooLarge('body', bodyBytes) : undefined;
}

/** Checks a received file. If the decoder re-encodes it, `newFile` creates the file that replaces it. */
async function checkFile(
  file: ReceivedFile,
  limits: Limits,
  decode: Decoder | undefined,
  newFile: () => SpooledFile,
  caller: Caller,
): Promise<UploadedFile> {
  const { type, spooled } = file;
  if (!isImageType(type)) return uploadedFile(file, spooled);
  const source = spooled.source();
  const input = spooled.path ?? (await spooled.buffer());
  const { header, reencoded } = await checkImage(type, { source, input }, limits, decode, caller);
  if (reencoded === undefined) return { ...uploadedFile(file, spooled), ...header };
  const replacement = newFile();
  await replacement.write(reencoded);
  await replacement.finish();
  await spooled.remove();
  return { ...uploadedFile(file, replacement), ...header };
}

function uploadedFile({ field, filename, type }: ReceivedFile, content: SpooledFile): UploadedFile {
  return {
    field,
    filename,
    type,
    bytes: content.size,
    path: content.path,
    stream: () => content.stream(),
    buffer: () => content.buffer(),
    saveTo: (path, options) => content.saveTo(path, options),
  };
}
