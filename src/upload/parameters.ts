/** RFC 9110 section 5.6.6. */
const PARAMETER = /;[ \t]*(?:([!#$%&'*+.^_`|~0-9A-Za-z-]+)=(?:"((?:[^"\\]|\\.)*)"|([^\s;"]*))[ \t]*)?/y;

/**
 * Reads the parameters of a header value from `start` on, names in lower case, escapes as they came. Returns undefined
 * if they are malformed.
 */
export function parametersOf(value: string, start: number): readonly (readonly [string, string])[] | undefined {
  const parameters: [string, string][] = [];
  PARAMETER.lastIndex = start;
  while (PARAMETER.lastIndex < value.length) {
    const parameter = PARAMETER.exec(value);
    if (parameter === null) return undefined;
    const [, name, quoted, token] = parameter;
    if (name !== undefined) parameters.push([name.toLowerCase(), quoted ?? token ?? '']);
  }
  return parameters;
}
