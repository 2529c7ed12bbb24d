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
}

/** The files and text fields of a multipart request. */
export interface Upload {
  /** The values of each text field, in order. */
  readonly fields: ReadonlyMap<string, readonly string[]>;
  readonly files: readonly UploadedFile[];
}
