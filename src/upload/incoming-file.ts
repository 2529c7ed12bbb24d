import type { Readable } from 'node:stream';
import type { Exchange } from '../core/exchange.js';
import { isThenable } from '../core/thenable.js';
import { IncomingStream } from './incoming-stream.js';
import type { ReceivedFile } from './receive.js';
import type { SpooledFile } from './spooled-file.js';
import { aborted, type UploadError } from './upload-error.js';

/** A file that is still being received. Its type is accepted; nothing else has been checked yet. */
export interface IncomingFile {
  /** The name of its form field. */
  readonly field: string;
  /**
   * The client's name for it, without path and control characters. For display only: do not store the file under it.
   */
  readonly filename: string | undefined;
  /** The media type, detected from the content. */
  readonly type: string;
  /** The text fields that came before it. */
  readonly fields: ReadonlyMap<string, readonly string[]>;
  /**
   * The content, while it is being received. It ends only after the whole upload has passed every check, and otherwise
   * fails with an `UploadError`. A reader that reached the end has a complete, accepted file.
   */
  readonly stream: Readable;
}

/**
 * Called for each file when its type is known. The return value becomes the `result` of the file. If it is a promise
 * that rejects, the error is reported as a fault, unless the request was refused or its client disconnected: then the
 * stream has failed as well, and the rejection is expected.
 */
export type OnFile = (file: IncomingFile, exchange: Exchange) => unknown;

/** Calls `onFile` for the files of one upload, and ends or fails their streams. */
export class IncomingFiles {
  readonly #onFile: OnFile;
  readonly #exchange: Exchange;
  readonly #streams: IncomingStream[] = [];
  readonly #results = new Map<SpooledFile, unknown>();
  /** Rejections that came before it was known whether the upload is accepted. */
  readonly #rejections: unknown[] = [];
  #accepted = false;

  constructor(onFile: OnFile, exchange: Exchange) {
    this.#onFile = onFile;
    this.#exchange = exchange;
    exchange.onEnd(() => this.fail(aborted()));
  }

  start({ field, filename, type, spooled }: ReceivedFile, fields: ReadonlyMap<string, readonly string[]>): void {
    const stream = new IncomingStream(spooled);
    this.#streams.push(stream);
    const result = this.#onFile({ field, filename, type, fields: new Map(fields), stream }, this.#exchange);
    if (isThenable(result)) {
      Promise.resolve(result).catch((error: unknown) => {
        this.#rejections.push(error);
        this.#reportRejections();
      });
    }
    this.#results.set(spooled, result);
  }

  resultOf(spooled: SpooledFile): unknown {
    return this.#results.get(spooled);
  }

  /** The upload passed every check. */
  accept(): void {
    this.#accepted = true;
    this.#reportRejections();
    for (const stream of this.#streams) stream.complete();
  }

  fail(error: UploadError): void {
    for (const stream of this.#streams) stream.destroy(error);
  }

  /** If the request was refused or its client disconnected, rejections are expected and not reported. */
  #reportRejections(): void {
    const { outcome } = this.#exchange;
    if (!this.#accepted || (outcome !== undefined && outcome.kind !== 'completed')) return;
    for (const rejection of this.#rejections.splice(0)) this.#exchange.fault(rejection);
  }
}
