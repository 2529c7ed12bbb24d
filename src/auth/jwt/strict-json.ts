/**
 * Parses JSON like `JSON.parse`, but refuses an object that names a member twice: JSON does not define which of the two
 * values counts, so two parsers may disagree (RFC 8259 section 4, RFC 7519 section 4). The result is deeply frozen,
 * because requests share it.
 * @throws SyntaxError
 */
export function parseStrictJson(text: string): unknown {
  const value: unknown = JSON.parse(text, (_name, member: unknown) => Object.freeze(member));
  refuseRepeatedNames(text);
  return value;
}

/** `text` must be valid JSON. Then only strings, braces, brackets and commas have to be recognized. */
function refuseRepeatedNames(text: string): void {
  /** One entry for each open object or array: the names seen so far, or undefined for an array. */
  const open: (Set<string> | undefined)[] = [];
  let nextStringIsName = false;
  for (let i = 0; i < text.length; i++) {
    switch (text[i]) {
      case '{':
        open.push(new Set());
        nextStringIsName = true;
        break;
      case '[':
        open.push(undefined);
        break;
      case '}':
      case ']':
        open.pop();
        nextStringIsName = false;
        break;
      case ',':
        nextStringIsName = open.at(-1) !== undefined;
        break;
      case '"': {
        const start = i++;
        while (text[i] !== '"') i += text[i] === '\\' ? 2 : 1;
        if (nextStringIsName) {
          // Names are compared after decoding: "s\u0075b" is "sub".
          const name = JSON.parse(text.slice(start, i + 1)) as string;
          if (open.at(-1)?.has(name) === true) throw new SyntaxError('an object names a member twice');
          open.at(-1)?.add(name);
        }
        nextStringIsName = false;
        break;
      }
    }
  }
}
