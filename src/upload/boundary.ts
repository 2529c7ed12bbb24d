import { malformed, type UploadError } from './upload-error.js';

const MULTIPART = /^multipart\/form-data[ \t]*(?=;|$)/i;
/** RFC 9110 section 5.6.6. */
const PARAMETER = /;[ \t]*(?:([!#$%&'*+.^_`|~0-9A-Za-z-]+)=(?:"((?:[^"\\]|\\.)*)"|([^\s;"]*))[ \t]*)?/y;
/** RFC 2046 section 5.1.1. */
const BOUNDARY = /^[0-9A-Za-z'()+_,\-./:=? ]{0,69}[0-9A-Za-z'()+_,\-./:=?]$/;

/**
 * Reads the boundary from the field lines of `Content-Type`, or returns why it has none. The multipart parser gets this
 * boundary and never sees the header, because two readers could disagree about it.
 */
export function boundaryOf(lines: readonly string[]): string | UploadError {
  const [line] = lines;
  const type = line === undefined ? null : MULTIPART.exec(line);
  if (lines.length !== 1 || line === undefined || type === null) return malformed('notMultipart');
  let boundary: string | undefined;
  PARAMETER.lastIndex = type[0].length;
  while (PARAMETER.lastIndex < line.length) {
    const parameter = PARAMETER.exec(line);
    if (parameter === null) return malformed('malformedContentType');
    const [, name, quoted, token] = parameter;
    if (name?.toLowerCase() !== 'boundary') continue;
    if (boundary !== undefined) return malformed('severalBoundaries');
    boundary = quoted ?? token ?? '';
  }
  if (boundary === undefined || boundary === '') return malformed('noBoundary');
  return BOUNDARY.test(boundary) ? boundary : malformed('invalidBoundary');
}
