import type { Readable } from 'node:stream';
import { Busboy, type BusboyFileStream, type BusboyHeaders } from '@fastify/busboy';
import { problem } from '../core/problem.js';
import { contentType, HEAD_BYTES } from './content-type.js';
import { cutOffSoon, drain } from './drain.js';
import { shownFilename } from './filename.js';
import type { Limits } from './limits.js';
import type { StoredFile } from './stored-file.js';
import { aborted, malformed, refused, tooLarge } from './upload-error.js';

/** One file of a type that is taken. */
export interface ReceivedFile {
  readonly field: string;
  readonly filename: string | undefined;
  readonly type: string;
  readonly stored: StoredFile;
}

/** What a multipart body brought. */
export interface Received {
  readonly fields: ReadonlyMap<string, readonly string[]>;
  readonly files: readonly ReceivedFile[];
}

/** Told of a file whose type is taken and of which nothing has been kept yet. */
export type OnTaken = (file: ReceivedFile, fields: Received['fields']) => void;

const HEADER_BYTES = 8192;
/** Longer names are not names, but somebody who tries. */
const MAX_NAME_LENGTH = 1024;

/**
 * Reads a multipart body (RFC 7578) and checks it while it comes: sizes are counted byte by byte, and a file is kept from
 * the moment on at which its type is known and taken. What is refused is refused at once; the rest of the body is thrown
 * away, to a bound.
 * @throws UploadError; then what has come is removed
 */
export async function receive(
  body: Readable,
  boundary: string,
  limits: Limits,
  newFile: () => StoredFile,
  onTaken: OnTaken | undefined,
): Promise<Received> {
  const reception = new Reception(body, boundary, limits, newFile, onTaken);
  try {
    return await reception.whole();
  } catch (error) {
    // Not waited for: the client is to be told at once.
    void reception.giveUp();
    throw error;
  }
}

class Reception {
  readonly #body: Readable;
  readonly #limits: Limits;
  readonly #newFile: () => StoredFile;
  readonly #onTaken: OnTaken | undefined;
  readonly #parser: InstanceType<typeof Busboy>;
  readonly #fields = new Map<string, string[]>();
  readonly #stored: StoredFile[] = [];
  readonly #streams: BusboyFileStream[] = [];
  readonly #files: Promise<ReceivedFile | undefined>[] = [];
  readonly #failed: Promise<never>;
  #fail: (error: Error) => void = () => undefined;
  /** Ends the wait for a parser that is full. */
  #wake: () => void = () => undefined;
  #over = false;
  #begun = 0;

