/** Merges two values of `Vary` (RFC 9110 section 12.5.5). */
export function mergedVary(first: string, second: string): string {
  const names = new Map<string, string>();
  for (const item of `${first},${second}`.split(',')) {
    const name = item.trim();
    if (name !== '' && !names.has(name.toLowerCase())) names.set(name.toLowerCase(), name);
  }
  return names.has('*') ? '*' : [...names.values()].join(', ');
}
