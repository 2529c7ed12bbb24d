import { Busboy, type BusboyHeaders } from '@fastify/busboy';
import type { Limits } from './limits.js';
import { malformed, tooLarge } from './upload-error.js';

/** What the headers of a file say. */
export interface FileNames {
  readonly field: string;
  readonly filename: string | undefined;
}

/** Of field names and file names. No real form has longer ones. */
const MAX_NAME_LENGTH = 1024;
/** What is written at once besides a field: the delimiter and the headers of a part. */
const HEAD_BYTES = 16_384;
/**
 * The content of each file, for the parser. It holds back the line break at the end of the headers until it has seen
 * that no delimiter begins there.
 */
const CONTENT = Buffer.from('x');

/**
 * Reads the headers of parts and the text fields. The contents of files do not pass through it. Each write is processed
 * before it returns: nothing that is written here has to wait for a reader.
 */
export class PartParser {
  readonly #parser: InstanceType<typeof Busboy>;
  readonly #fields = new Map<string, string[]>();
  readonly #delimiter: string;
  readonly #finished: Promise<void>;
  readonly #fieldBytes: number;
  /** Whether the parts whose headers the parser has not read yet are files. */
  readonly #kinds: boolean[] = [];
  #names: FileNames | undefined;
  #fieldSize = 0;
  #parts = 0;
  #failure: Error | undefined;

  constructor(boundary: string, { fieldBytes, maxFields, maxFiles }: Limits) {
    this.#delimiter = `\r\n--${boundary}`;
    this.#fieldBytes = fieldBytes;
    // A stream that holds this many bytes asks its writer to wait.
    const highWaterMark = fieldBytes + HEAD_BYTES;
    this.#parser = new Busboy({
      highWaterMark,
      fileHwm: highWaterMark,
      isPartAFile: () => this.#kinds.shift() ?? false,
      headers: { 'content-type': `multipart/form-data; boundary="${boundary}"` } as BusboyHeaders,
      // `files` is not set: inputs left empty do not count. One part more, so that one file too many gets its own reason.
      limits: { fieldSize: fieldBytes, fields: maxFields, parts: maxFields + maxFiles + 1 },
    });
    this.#finished = new Promise((resolve) => this.#parser.once('finish', resolve));
    this.#parser
      .on('file', (field, content, filename) => {
        this.#parts++;
        content.resume();
        if (this.#checkName(field) && (filename ?? '').length <= MAX_NAME_LENGTH) this.#names = { field, filename };
        else this.#fail(malformed('nameTooLong'));
      })
      .on('field', (name, value) => {
        this.#parts++;
        if (this.#checkName(name)) this.#fields.set(name, [...(this.#fields.get(name) ?? []), value]);
      })
      .on('partsLimit', () => this.#fail(tooLarge('parts', maxFields + maxFiles)))
      .on('fieldsLimit', () => this.#fail(tooLarge('parts', maxFields)))
      // The parser has no other error than an unexpected end.
      .on('error', () => this.#fail(malformed('incomplete')));
  }

  /** The values of each text field. */
  get fields(): ReadonlyMap<string, readonly string[]> {
    return this.#fields;
  }

  /** How many parts were read. */
  get parts(): number {
    return this.#parts;
  }

  /**
   * Begins a part, with its delimiter and headers. Returns the names of a file, and nothing of a text field.
   * @throws UploadError
   */
  begin(head: Buffer, isFile: boolean): FileNames | undefined {
    this.#kinds.push(isFile);
    this.#names = undefined;
    this.#fieldSize = 0;
    this.#parser.write(head);
    if (isFile) this.#parser.write(CONTENT);
    if (this.#failure !== undefined) throw this.#failure;
    if (isFile && this.#names === undefined) throw malformed('malformedHeader');
    return this.#names;
  }

  /** Continues the text field that has begun. @throws UploadError */
  write(content: Buffer): void {
    this.#fieldSize += content.length;
    if (this.#fieldSize > this.#fieldBytes) throw tooLarge('field', this.#fieldBytes);
    this.#parser.write(content);
  }

  /** Ends the last part. Resolves when all fields have been read. @throws UploadError */
  async end(): Promise<void> {
    this.#parser.end(Buffer.from(`${this.#delimiter}--\r\n`, 'latin1'));
    await this.#finished;
    if (this.#failure !== undefined) throw this.#failure;
  }

  #checkName(name: string | undefined): name is string {
    if (name === undefined) this.#fail(malformed('unnamedPart'));
    else if (name.length > MAX_NAME_LENGTH) this.#fail(malformed('nameTooLong'));
    return this.#failure === undefined;
  }

  #fail(error: Error): void {
    this.#failure ??= error;
  }
}
