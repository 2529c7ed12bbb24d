import { parametersOf } from './parameters.js';
import { malformed } from './upload-error.js';

const MAX_HEADERS = 32;
/** A field line, without folding and without control characters: RFC 9110 section 5, RFC 7578 section 4.8. */
const LINE = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):([\t\x20-\x7e\x80-\xff]*)$/;
const CONTENT_HEADER = /^content-(?:disposition|type|transfer-encoding)$/;
const FORM_DATA = /^[ \t]*form-data[ \t]*(?=;|$)/i;
/** RFC 7578 section 4.2 and RFC 2183. A misspelt `filename` would make a file a text field. */
const DISPOSITION_PARAMETER = /^(?:name|filename\*?|size|(?:creation|modification|read)-date)$/;
/**
 * RFC 8187 section 3.2.1, without encoded control characters. Some clients leave characters as they are that should be
 * encoded, such as parentheses.
 */
const EXTENDED = /^(?:utf-8|iso-8859-1)'[0-9a-z-]*'(?:[^%\\"\s;]|%(?!7f)[2-9a-f][0-9a-f])*$/i;
const UNENCODED = /^[ \t]*(?:7bit|8bit|binary)[ \t]*$/i;
/** Without a file name, this type makes a part a file for the parser. */
const OCTET_STREAM = /^[ \t]*application\/octet-stream[ \t]*(?=;|$)/i;
const CHARSET = /^(?:utf-?8|us-ascii|iso-8859-1)$/i;

/**
 * Checks the headers of one part, without the empty line after them. The parser skips a part, a header or a parameter
 * that it cannot read and reports nothing, so what it might skip is refused here. Returns whether the part is a file.
 * @throws UploadError
 */
export function checkPartHeaders(block: string, dashBoundary: string): boolean {
  const lines = block === '' ? [] : block.split('\r\n');
  if (lines.some((line) => line.startsWith(dashBoundary))) throw malformed('headersIncomplete');
  if (lines.length > MAX_HEADERS) throw malformed('tooManyHeaders');
  const headers = new Map<string, string>();
  for (const line of lines) {
    const [, name, value] = LINE.exec(line) ?? [];
    if (name === undefined || value === undefined) throw malformed('malformedHeader');
    const key = name.toLowerCase();
    if (CONTENT_HEADER.test(key) && headers.has(key)) throw malformed('repeatedHeader');
    headers.set(key, value);
  }
  const type = headers.get('content-type') ?? '';
  const isFile = checkDisposition(headers.get('content-disposition') ?? '') || OCTET_STREAM.test(type);
  checkType(type, isFile);
  // RFC 7578 section 4.7 deprecates encodings, and the parser does not decode them.
  if (!UNENCODED.test(headers.get('content-transfer-encoding') ?? '8bit')) throw malformed('transferEncoding');
  return isFile;
}

/** Returns whether the part has a file name. */
function checkDisposition(disposition: string): boolean {
  const type = FORM_DATA.exec(disposition);
  if (type === null) throw malformed('notFormData');
  const parameters = parametersOf(disposition, type[0].length);
  if (parameters === undefined) throw malformed('malformedDisposition');
  const values = new Map<string, string>();
  for (const [name, value] of parameters) {
    if (!DISPOSITION_PARAMETER.test(name) || values.has(name)) throw malformed('malformedDisposition');
    values.set(name, value);
  }
  if (!values.has('name')) throw malformed('unnamedPart');
  const extended = values.get('filename*');
  if (extended !== undefined && !EXTENDED.test(extended)) throw malformed('malformedDisposition');
  return extended !== undefined || values.has('filename');
}

function checkType(type: string, isFile: boolean): void {
  if (/^[ \t]*multipart\//i.test(type)) throw malformed('nestedMultipart');
  if (isFile || !type.includes(';')) return;
  const parameters = parametersOf(type, type.indexOf(';'));
  if (parameters === undefined) throw malformed('malformedHeader');
  for (const [name, value] of parameters) {
    if (name === 'charset' && !CHARSET.test(value)) throw malformed('charset');
  }
}