  constructor(
    body: Readable,
    boundary: string,
    limits: Limits,
    newFile: () => StoredFile,
    onTaken: OnTaken | undefined,
  ) {
    this.#body = body;
    this.#limits = limits;
    this.#newFile = newFile;
    this.#onTaken = onTaken;
    this.#failed = new Promise((_, reject) => {
      this.#fail = (error) => {
        this.#over = true;
        reject(error);
        this.#wake();
      };
    });
    this.#failed.catch(() => undefined);
    const { fieldBytes, fileBytes, maxFields, maxFiles } = limits;
    this.#parser = new Busboy({
      headers: { 'content-type': `multipart/form-data; boundary="${boundary}"` } as BusboyHeaders,
      limits: {
        fieldSize: fieldBytes,
        fileSize: fileBytes,
        fields: maxFields,
        // Those that nobody has chosen do not count; one part more, so that a file too many is told as such.
        parts: maxFields + maxFiles + 1,
        headerPairs: 32,
        headerSize: HEADER_BYTES,
      },
    });
  }

  async whole(): Promise<Received> {
    const parsed = new Promise<void>((resolve) => this.#parser.once('finish', resolve));
    this.#listen();
    const pumped = this.#pump();
    pumped.catch((error: Error) => this.#fail(error));
    await Promise.race([this.#failed, pumped.then(() => parsed)]);
    const parts = await Promise.race([this.#failed, Promise.all(this.#files)]);
    const files = parts.filter((file) => file !== undefined);
    if (files.length < this.#limits.minFiles) throw malformed(files.length === 0 ? 'no file' : 'too few files');
    return { fields: this.#fields, files };
  }

  /** Leaves nothing behind. */
  async giveUp(): Promise<void> {
    this.#over = true;
    for (const stream of this.#streams) stream.destroy();
    // Also where the client sends nothing at all any more.
    cutOffSoon(this.#body);
    this.#parser.on('error', () => undefined);
    await Promise.allSettled(this.#stored.map((file) => file.remove()));
  }

  #listen(): void {
    const { maxFields, maxFiles, fieldBytes } = this.#limits;
    this.#parser
      .on('file', (field, stream, filename) => {
        this.#streams.push(stream);
        const file = this.#take(field, stream, filename);
        file.catch((error: Error) => this.#fail(error));
        this.#files.push(file);
      })
      .on('field', (name, value, _nameCut, valueCut) => {
        if (valueCut) this.#fail(tooLarge('field', fieldBytes));
        else if (name !== undefined && name.length > MAX_NAME_LENGTH) {
          this.#fail(malformed('a name that is too long'));
        } else if (name === undefined) this.#fail(malformed('a part without a name'));
        else this.#fields.set(name, [...(this.#fields.get(name) ?? []), value]);
      })
      .on('partsLimit', () => this.#fail(tooLarge('parts', maxFields + maxFiles)))
      .on('fieldsLimit', () => this.#fail(tooLarge('parts', maxFields)))
      .on('error', () => this.#fail(malformed('cut short')));
  }

  /** Reads the body into the parser, until it ends or is refused. */
  async #pump(): Promise<void> {
    let size = 0;
    try {
      for await (const chunk of this.#body.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
        size += chunk.length;
        if (size > this.#limits.bodyBytes) this.#fail(tooLarge('body', this.#limits.bodyBytes));
        if (this.#over) break;
        if (!this.#parser.write(chunk)) await this.#drained();
        if (this.#over) break;
      }
    } catch (error) {
      throw aborted(error);
    }
    if (this.#over) drain(this.#body);
    else this.#parser.end();
  }

  #drained(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve;
      this.#parser.once('drain', resolve);
    });
  }

  async #take(
    field: string | undefined,
    stream: BusboyFileStream,
    filename: string | undefined,
  ): Promise<ReceivedFile | undefined> {
    const { fileFields, fileBytes, maxFiles } = this.#limits;
    if (field === undefined) throw malformed('a part without a name');
    if (field.length > MAX_NAME_LENGTH || (filename ?? '').length > MAX_NAME_LENGTH) {
      throw malformed('a name that is too long');
    }
    if (fileFields?.has(field) === false) throw malformed('a file in a field that takes none');
    stream.once('limit', () => this.#fail(tooLarge('file', fileBytes)));
    const stored = this.#newFile();
    this.#stored.push(stored);
    const begin = async (head: readonly Buffer[]): Promise<ReceivedFile> => {
      if (++this.#begun > maxFiles) throw malformed('too many files');
      const bytes = Buffer.concat(head);
      const file = { field, filename: shownFilename(filename), type: await this.#typeOf(bytes), stored };
      if (this.#over) throw aborted();
      this.#onTaken?.(file, this.#fields);
      await stored.write(bytes);
      return file;
    };
    const head: Buffer[] = [];
    let headBytes = 0;
    let taken: ReceivedFile | undefined;
    for await (const chunk of stream as AsyncIterable<Buffer>) {
      if (taken !== undefined) {
        await stored.write(chunk);
        continue;
      }
      head.push(chunk);
      headBytes += chunk.length;
      if (headBytes >= HEAD_BYTES) taken = await begin(head);
    }
    if (headBytes > 0) return taken ?? begin(head);
    // What browsers send for a file that nobody has chosen.
    if (filename === undefined || filename === '') return undefined;
    throw malformed('an empty file');
  }

  /** By content: what the client calls it counts for nothing. */
  async #typeOf(head: Buffer): Promise<string> {
    const type = await contentType(head);
    if (this.#limits.types.includes(type)) return type;
    throw refused(problem('upload-type-unsupported', { found: type, allowed: this.#limits.types }));
  }
}
