import { Readable } from 'node:stream';
import type { ReadableStream } from 'node:stream/web';
import type { Exchange } from '../core/exchange.js';
import { shown } from '../core/option.js';
import type { JobFile, JobProgress } from './job-store.js';
import { foldedName, isSafeName, type ResultFiles } from './result-files.js';

/** What a file of a job may be made of: a text, bytes, a stream, or `null` for nothing, as a `Response` has it. */
export type FileBody = string | Uint8Array | Readable | ReadableStream<Uint8Array> | null;

/** A job while it runs, as the function that does its work gets it. */
export interface RunningJob {
  readonly id: string;
  /**
   * The exchange on which the guards of the job ran: `worker.run` takes it. It is not that of the request. It has the same
   * `principal`, `clientIp`, `requestId` and `locals`, and ends with the job.
   */
  readonly exchange: Exchange;
  /** Aborted when the job is cancelled, when its lease is lost, and when the queue closes. Pass it to all work. */
  readonly signal: AbortSignal;
  /**
   * Reports how far the job is, from 0 to 1, and what it does, in a few words. Followers see the newest report; earlier ones
   * may be skipped.
   * @throws TypeError for a number outside 0 to 1
   */
  progress(fraction: number, message?: string): void;
  /**
   * Adds a file to the result. The promise is fulfilled when the file is stored whole; the job waits for it in any case.
   * Rejects if the file is too large, and if the job was stopped.
   * @throws TypeError for a name that is not safe as a file name, or that the job has used, in any case of letters
   */
  file(name: string, type: string, body: FileBody): Promise<void>;
}

/** Limits of the files of one job. */
export interface FileLimits {
  readonly results: ResultFiles | undefined;
  /** Of all files together. */
  readonly maxBytes: number;
  readonly maxFiles: number;
}

const MAX_MESSAGE = 200;
const MEDIA_TYPE = /^[\w!#$&^.+-]{1,64}\/[\w!#$&^.+-]{1,64}(?:; ?[\w-]{1,32}=[\w.+-]{1,64})*$/;

/** Checks a report. @throws TypeError */
export function progressOf(fraction: number, message: string | undefined): JobProgress {
  if (typeof fraction !== 'number' || !(fraction >= 0 && fraction <= 1)) {
    throw new TypeError(`gatewarden: job.progress takes a number from 0 to 1, got ${shown(fraction)}`);
  }
  if (message !== undefined && typeof message !== 'string') {
    throw new TypeError(`gatewarden: job.progress takes a text as its second argument, got ${shown(message)}`);
  }
  return { fraction, message: message?.slice(0, MAX_MESSAGE).toWellFormed() };
}

/** The files that one job makes. */
export class JobFiles {
  readonly #id: string;
  readonly #limits: FileLimits;
  readonly #signal: AbortSignal;
  readonly #names = new Set<string>();
  readonly #saving = new Set<Promise<void>>();
  readonly #saved: JobFile[] = [];
  #bytes = 0;
  #failure: unknown;
  #hasFailed = false;

  constructor(id: string, limits: FileLimits, signal: AbortSignal) {
    this.#id = id;
    this.#limits = limits;
    this.#signal = signal;
  }

  /** Whether there may be something to remove. */
  get isUsed(): boolean {
    return this.#names.size > 0;
  }

  add(name: string, type: string, body: FileBody): Promise<void> {
    const { results, maxFiles } = this.#limits;
    const source = streamOf(body);
    // It may fail before it is read.
    source.on('error', () => undefined);
    const refuse = (message: string): never => {
      source.destroy();
      throw new TypeError(`gatewarden: ${message}`);
    };
    if (results === undefined) {
      return refuse('job.file needs a place for files: jobs({ results: folder({ directory }) })');
    }
    if (!isSafeName(name))
      return refuse(`job.file cannot use the name ${shown(name)}, which is not safe as a file name`);
    if (typeof type !== 'string' || !MEDIA_TYPE.test(type)) {
      return refuse(`job.file takes a media type such as 'image/png', got ${shown(type)}`);
    }
    const folded = foldedName(name);
    if (this.#names.has(folded)) return refuse(`job.file was given the name ${shown(name)} twice`);
    if (this.#names.size >= maxFiles) return refuse(`job.file was called for more than ${maxFiles} files ("maxFiles")`);
    this.#names.add(folded);
    const saving = this.#save(results, name, type, source);
    this.#saving.add(saving);
    saving.catch((error: unknown) => {
      if (!this.#hasFailed) this.#failure = error;
      this.#hasFailed = true;
    });
    return saving;
  }

  /** What was stored, when nothing is being stored any more. Rejects if a file could not be. */
  async whole(): Promise<readonly JobFile[]> {
    await Promise.allSettled(this.#saving);
    if (this.#hasFailed) throw this.#failure;
    return [...this.#saved];
  }

  async #save(results: ResultFiles, name: string, type: string, source: Readable): Promise<void> {
    let bytes = 0;
    const { maxBytes } = this.#limits;
    const add = (length: number) => {
      bytes += length;
      this.#bytes += length;
      if (this.#bytes > maxBytes) {
        throw new TypeError(`gatewarden: the files of a job are larger than ${maxBytes} bytes ("maxBytes")`);
      }
    };
    const counted = Readable.from(
      (async function* () {
        for await (const chunk of source) {
          const data = typeof chunk === 'string' ? Buffer.from(chunk) : chunk;
          add(data.length);
          yield data;
        }
      })(),
      { objectMode: false },
    );
    const stop = () => source.destroy(new Error('gatewarden: the job was stopped'));
    if (this.#signal.aborted) stop();
    this.#signal.addEventListener('abort', stop);
    try {
      await results.save(this.#id, name, counted);
      this.#saved.push({ name, type, bytes });
    } finally {
      this.#signal.removeEventListener('abort', stop);
      counted.destroy();
      source.destroy();
    }
  }
}

function streamOf(body: FileBody): Readable {
  if (body === null) return Readable.from([]);
  if (typeof body === 'string') return Readable.from([Buffer.from(body)]);
  if (body instanceof Uint8Array) return Readable.from([Buffer.from(body.buffer, body.byteOffset, body.byteLength)]);
  if (body instanceof Readable) return body;
  if (typeof body === 'object' && 'getReader' in body) return Readable.fromWeb(body);
  throw new TypeError(`gatewarden: job.file takes a text, bytes or a stream, got ${shown(body)}`);
}
