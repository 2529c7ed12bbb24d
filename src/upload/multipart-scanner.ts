import { checkPartHeaders } from './part-headers.js';
import { malformed } from './upload-error.js';

const CR = 13;
const LF = 10;
const TAB = 9;
const SPACE = 32;
const DASH = 45;
const MAX_PADDING = 64;
const HEADER_BYTES = 8192;
const DISPOSITION = /^content-disposition/im;

/**
 * Checks the structure of a multipart body in front of the parser. The parser skips malformed parts, and cuts a file at
 * a line that only starts with the boundary; it reports neither. Contents are not copied: of each chunk only a few
 * bytes are remembered.
 */
export class MultipartScanner {
  /** The boundary at the start of a line. LF is nowhere else in it, so a match can only begin at an LF. */
  readonly #needle: Buffer;
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
  #lastByte = LF;
  /** The end of the preamble. */
  #text = '';
  #headers = '';
  #lostPart = false;
  /** The start of what the parser has not received yet of the current chunk. */
  #from = 0;
  #parts = 0;

  constructor(boundary: string) {
    this.#dashBoundary = `--${boundary}`;
    this.#needle = Buffer.from(`\n--${boundary}`, 'latin1');
  }

  /** How many parts have begun. */
  get parts(): number {
    return this.#parts;
  }

  /**
   * Checks the next chunk and returns what the parser may read of it: all but the padding of delimiters, which the
   * parser takes for a header.
   * @throws UploadError
   */
  scan(chunk: Buffer): readonly Buffer[] {
    const pieces: Buffer[] = [];
    this.#from = 0;
    for (let at = 0; at < chunk.length; ) {
      if (this.#state === 'headers') at = this.#readHeaders(chunk, at);
      else if (this.#matched < this.#needle.length) at = this.#seekBoundary(chunk, at);
      else at = this.#readLineEnd(chunk, at, pieces);
    }
    this.#lastByte = chunk.at(-1) ?? this.#lastByte;
    if (this.#from < chunk.length && this.#state !== 'epilogue') pieces.push(chunk.subarray(this.#from));
    return pieces;
  }

  /** Checks that the body may end here. @throws UploadError */
  end(): void {
    const inLine = this.#matched === this.#needle.length && this.#afterCr;
    const closed = this.#state === 'epilogue' || (inLine && this.#dashes === 2 && this.#accept());
    if (closed) return;
    const cutOff = this.#state === 'headers' && this.#headers.includes(`\r\n${this.#dashBoundary}`);
    throw malformed(cutOff ? 'headersIncomplete' : 'incomplete');
  }

  /** Returns the offset after the boundary, or after the chunk. */
  #seekBoundary(chunk: Buffer, start: number): number {
    const end = this.#findBoundary(chunk, start);
    if (this.#state === 'preamble') {
      this.#text = this.#text.slice(-40) + chunk.toString('latin1', start, end);
      this.#lostPart ||= DISPOSITION.test(this.#text);
    }
    return end;
  }

  #findBoundary(chunk: Buffer, start: number): number {
    const needle = this.#needle;
    let at = start;
    if (this.#matched > 0) {
      while (this.#matched < needle.length && at < chunk.length && chunk[at] === needle[this.#matched]) {
        this.#matched++;
        at++;
      }
      if (this.#matched === needle.length) return this.#match(at, needle.length, this.#afterCr);
      if (at === chunk.length) return at;
      this.#matched = 0;
      this.#noContent = false;
    }
    const found = chunk.indexOf(needle, at);
    if (found !== -1) return this.#match(found + needle.length, needle.length, this.#isCr(chunk, found - 1));
    const lineBreak = chunk.lastIndexOf(LF);
    const rest = chunk.length - lineBreak;
    const begun = lineBreak >= at && rest < needle.length && chunk.compare(needle, 0, rest, lineBreak) === 0;
    return begun ? this.#match(chunk.length, rest, this.#isCr(chunk, lineBreak - 1)) : chunk.length;
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
  #readLineEnd(chunk: Buffer, at: number, pieces: Buffer[]): number {
    const byte = chunk[at];
    if (this.#dashes !== 1) {
      if (byte === LF) return this.#endLine(chunk, at, pieces);
      if (byte === CR && !this.#cr) {
        this.#cr = true;
        return at + 1;
      }
      if ((byte === SPACE || byte === TAB) && !this.#cr && ++this.#padding <= MAX_PADDING) {
        if (!this.#afterCr) return at + 1;
        if (this.#from < at) pieces.push(chunk.subarray(this.#from, at));
        this.#from = at + 1;
        return at + 1;
      }
    }
    if (byte === DASH && this.#dashes < 2 && !this.#cr && this.#padding === 0) {
      this.#dashes++;
      return at + 1;
    }
    if (this.#afterCr && this.#state !== 'epilogue') throw malformed('notDelimiter');
    this.#matched = 0;
    return at;
  }

  #endLine(chunk: Buffer, at: number, pieces: Buffer[]): number {
    // Some readers accept bare line breaks, so this line would be content for one and a delimiter for another.
    if (!this.#afterCr || !this.#cr) throw malformed('delimiterLineBreak');
    if (this.#accept() && this.#from <= at) pieces.push(chunk.subarray(this.#from, at + 1));
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
  #readHeaders(chunk: Buffer, at: number): number {
    const before = this.#headers.length;
    const headers = this.#headers + chunk.toString('latin1', at, at + HEADER_BYTES + 4 - before);
    const end = headers.indexOf('\r\n\r\n', Math.max(0, before - 3));
    this.#headers = headers;
    if (end === -1) {
      if (headers.length < HEADER_BYTES + 4) return chunk.length;
      const inName = DISPOSITION.test(headers.slice(headers.lastIndexOf('\n') + 1));
      throw malformed(inName ? 'nameTooLong' : 'headersTooLong');
    }
    checkPartHeaders(headers.slice(2, Math.max(2, end)), this.#dashBoundary);
    this.#state = 'content';
    this.#matched = 1;
    this.#afterCr = true;
    this.#noContent = true;
    return at + end + 4 - before;
  }
}
