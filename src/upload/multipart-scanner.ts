import { checkPartHeaders } from './part-headers.js';
import { malformed } from './upload-error.js';

const CR = 13;
const LF = 10;
const TAB = 9;
const SPACE = 32;
const DASH = 45;
const MAX_PADDING = 64;
/** A file may hold lines that are nearly delimiters. A body of nothing else would be slow to scan. */
const MAX_NEAR_DELIMITERS = 1000;
const HEADER_BYTES = 8192;
const DISPOSITION = /^content-disposition/i;
const LINE_WITH_DISPOSITION = /[\r\n]content-disposition/i;
/** As many characters as that expression needs to match across chunks. */
const DISPOSITION_LENGTH = 20;

/** A part of a body: the delimiter and the headers with which a part begins, or bytes of its content. */
export type Piece =
  | { readonly kind: 'part'; readonly head: Buffer; readonly isFile: boolean }
  | { readonly kind: 'content'; readonly bytes: Buffer };

/**
 * Finds the parts of a multipart body and checks its structure. The parser that reads the headers skips malformed parts,
 * and cuts a file at a line that only starts with the boundary; it reports neither. Contents are not copied: of each
 * chunk only a few bytes are remembered.
 */
export class MultipartScanner {
  /** The boundary at the start of a line. LF is nowhere else in it, so a match can only begin at an LF. */
  readonly #needle: Buffer;
  readonly #delimiter: Buffer;
  readonly #dashBoundary: string;
  #state: 'preamble' | 'headers' | 'content' | 'epilogue' = 'preamble';
  /** How many bytes of `#needle` match the latest bytes. A body can begin with its first delimiter, without CRLF. */
  #matched = 1;
  #afterCr = true;
  /** Whether the match began with the line break that ended the headers of the part. */
  #noContent = false;
  /** What came after the boundary in its line: up to two dashes, padding, CR. RFC 2046 section 5.1.1. */
  #dashes = 0;
  #padding = 0;
  #cr = false;
  #nearDelimiters = 0;
  #lastByte = LF;
  /** The end of the preamble, which begins like a line. */
  #text = '\n';
  #headers = '';
  #lostPart = false;
  /** The start of the content in the current chunk that has not been returned yet. */
  #from = 0;
  /** How many bytes of earlier chunks have not been returned, because they can be the start of a delimiter. */
  #held = 0;
  #parts = 0;

  constructor(boundary: string) {
    this.#dashBoundary = `--${boundary}`;
    this.#delimiter = Buffer.from(`\r\n--${boundary}`, 'latin1');
    this.#needle = this.#delimiter.subarray(1);
  }

  /** How many parts have begun. */
  get parts(): number {
    return this.#parts;
  }

