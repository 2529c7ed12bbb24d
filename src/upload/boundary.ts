import { parametersOf } from './parameters.js';
import { malformed, type UploadError } from './upload-error.js';

const MULTIPART = /^multipart\/form-data[ \t]*(?=;|$)/i;
/** RFC 2046 section 5.1.1. */
const BOUNDARY = /^[0-9A-Za-z'()+_,\-./:=? ]{0,69}[0-9A-Za-z'()+_,\-./:=?]$/;

/**
 * Reads the boundary from the field lines of `Content-Type`, or returns why it has none. The multipart parser gets this
 * boundary and never sees the header, because two readers could disagree about it.
 */
export function boundaryOf(lines: readonly string[]): string | UploadError {
  const [line = ''] = lines;
  const type = MULTIPART.exec(line);
  if (type === null) return malformed('notMultipart');
  if (lines.length > 1) return malformed('malformedContentType');
  const parameters = parametersOf(line, type[0].length);
  if (parameters === undefined) return malformed('malformedContentType');
  const boundaries = parameters.filter(([name]) => name === 'boundary');
  if (boundaries.length > 1) return malformed('severalBoundaries');
  const boundary = boundaries[0]?.[1] ?? '';
  if (boundary === '') return malformed('noBoundary');
  return BOUNDARY.test(boundary) ? boundary : malformed('invalidBoundary');
}
