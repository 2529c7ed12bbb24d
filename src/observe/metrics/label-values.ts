/** For what comes after too many others. */
export const OTHER = 'other';

/** The values of one label. All that come after the first `max` share the value `other`, so that series cannot grow on. */
export class LabelValues {
  readonly #known: Set<string>;
  #left: number;

  /** The `known` values are always kept, and count for nothing. */
  constructor(max: number, known: Iterable<string> = []) {
    this.#known = new Set(known);
    this.#left = max;
  }

  of(value: string): string {
    if (this.#known.has(value)) return value;
    if (this.#left === 0) return OTHER;
    this.#left--;
    this.#known.add(value);
    return value;
  }
}
