/**
 * The entry for an element without a node, and for a line that breaks the grammar. It is never parsed as an address.
 */
const MALFORMED = 'malformed';

const TOKEN = /[!#$%&'*+\-.^_`|~0-9A-Za-z]+/y;
const QUOTED = /"((?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t \x21-\x7e\x80-\xff])*)"/y;
/** A node with an obfuscated port (RFC 7239 section 6): text that begins with an underscore, in place of a number. */
const OBFUSCATED_PORT = /^(\[[^\]]*\]|[^:]*):_[A-Za-z0-9._-]+$/;

/**
 * The `for` nodes of one `Forwarded` field line, left to right, without obfuscated ports (RFC 7239 section 4). A line
 * that breaks the grammar anywhere results in one malformed entry. Otherwise a client's open quote on the left could
 * hide the entry that a proxy appended on the right.
 */
export function parseForwarded(line: string): readonly string[] {
  const nodes: string[] = [];
  let node: string | undefined;
  let pairs = 0;
  let at = skipOws(line, 0);
  while (at < line.length) {
    const char = line[at];
    if (char === ',' || char === ';') {
      if (char === ',') {
        if (pairs > 0) nodes.push(node ?? MALFORMED);
        node = undefined;
        pairs = 0;
      }
      at = skipOws(line, at + 1);
      continue;
    }
    const name = match(TOKEN, line, at)?.[0].toLowerCase();
    if (name === undefined || line[at + name.length] !== '=') return [MALFORMED];
    at += name.length + 1;
    const value = match(QUOTED, line, at) ?? match(TOKEN, line, at);
    if (value === undefined) return [MALFORMED];
    at = skipOws(line, at + value[0].length);
    if (at < line.length && line[at] !== ',' && line[at] !== ';') return [MALFORMED];
    pairs++;
    if (name !== 'for') continue;
    // A parameter must not appear twice in an element (RFC 7239 section 4).
    if (node !== undefined) return [MALFORMED];
    const text = value[1] === undefined ? value[0] : value[1].replace(/\\(.)/g, '$1');
    node = text.replace(OBFUSCATED_PORT, '$1');
  }
  if (pairs > 0) nodes.push(node ?? MALFORMED);
  return nodes;
}

function match(pattern: RegExp, line: string, at: number): RegExpExecArray | undefined {
  pattern.lastIndex = at;
  return pattern.exec(line) ?? undefined;
}

function skipOws(line: string, from: number): number {
  let at = from;
  while (line[at] === ' ' || line[at] === '\t') at++;
  return at;
}
