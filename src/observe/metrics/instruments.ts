/** Adds to one instrument: the value, and a value for each of its labels. */
export type Add = (value: number, ...labels: readonly string[]) => void;

/** One instrument. Its name has no prefix and no unit, such as `request_duration`. */
export interface Instrument {
  readonly name: string;
  readonly help: string;
  readonly labels: readonly string[];
  /** What is added, if it is a length of time. */
  readonly unit?: 's';
}

/** Makes instruments of a metrics library. */
export interface Instruments {
  /** Only grows. */
  counter(instrument: Instrument): Add;
  /** How much there is now. What is added may be negative. */
  level(instrument: Instrument): Add;
  histogram(instrument: Instrument & { readonly buckets: readonly number[] }): Add;
}

/** Returns the child of an instrument for some label values. Made once for each. */
export function children<Child>(make: (labels: readonly string[]) => Child): (labels: readonly string[]) => Child {
  const made = new Map<string, Child>();
  return (labels) => {
    const key = labels.length === 1 ? (labels[0] as string) : labels.join('\0');
    let child = made.get(key);
    if (child === undefined) {
      child = make(labels);
      made.set(key, child);
    }
    return child;
  };
}
