import { type CountedUsage, FIGURES, MAX_FIGURE } from './usage-row.js';

/** The rows of some clients. */
export type Rows = Map<string, CountedUsage>;

/** Rows as JSON: lists, since names of figures in each row would make it three times as long. */
export function packRows(rows: Rows): string {
  return JSON.stringify(
    [...rows].map(([client, row]) => [client, FIGURES.map((name) => row[name]), [...row.refusals]]),
  );
}

/** Adds packed rows to the rows that `rowOf` returns. @throws TypeError if they are anything else */
export function unpackRows(saved: unknown, rowOf: (client: string) => CountedUsage): void {
  for (const [client, figures, refusals] of listOf(saved)) {
    const row = rowOf(textOf(client));
    if (!Array.isArray(figures) || figures.length !== FIGURES.length) throw new TypeError('a row has other figures');
    FIGURES.forEach((figure, i) => {
      row[figure] = Math.min(MAX_FIGURE, row[figure] + numberOf(figures[i]));
    });
    for (const [code, count] of listOf(refusals)) {
      row.refusals.set(textOf(code), (row.refusals.get(textOf(code)) ?? 0) + numberOf(count));
    }
  }
}

/** @throws TypeError for anything but a list of lists */
export function listOf(value: unknown): readonly (readonly unknown[])[] {
  if (!Array.isArray(value) || !value.every(Array.isArray)) throw new TypeError('a list is missing');
  return value;
}

/** @throws TypeError for anything else */
export function textOf(value: unknown): string {
  if (typeof value !== 'string') throw new TypeError('a text is missing');
  return value;
}

/** @throws TypeError for anything but a number that can be counted on */
export function numberOf(value: unknown): number {
  if (!Number.isSafeInteger(value)) throw new TypeError('a number is missing');
  return value as number;
}
