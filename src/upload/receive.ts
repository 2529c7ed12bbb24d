import { finished, type Readable } from 'node:stream';
import { problem } from '../core/problem.js';
import { contentType } from './content-type.js';
import { displayFilename } from './display-filename.js';
import { drain } from './drain.js';
import { FilePart } from './file-part.js';
import type { Limits } from './limits.js';
import { MultipartScanner, type Piece } from './multipart-scanner.js';
import { type FileNames, PartParser } from './part-parser.js';
import type { SpooledFile } from './spooled-file.js';
import { aborted, malformed, refused, tooLarge } from './upload-error.js';

/** A file whose type is accepted. */
export interface ReceivedFile {
  readonly field: string;
  readonly filename: string | undefined;
  readonly type: string;
  readonly spooled: SpooledFile;
}

/** The content of a multipart body. */
export interface ReceivedUpload {
  readonly fields: ReadonlyMap<string, readonly string[]>;
  readonly files: readonly ReceivedFile[];
}

/** Called when the type of a file is accepted, before any of its bytes are spooled. */
export type OnFileStart = (file: ReceivedFile, fields: ReceivedUpload['fields']) => void;

/** A file that is being received. */
interface CurrentFile extends FileNames {
  readonly content: FilePart;
  received: ReceivedFile | undefined;
}

/**
 * Receives a multipart body (RFC 7578) and checks it at the same time. Sizes are counted as bytes arrive, and a file is
 * spooled only once its type is accepted. The first violation rejects at once; a bounded amount of the rest is
 * discarded.
 * @throws UploadError, and removes every file
 */
export async function receive(
  body: Readable,
  boundary: string,
  limits: Limits,
  newFile: () => SpooledFile,
  onFileStart: OnFileStart | undefined,
): Promise<ReceivedUpload> {
  const receiver = new Receiver(body, boundary, limits, newFile, onFileStart);
  try {
    return await receiver.receive();
  } catch (error) {
    // Not awaited: the client gets its answer first.
    void receiver.discard();
    throw error;
  }
}

class Receiver {
  readonly #body: Readable;
  readonly #limits: Limits;
  readonly #newFile: () => SpooledFile;
  readonly #onFileStart: OnFileStart | undefined;
  readonly #scanner: MultipartScanner;
  readonly #parser: PartParser;
  readonly #spooled: SpooledFile[] = [];
  readonly #files: ReceivedFile[] = [];
  /** Undefined in a text field. */
  #file: CurrentFile | undefined;
  /** What the body waits for. */
  #step: Promise<void> | undefined;
  #stopped = false;
  #fileCount = 0;

  constructor(
    body: Readable,
    boundary: string,
    limits: Limits,
    newFile: () => SpooledFile,
    onFileStart: OnFileStart | undefined,
  ) {
    this.#body = body;
    this.#limits = limits;
    this.#newFile = newFile;
    this.#onFileStart = onFileStart;
    this.#scanner = new MultipartScanner(boundary);
    this.#parser = new PartParser(boundary, limits);
  }

  async receive(): Promise<ReceivedUpload> {
    await this.#readBody();
    // The scanner should have refused whatever the parser skips. If it has not, nothing may be lost in silence.
    if (this.#parser.parts !== this.#scanner.parts) throw malformed('malformedHeader');
    const files = this.#files;
    if (files.length < this.#limits.minFiles) throw malformed(files.length === 0 ? 'noFile' : 'tooFewFiles');
    return { fields: this.#parser.fields, files };
  }

  /** Removes every file. */
  async discard(): Promise<void> {
    this.#stopped = true;
    await Promise.allSettled(this.#spooled.map((file) => file.remove()));
  }

  /** Reads the body to its end, or until a check fails: the rest is then discarded. */
  #readBody(): Promise<void> {
    const body = this.#body;
    const { bodyBytes } = this.#limits;
    let size = 0;
    return new Promise((resolve, reject) => {
      const stop = () => {
        stopWatching();
        body.off('data', onData);
      };
      const fail = (error: unknown) => {
        if (this.#stopped) return;
        this.#stopped = true;
        stop();
        drain(body);
        reject(error);
      };
      const onData = (chunk: Buffer) => {
        try {
          size += chunk.length;
          if (size > bodyBytes) throw tooLarge('body', bodyBytes);
          const step = this.#takeAll(this.#scanner.scan(chunk), 0);
          if (step === undefined) return;
          body.pause();
          this.#step = step.then(() => {
            if (!this.#stopped) body.resume();
          });
          this.#step.catch(fail);
        } catch (error) {
          fail(error);
        }
      };
      const stopWatching = finished(body, { writable: false }, (error) => {
        if (error) {
          fail(aborted(error));
          return;
        }
        stop();
        // An HTTP/2 stream that was reset ends first and reports the reset later in the same turn.
        this.#end().then(resolve, (reason) => setImmediate(fail, reason));
      });
      body.on('data', onData);
    });
  }

  /** Returns a promise if the next chunk has to wait. */
  #takeAll(pieces: readonly Piece[], start: number): Promise<void> | undefined {
    for (let i = start; i < pieces.length; i++) {
      const step = this.#take(pieces[i] as Piece);
      if (step !== undefined) return i + 1 < pieces.length ? step.then(() => this.#takeAll(pieces, i + 1)) : step;
    }
    return undefined;
  }

  #take(piece: Piece): Promise<void> | undefined {
    if (this.#stopped) return undefined;
    if (piece.kind === 'content') {
      if (this.#file !== undefined) return this.#file.content.write(piece.bytes);
      this.#parser.write(piece.bytes);
      return undefined;
    }
    if (this.#file !== undefined) return this.#endFile(this.#file).then(() => this.#begin(piece.head, piece.isFile));
    this.#begin(piece.head, piece.isFile);
    return undefined;
  }

  #begin(head: Buffer, isFile: boolean): void {
    const names = this.#parser.begin(head, isFile);
    this.#file = names && this.#beginFile(names);
  }

  #beginFile(names: FileNames): CurrentFile {
    const { fileFields, fileBytes, maxFiles } = this.#limits;
    if (fileFields?.has(names.field) === false) throw malformed('unexpectedFile');
    const spooled = this.#newFile();
    this.#spooled.push(spooled);
    const content = new FilePart(spooled, fileBytes, async (head) => {
      if (++this.#fileCount > maxFiles) throw malformed('tooManyFiles');
      const { field, filename } = names;
      file.received = { field, filename: displayFilename(filename), type: await this.#acceptedType(head), spooled };
      if (this.#stopped) throw aborted();
      this.#onFileStart?.(file.received, this.#parser.fields);
    });
    const file: CurrentFile = { ...names, content, received: undefined };
    return file;
  }

  async #endFile(file: CurrentFile): Promise<void> {
    await file.content.end();
    if (file.received !== undefined) this.#files.push(file.received);
    // For a file input that was left empty, browsers send a part with an empty name and no content.
    else if ((file.filename ?? '') !== '') throw malformed('emptyFile');
  }

  /** Ends the last part, at the end of the body. */
  async #end(): Promise<void> {
    await this.#step;
    if (this.#stopped) return;
    this.#scanner.end();
    if (this.#file !== undefined) await this.#endFile(this.#file);
    await this.#parser.end();
  }

  /** Detects the type from the content. The name and the type that the client sends are ignored. */
  async #acceptedType(head: Buffer): Promise<string> {
    const type = await contentType(head);
    if (this.#limits.types.includes(type)) return type;
    throw refused(problem('upload-type-unsupported', { found: type, allowed: this.#limits.types }));
  }
}