  /**
   * Checks the next chunk, and returns the parts and the contents in it.
   * @throws UploadError
   */
  scan(chunk: Buffer): readonly Piece[] {
    const pieces: Piece[] = [];
    this.#from = 0;
    for (let at = 0; at < chunk.length; ) {
      if (this.#state === 'headers') at = this.#readHeaders(chunk, at, pieces);
      else if (this.#matched < this.#needle.length) at = this.#seekBoundary(chunk, at, pieces);
      else at = this.#readLineEnd(chunk, at);
    }
    if (this.#state === 'content') this.#returnContent(chunk, pieces);
    this.#lastByte = chunk.at(-1) ?? this.#lastByte;
    return pieces;
  }

  /** Checks that the body may end here, and so its last part. @throws UploadError */
  end(): void {
    const inLine = this.#matched === this.#needle.length && this.#afterCr;
    const closed = this.#state === 'epilogue' || (inLine && this.#dashes === 2 && this.#accept());
    if (closed) return;
    const cutOff = this.#state === 'headers' && this.#headers.includes(`\r\n${this.#dashBoundary}`);
    throw malformed(cutOff ? 'headersIncomplete' : 'incomplete');
  }

  /** Returns the offset after the boundary, or after the chunk. */
  #seekBoundary(chunk: Buffer, start: number, pieces: Piece[]): number {
    const end = this.#findBoundary(chunk, start, pieces);
    if (this.#state === 'preamble') {
      this.#text = this.#text.slice(1 - DISPOSITION_LENGTH) + chunk.toString('latin1', start, end);
      this.#lostPart ||= LINE_WITH_DISPOSITION.test(this.#text);
    }
    return end;
  }

  #findBoundary(chunk: Buffer, start: number, pieces: Piece[]): number {
    const needle = this.#needle;
    let at = start;
    if (this.#matched > 0) {
      while (this.#matched < needle.length && at < chunk.length && chunk[at] === needle[this.#matched]) {
        this.#matched++;
        at++;
      }
      if (this.#matched === needle.length) {
        if (this.#afterCr) this.#endContent(chunk, 0, pieces);
        return this.#match(at, needle.length, this.#afterCr);
      }
      if (at === chunk.length) return at;
      this.#returnHeld(pieces);
      this.#matched = 0;
      this.#noContent = false;
    }
    const found = chunk.indexOf(needle, at);
    if (found !== -1) {
      const afterCr = this.#isCr(chunk, found - 1);
      if (!afterCr || found > 0) this.#returnHeld(pieces);
      if (afterCr) this.#endContent(chunk, found - 1, pieces);
      return this.#match(found + needle.length, needle.length, afterCr);
    }
    const tail = chunk.subarray(Math.max(at, chunk.length - needle.length + 1));
    const lineBreak = tail.lastIndexOf(LF);
    const rest = tail.length - lineBreak;
    const begun = lineBreak !== -1 && tail.compare(needle, 0, rest, lineBreak) === 0;
    const afterCr = begun && this.#isCr(chunk, chunk.length - rest - 1);
    if (!afterCr || rest < chunk.length) this.#returnHeld(pieces);
    return begun ? this.#match(chunk.length, rest, afterCr) : chunk.length;
  }

  /** Returns what was held: it is no delimiter. */
  #returnHeld(pieces: Piece[]): void {
    if (this.#held === 0) return;
    // If the line break belongs to the headers, it is not content.
    const start = this.#noContent ? 2 : 0;
    // A copy, since a reader may modify it.
    pieces.push({ kind: 'content', bytes: Buffer.from(this.#delimiter.subarray(start, start + this.#held)) });
    this.#held = 0;
  }

  /** Returns the last content of a part, and drops what was held: it belongs to the delimiter. */
  #endContent(chunk: Buffer, end: number, pieces: Piece[]): void {
    if (this.#state === 'content' && this.#from < end) {
      pieces.push({ kind: 'content', bytes: chunk.subarray(this.#from, end) });
    }
    this.#from = chunk.length;
    this.#held = 0;
  }

  /** Returns the content at the end of a chunk, and holds what can be the start of a delimiter. */
  #returnContent(chunk: Buffer, pieces: Piece[]): void {
    let held = 0;
    if (this.#matched > 0 && this.#afterCr) {
      if (this.#matched === this.#needle.length) return;
      held = this.#matched + (this.#noContent ? -1 : 1);
    } else if (this.#matched === 0 && chunk.at(-1) === CR) held = 1;
    const [from, end] = [this.#from, chunk.length - (held - this.#held)];
    this.#held = held;
    if (from === end) return;
    pieces.push({ kind: 'content', bytes: end - from === chunk.length ? chunk : chunk.subarray(from, end) });
  }

  #isCr(chunk: Buffer, at: number): boolean {
    return (at === -1 ? this.#lastByte : chunk[at]) === CR;
  }

  #match(end: number, length: number, afterCr: boolean): number {
    this.#matched = length;
    this.#afterCr = afterCr;
    this.#dashes = 0;
    this.#padding = 0;
    this.#cr = false;
    return end;
  }

  /** Reads one byte after the boundary. */
  #readLineEnd(chunk: Buffer, at: number): number {
    const byte = chunk[at];
    if (this.#dashes !== 1) {
      if (byte === LF) return this.#endLine(at);
      if (byte === CR && !this.#cr) {
        this.#cr = true;
        return at + 1;
      }
      if ((byte === SPACE || byte === TAB) && !this.#cr) {
        if (++this.#padding <= MAX_PADDING) return at + 1;
        throw malformed(this.#state === 'epilogue' ? 'partAfterEnd' : 'notDelimiter');
      }
    }
    if (byte === DASH && this.#dashes < 2 && !this.#cr && this.#padding === 0) {
      this.#dashes++;
      return at + 1;
    }
    const inContent = !this.#afterCr || this.#state === 'epilogue';
    if (!inContent || ++this.#nearDelimiters > MAX_NEAR_DELIMITERS) throw malformed('notDelimiter');
    this.#matched = 0;
    // The preamble goes on, at the start of a line if this was a CR.
    this.#text = this.#cr ? '\r' : '';
    return at;
  }

  #endLine(at: number): number {
    // Some readers accept bare line breaks, so this line would be content for one and a delimiter for another.
    if (!this.#afterCr || !this.#cr) throw malformed('delimiterLineBreak');
    this.#accept();
    return at + 1;
  }

  /** Accepts a delimiter. Returns whether it closes the body. */
  #accept(): boolean {
    if (this.#lostPart) throw malformed('partBeforeDelimiter');
    if (this.#state === 'epilogue') throw malformed('partAfterEnd');
    if (this.#noContent) throw malformed('headersIncomplete');
    const closing = this.#dashes === 2;
    this.#state = closing ? 'epilogue' : 'headers';
    this.#headers = '\r\n';
    // The line break of this delimiter may begin another one.
    this.#matched = 1;
    if (!closing) this.#parts++;
    return closing;
  }

  /** Returns the offset after the headers, or after the chunk. */
  #readHeaders(chunk: Buffer, at: number, pieces: Piece[]): number {
    const before = this.#headers.length;
    const headers = this.#headers + chunk.toString('latin1', at, at + HEADER_BYTES + 4 - before);
    const end = headers.indexOf('\r\n\r\n', Math.max(0, before - 3));
    this.#headers = headers;
    if (end === -1) {
      if (headers.length < HEADER_BYTES + 4) return chunk.length;
      const inName = DISPOSITION.test(headers.slice(headers.lastIndexOf('\n') + 1));
      throw malformed(inName ? 'nameTooLong' : 'headersTooLong');
    }
    const isFile = checkPartHeaders(headers.slice(2, Math.max(2, end)), this.#dashBoundary);
    const head = Buffer.from(`\r\n${this.#dashBoundary}${headers.slice(0, end + 4)}`, 'latin1');
    pieces.push({ kind: 'part', head, isFile });
    this.#state = 'content';
    this.#from = at + end + 4 - before;
    this.#matched = 1;
    this.#afterCr = true;
    this.#noContent = true;
    return at + end + 4 - before;
  }
}
