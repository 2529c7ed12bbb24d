import { Readable } from 'node:stream';
import type { Exchange } from '../core/exchange.js';
import { isThenable } from '../core/thenable.js';
import { WINDOW } from './byte-source.js';
import type { ReceivedFile } from './receive.js';
import type { StoredFile } from './stored-file.js';
import { aborted, type UploadError } from './upload-error.js';

/** A file of a type that is taken, and of which nothing else is known yet. */
export interface ProvisionalFile {
  /** The name of its form field. */
  readonly field: string;
  /** What the client calls it, without any path or control character. Never a name to store it under. */
  readonly filename: string | undefined;
  /** The media type, by its content. */
  readonly type: string;
  /** The text fields that came before it. */
  readonly fields: ReadonlyMap<string, readonly string[]>;
  /**
   * Its content while it comes. It ends only when the whole upload has been found good, and fails with an `UploadError`
   * when it has not: whoever has read it to its end has a file that passed every check.
   */
  readonly stream: Readable;
}

/**
 * Told of each file that begins to come. What it gives is `handedOver` of the file, once all of it is here. A promise that
 * rejects is reported as a fault, unless the request was refused or its client left, which its stream tells of as well.
 */
export type OnFile = (file: ProvisionalFile, exchange: Exchange) => unknown;

/** The files of one upload that are handed over before their end. */
export class Provisional {
  readonly #handOver: OnFile;
  readonly #exchange: Exchange;
  readonly #streams: GrowingStream[] = [];
  readonly #given = new Map<StoredFile, unknown>();
  /** What went wrong with the work before it was known whether the upload is good. */
  readonly #failures: unknown[] = [];
  #released = false;

  constructor(handOver: OnFile, exchange: Exchange) {
    this.#handOver = handOver;
    this.#exchange = exchange;
    exchange.onEnd(() => this.fail(aborted()));
  }

  take({ field, filename, type, stored }: ReceivedFile, fields: ReadonlyMap<string, readonly string[]>): void {
    const stream = new GrowingStream(stored);
    this.#streams.push(stream);
    const given = this.#handOver({ field, filename, type, fields: new Map(fields), stream }, this.#exchange);
    if (isThenable(given)) {
      Promise.resolve(given).catch((error: unknown) => {
        this.#failures.push(error);
        this.#report();
      });
    }
    this.#given.set(stored, given);
  }

  given(stored: StoredFile): unknown {
    return this.#given.get(stored);
  }

  /** Everything is as it must be. */
  release(): void {
    this.#released = true;
    this.#report();
    for (const stream of this.#streams) stream.release();
  }

  fail(error: UploadError): void {
    for (const stream of this.#streams) stream.destroy(error);
  }

  /** Where the request is refused, or its client leaves, work that fails is as it should be. */
  #report(): void {
    const { outcome } = this.#exchange;
    if (!this.#released || (outcome !== undefined && outcome.kind !== 'completed')) return;
    for (const failure of this.#failures.splice(0)) this.#exchange.fault(failure);
  }
}

/**
 * Follows a file that is still written, at its reader's pace: a slow one holds up neither the client nor the checks, and
 * what it has not read yet lies where the file does.
 */
class GrowingStream extends Readable {
  readonly #file: StoredFile;
  #at = 0;
  #wanted = 0;
  #whole = false;

  constructor(file: StoredFile) {
    super({ highWaterMark: WINDOW });
    this.#file = file;
    file.onGrown = () => this.#goOn();
    // It may fail before anybody listens, or when nobody does any more.
    this.on('error', () => undefined);
  }

  release(): void {
    this.#whole = true;
    this.#goOn();
  }

  override _read(size: number): void {
    this.#wanted = size;
    this.#goOn();
  }

  #goOn(): void {
    const wanted = this.#wanted;
    if (wanted === 0 || this.destroyed) return;
    if (this.#at === this.#file.size) {
      if (!this.#whole) return;
      this.#wanted = 0;
      this.push(null);
      return;
    }
    this.#wanted = 0;
    this.#file
      .source()
      .read(this.#at, wanted)
      .then(
        (bytes) => {
          // It has been removed; in a moment it is told why.
          if (bytes.length === 0) return;
          this.#at += bytes.length;
          // A copy: who gets it may do with it what he likes.
          this.push(Buffer.from(bytes));
        },
        (error: Error) => this.destroy(error),
      );
  }
}
