import type { Readable } from 'node:stream';

/** A file of a request that passed every check of `upload`. */
export interface UploadedFile {
  /** The name of its form field. */
  readonly field: string;
  /** The name that the client gave it, without path and control characters. Never store the file under this name. */
  readonly filename: string | undefined;
  /** The media type, detected from the content. */
  readonly type: string;
  /** The size in bytes. */
  readonly bytes: number;
  /** Width of an image in pixels; of its largest page, if it has several. */
  readonly width?: number;
  /** Height of an image in pixels; of its largest page, if it has several. */
  readonly height?: number;
  /** Number of frames or pages of an image. */
  readonly pages?: number;
  /** Path of the temporary file, which is removed when the exchange ends. Undefined if the file is in memory. */
  readonly path: string | undefined;
  /** What `onFile` of `upload` returned for this file. */
  readonly result?: unknown;
  /** The content, from its beginning. After the exchange has ended the content is gone, and the stream fails. */
  stream(): Readable;
  /** The content. After the exchange has ended the content is gone, and this rejects. */
  buffer(): Promise<Buffer>;
  /**
   * Saves the content to a path of your own, where it stays after the exchange has ended. The file appears whole or not
   * at all, and only this user can read it. Choose the name yourself, never from `filename`.
   *
   * ```ts
   * await file.saveTo(join('images', `${randomUUID()}.png`))
   * ```
   * @throws an error with the code `EEXIST` if the path exists and `overwrite` is not set, `ENOENT` if the directory
   *   does not exist, an `UploadError` if the exchange has ended
   */
  saveTo(path: string, options?: SaveOptions): Promise<void>;
}

/** Options of `saveTo` of an uploaded file. */
export interface SaveOptions {
  /** Whether a file that exists at the path is replaced. Default false. */
  readonly overwrite?: boolean | undefined;
}

/** The files and text fields of a multipart request. */
export interface Upload {
  /** The values of each text field, in order. */
  readonly fields: ReadonlyMap<string, readonly string[]>;
  readonly files: readonly UploadedFile[];
}

/**
 * The upload of an exchange. Never undefined.
 *
 * ```ts
 * app.post('/segment', guard(upload({ ... })), (req, res) => {
 *   const [image] = uploadOf(req.exchange).files
 * })
 * ```
 * @throws if there is no upload: no `upload(...)` guard ran before
 */
export function uploadOf(exchange: { readonly upload: Upload | undefined }): Upload {
  const upload = exchange?.upload;
  if (upload === undefined) {
    throw new Error('gatewarden: there is no upload; put guard(upload({ ... })) on this route, before the handler');
  }
  return upload;
}
