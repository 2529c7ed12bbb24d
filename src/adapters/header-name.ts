/** How many names are remembered. The names of guards are few, and those of a service may be anything. */
const MAX_NAMES = 256;

const lowerCaseNames = new Map<string, string>();
/** The last name: a guard that reads a header mostly sets it next. */
let lastName = '';
let lastLowerCase = '';

/**
 * A header's name in lower case, as HTTP/2 sends it and as Node stores it. Without it, Node would convert the name again in
 * every call.
 */
export function lowerCaseName(name: string): string {
  if (name === lastName) return lastLowerCase;
  const known = lowerCaseNames.get(name);
  if (known !== undefined) {
    lastName = name;
    lastLowerCase = known;
    return known;
  }
  // The name of a member is a text of which V8 has one copy only. Node finds its header in less time.
  const [lowerCase = ''] = Object.keys({ [name.toLowerCase()]: true });
  if (lowerCaseNames.size < MAX_NAMES) lowerCaseNames.set(name, lowerCase);
  return lowerCase;
}
