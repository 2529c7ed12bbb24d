/** Two values of `Vary` as one (RFC 9110 section 12.5.5). */
export function mergedVary(one: string, other: string): string {
  const names = new Map<string, string>();
  for (const name of `${one},${other}`.split(',')) {
    const trimmed = name.trim();
    if (trimmed !== '' && !names.has(trimmed.toLowerCase())) names.set(trimmed.toLowerCase(), trimmed);
  }
  return names.has('*') ? '*' : [...names.values()].join(', ');
}
