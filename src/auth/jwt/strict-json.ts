/**
 * Reads JSON as `JSON.parse` does, but takes no object that names a member twice: which of two counts is not said, and two
 * readers may differ (RFC 8259 section 4, RFC 7519 section 4). What it gives is frozen throughout: requests share it.
 * @throws SyntaxError
 */
export function parseStrictJson(text: string): unknown {
  const value: unknown = JSON.parse(text, (_name, member: unknown) => Object.freeze(member));
  refuseRepeatedNames(text);
  return value;
}

/** `text` is known to be JSON: only the strings and what nests them have to be told apart. */
function refuseRepeatedNames(text: string): void {
  /** The names of each object that is open; undefined for an array. */
  const open: (Set<string> | undefined)[] = [];
  let nameComes = false;
  for (let i = 0; i < text.length; i++) {
    switch (text[i]) {
      case '{':
        open.push(new Set());
        nameComes = true;
        break;
      case '[':
        open.push(undefined);
        break;
      case '}':
      case ']':
        open.pop();
        nameComes = false;
        break;
      case ',':
        nameComes = open.at(-1) !== undefined;
        break;
      case '"': {
        const start = i++;
        while (text[i] !== '"') i += text[i] === '\\' ? 2 : 1;
        if (nameComes) {
          // As it reads, not as it is written: "s\u0075b" is "sub".
          const name = JSON.parse(text.slice(start, i + 1)) as string;
          if (open.at(-1)?.has(name) === true) throw new SyntaxError('a member is named twice');
          open.at(-1)?.add(name);
        }
        nameComes = false;
        break;
      }
    }
  }
}
