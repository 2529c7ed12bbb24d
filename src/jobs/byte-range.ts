import type { RequestView } from '../core/request-view.js';
import type { FileRange } from './result-files.js';

/** The largest number of bytes that a range can name without a loss. */
const MAX_DIGITS = 15;

/**
 * The part of a file that a request asks for (RFC 9110 section 14). `whole` if it asks for none, for several, or in a way
 * that is to be ignored. `unsatisfiable` if the part is beyond the end.
 */
export function rangeOf(request: RequestView, size: number, etag: string): FileRange | 'whole' | 'unsatisfiable' {
  // RFC 9110 section 14.2: only GET has ranges.
  const lines = request.fieldLines('range');
  const [line = ''] = lines;
  if (request.method !== 'GET' || lines.length !== 1) return 'whole';
  const condition = request.fieldLines('if-range');
  if (condition.length > 0 && (condition.length > 1 || condition[0] !== etag)) return 'whole';
  const [, first = '', last = ''] = /^bytes=[\t ]*(\d*)-(\d*)[\t ]*$/i.exec(line) ?? [];
  if (first === '' && last === '') return 'whole';
  if (first.length > MAX_DIGITS || last.length > MAX_DIGITS)
    return first.length > MAX_DIGITS ? 'unsatisfiable' : 'whole';
  if (first === '') {
    const length = Math.min(Number(last), size);
    return length === 0 ? 'unsatisfiable' : { start: size - length, end: size - 1 };
  }
  const start = Number(first);
  if (last !== '' && Number(last) < start) return 'whole';
  if (start >= size) return 'unsatisfiable';
  return { start, end: last === '' ? size - 1 : Math.min(Number(last), size - 1) };
}

/** Whether the client has this file already (RFC 9110 section 13.1.2). */
export function isUnchanged(request: RequestView, etag: string): boolean {
  const line = request.fieldLines('if-none-match').join(',');
  return line.trim() === '*' || line.split(',').some((tag) => tag.trim().replace(/^W\//, '') === etag);
}
