/** Values that are remembered at a time. Bounded, because any caller can send new texts. */
const MAX_ENTRIES = 8192;

/**
 * Caches `read` for the texts that were used last. Texts longer than `maxLength` are read each time. Its result for a text
 * must never change.
 *
 * There are two maps: what is found in the older one moves to the newer one. When the newer one is full, it takes the place
 * of the older one, and what was not used since then is forgotten.
 */
export function cachedByText<T extends object>(maxLength: number, read: (text: string) => T): (text: string) => T {
  let newer = new Map<string, T>();
  let older = new Map<string, T>();
  return (text) => {
    const known = newer.get(text);
    if (known !== undefined) return known;
    if (text.length > maxLength) return read(text);
    const value = older.get(text) ?? read(text);
    if (newer.size >= MAX_ENTRIES / 2) {
      older = newer;
      newer = new Map();
    }
    // A copy: V8 keeps a long header in memory as long as a slice of it is alive.
    newer.set(Buffer.from(text).toString(), value);
    return value;
  };
}
