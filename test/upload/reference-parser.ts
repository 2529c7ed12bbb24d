// A plain reader of whole multipart bodies, to compare the streaming one with. It holds the body as a Latin-1 string and
// knows no chunks.

/** A part as it was sent, in Latin-1. */
export interface ReferencePart {
  readonly name: string;
  /** Undefined for a text field. */
  readonly filename?: string;
  readonly content: string;
}

interface Delimiter {
  /** Where the content before it ends. */
  readonly from: number;
  /** Where the headers after it begin. */
  readonly to: number;
}

const FIELD_LINE = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):([\t\x20-\x7e\x80-\xff]*)$/;
const DISPOSITION =
  /^[ \t]*form-data[ \t]*((?:;[ \t]*(?:[\w!#$%&'*+.^`|~-]+=(?:"(?:[^"\\]|\\.)*"|[^\s;"]*)[ \t]*)?)*)$/i;
const PARAMETER = /;[ \t]*([\w!#$%&'*+.^`|~-]+)=(?:"((?:[^"\\]|\\.)*)"|([^\s;"]*))/g;
const SINGLE = ['content-disposition', 'content-type', 'content-transfer-encoding'];

/** Reads a body. Returns undefined if it is malformed, or if readers could disagree about it. */
export function referenceParts(body: string, boundary: string): readonly ReferencePart[] | undefined {
  const delimiters = delimitersOf(body, boundary);
  const [first] = delimiters ?? [];
  if (delimiters === undefined || first === undefined) return undefined;
  if (/(?:^|[\r\n])content-disposition/i.test(body.slice(0, first.from + 2))) return undefined;
  const parts = delimiters.slice(0, -1).map(({ to }, i) => partOf(body.slice(to, delimiters[i + 1]?.from)));
  return parts.every((part) => part !== undefined) ? parts : undefined;
}

/** All delimiters, the closing one last. */
function delimitersOf(body: string, boundary: string): readonly Delimiter[] | undefined {
  const line = `--${boundary}`;
  const found: Delimiter[] = [];
  let isClosed = false;
  for (let at = body.indexOf(line); at !== -1; at = body.indexOf(line, at + 1)) {
    if (at > 0 && body[at - 1] !== '\n') continue;
    const isAfterCr = at === 0 || body[at - 2] === '\r';
    const [whole, dashes = '', padding = '', end] =
      /^(--)?([ \t]*)(\r?\n|\r?$)/.exec(body.slice(at + line.length)) ?? [];
    const isLonely = /^(?:--)?[ \t]{65}/.test(body.slice(at + line.length));
    if (isLonely || (whole === undefined && isAfterCr && !isClosed)) return undefined;
    if (whole === undefined || end === undefined) continue;
    const isAtEnd = end === '' || end === '\r';
    if (isClosed && !isAtEnd) return undefined;
    if (isClosed) continue;
    // Only the closing delimiter can be the last line without a line break.
    if (!isAfterCr && isAtEnd) continue;
    if (!isAfterCr || (isAtEnd ? dashes === '' : end !== '\r\n') || padding.length > 64) return undefined;
    found.push({ from: at - 2, to: at + line.length + whole.length });
    isClosed = dashes !== '';
  }
  return isClosed ? found : undefined;
}

function partOf(block: string): ReferencePart | undefined {
  const end = `\r\n${block}`.indexOf('\r\n\r\n');
  if (end < 1) return undefined;
  const headers = new Map<string, string>();
  for (const line of block.slice(0, end - 2).split('\r\n')) {
    const [, name, value] = FIELD_LINE.exec(line) ?? [];
    if (name === undefined || value === undefined) return undefined;
    const key = name.toLowerCase();
    if (SINGLE.includes(key) && headers.has(key)) return undefined;
    headers.set(key, value);
  }
  if (headers.has('content-type') || headers.has('content-transfer-encoding')) return undefined;
  const [, list] = DISPOSITION.exec(headers.get('content-disposition') ?? '') ?? [];
  if (list === undefined) return undefined;
  const parameters = new Map<string, string>();
  for (const [, name = '', quoted, token = ''] of list.matchAll(PARAMETER)) {
    const key = name.toLowerCase();
    if (parameters.has(key) || !['name', 'filename'].includes(key)) return undefined;
    parameters.set(key, (quoted ?? token).replace(/\\([\\"])/g, '$1'));
  }
  const [name, filename] = [parameters.get('name'), parameters.get('filename')];
  if (name === undefined) return undefined;
  const content = block.slice(end + 2);
  return filename === undefined ? { name, content } : { name, filename, content };
}
