import type { Readable } from 'node:stream';

/** A file that came with a request and was found to be what the service takes. */
export interface UploadedFile {
  /** The name of its form field. */
  readonly field: string;
  /** What the client calls it, without any path or control character. Never a name to store it under. */
  readonly filename: string | undefined;
  /** The media type, by its content. */
  readonly type: string;
  /** Its size. */
  readonly bytes: number;
  /** Of images: pixels of the largest page. */
  readonly width?: number;
  readonly height?: number;
  /** Frames or pages of an image. */
  readonly pages?: number;
  /** Where it is on the disk, until the exchange settles; undefined where it is in memory. */
  readonly path: string | undefined;
  /** What the `handOver` of `upload` gave for it. */
  readonly result?: unknown;
  /** Its content, from the beginning. Once the exchange has settled it is gone: then the stream fails. */
  stream(): Readable;
  /** Its content. Once the exchange has settled it is gone: then this rejects. */
  buffer(): Promise<Buffer>;
}

/** What a multipart request brought. */
export interface Upload {
  /** The values of each text field, in order. */
  readonly fields: ReadonlyMap<string, readonly string[]>;
  readonly files: readonly UploadedFile[];
}
