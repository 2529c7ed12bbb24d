import type { Readable } from 'node:stream';
import { Busboy, type BusboyFileStream, type BusboyHeaders } from '@fastify/busboy';
import { problem } from '../core/problem.js';
import { contentType, HEAD_BYTES } from './content-type.js';
import { displayFilename } from './display-filename.js';
import { closeSoon, drain } from './drain.js';
import type { Limits } from './limits.js';
import { MultipartScanner } from './multipart-scanner.js';
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

/** Of field names and file names. No real form has longer ones. */
const MAX_NAME_LENGTH = 1024;

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
  readonly #parser: InstanceType<typeof Busboy>;
  readonly #fields = new Map<string, string[]>();
  readonly #spooled: SpooledFile[] = [];
  readonly #streams: BusboyFileStream[] = [];
  readonly #files: Promise<ReceivedFile | undefined>[] = [];
  /** Rejects with the first violation. */
  readonly #failure: Promise<never>;
  #fail: (error: Error) => void = () => undefined;
  /** Ends the wait for a parser whose buffer is full. */
  #stopWaiting: () => void = () => undefined;
  #stopped = false;
  #partCount = 0;
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
    this.#failure = new Promise((_, reject) => {
      this.#fail = (error) => {
        this.#stopped = true;
        reject(error);
        this.#stopWaiting();
      };
    });
    this.#failure.catch(() => undefined);
    this.#scanner = new MultipartScanner(boundary);
    const { fieldBytes, fileBytes, maxFields, maxFiles } = limits;
    this.#parser = new Busboy({
      headers: { 'content-type': `multipart/form-data; boundary="${boundary}"` } as BusboyHeaders,
      limits: {
        fieldSize: fieldBytes,
        fileSize: fileBytes,
        fields: maxFields,
        // `files` is not set: inputs left empty do not count. One part more, so that one file too many gets its own
        // reason.
        parts: maxFields + maxFiles + 1,
      },
    });
  }

  async receive(): Promise<ReceivedUpload> {
    const parsed = new Promise<void>((resolve) => this.#parser.once('finish', resolve));
    this.#listen();
    const piped = this.#pipeBody();
    piped.catch((error: Error) => this.#fail(error));
    await Promise.race([this.#failure, piped.then(() => parsed)]);
    const parts = await Promise.race([this.#failure, Promise.all(this.#files)]);
    // The scanner should have refused whatever the parser skips. If it has not, nothing may be lost in silence.
    if (this.#partCount !== this.#scanner.parts) throw malformed('malformedHeader');
    const files = parts.filter((file) => file !== undefined);
    if (files.length < this.#limits.minFiles) throw malformed(files.length === 0 ? 'noFile' : 'tooFewFiles');
    return { fields: this.#fields, files };
  }

  /** Stops, and removes every file. */
  async discard(): Promise<void> {
    this.#stopped = true;
    for (const stream of this.#streams) stream.destroy();
    // `drain` runs only when the next chunk arrives, and the client may never send one.
    closeSoon(this.#body);
    this.#parser.on('error', () => undefined);
    await Promise.allSettled(this.#spooled.map((file) => file.remove()));
  }

  #listen(): void {
    const { maxFields, maxFiles, fieldBytes } = this.#limits;
    this.#parser
      .on('file', (field, stream, filename) => {
        this.#partCount++;
        this.#streams.push(stream);
        const file = this.#receiveFile(field, stream, filename);
        file.catch((error: Error) => this.#fail(error));
        this.#files.push(file);
      })
      .on('field', (name, value, _nameTruncated, valueTruncated) => {
        this.#partCount++;
        if (valueTruncated) this.#fail(tooLarge('field', fieldBytes));
        else if (name === undefined) this.#fail(malformed('unnamedPart'));
        else if (name.length > MAX_NAME_LENGTH) this.#fail(malformed('nameTooLong'));
        else this.#fields.set(name, [...(this.#fields.get(name) ?? []), value]);
      })
      .on('partsLimit', () => this.#fail(tooLarge('parts', maxFields + maxFiles)))
      .on('fieldsLimit', () => this.#fail(tooLarge('parts', maxFields)))
      // The parser has no other error than an unexpected end.
      .on('error', () => this.#fail(malformed('incomplete')));
  }

  /** Writes the body into the parser until the body ends or a check fails. */
  async #pipeBody(): Promise<void> {
    let size = 0;
    try {
      for await (const chunk of this.#body.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
        size += chunk.length;
        if (size > this.#limits.bodyBytes) this.#fail(tooLarge('body', this.#limits.bodyBytes));
        for (const piece of this.#scanned(chunk)) {
          if (!this.#stopped && !this.#parser.write(piece)) await this.#drained();
        }
        if (this.#stopped) break;
      }
    } catch (error) {
      throw aborted(error);
    }
    if (this.#stopped) drain(this.#body);
    else this.#end();
  }

  #scanned(chunk: Buffer): readonly Buffer[] {
    if (this.#stopped) return [];
    try {
      return this.#scanner.scan(chunk);
    } catch (error) {
      this.#fail(error as Error);
      return [];
    }
  }

  #end(): void {
    try {
      this.#scanner.end();
      this.#parser.end();
    } catch (error) {
      // An HTTP/2 stream that was reset ends first and reports the reset later in the same turn.
      setImmediate(() => this.#fail(error as Error));
    }
  }

  #drained(): Promise<void> {
    return new Promise((resolve) => {
      this.#stopWaiting = resolve;
      this.#parser.once('drain', resolve);
    });
  }

  /** Returns undefined for a file input that was left empty. */
  async #receiveFile(
    field: string | undefined,
    stream: BusboyFileStream,
    filename: string | undefined,
  ): Promise<ReceivedFile | undefined> {
    const { fileFields, fileBytes, maxFiles } = this.#limits;
    if (field === undefined) throw malformed('unnamedPart');
    if (field.length > MAX_NAME_LENGTH || (filename ?? '').length > MAX_NAME_LENGTH) throw malformed('nameTooLong');
    if (fileFields?.has(field) === false) throw malformed('unexpectedFile');
    stream.once('limit', () => this.#fail(tooLarge('file', fileBytes)));
    const spooled = this.#newFile();
    this.#spooled.push(spooled);
    const start = async (head: readonly Buffer[]): Promise<ReceivedFile> => {
      if (++this.#fileCount > maxFiles) throw malformed('tooManyFiles');
      const bytes = Buffer.concat(head);
      const file = { field, filename: displayFilename(filename), type: await this.#acceptedType(bytes), spooled };
      if (this.#stopped) throw aborted();
      this.#onFileStart?.(file, this.#fields);
      await spooled.write(bytes);
      return file;
    };
    const head: Buffer[] = [];
    let headBytes = 0;
    let received: ReceivedFile | undefined;
    for await (const chunk of stream as AsyncIterable<Buffer>) {
      if (received !== undefined) {
        await spooled.write(chunk);
        continue;
      }
      head.push(chunk);
      headBytes += chunk.length;
      if (headBytes >= HEAD_BYTES) received = await start(head);
    }
    if (headBytes > 0) return received ?? start(head);
    // For a file input that was left empty, browsers send a part with an empty name and no content.
    if (filename === undefined || filename === '') return undefined;
    throw malformed('emptyFile');
  }

  /** Detects the type from the content. The name and the type that the client sends are ignored. */
  async #acceptedType(head: Buffer): Promise<string> {
    const type = await contentType(head);
    if (this.#limits.types.includes(type)) return type;
    throw refused(problem('upload-type-unsupported', { found: type, allowed: this.#limits.types }));
  }
}
