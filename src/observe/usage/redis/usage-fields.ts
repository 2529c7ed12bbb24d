import { type CountedUsage, FIGURES, type Figure, noUsage } from '../usage-row.js';

/** The fields of a row in a hash, with their values. A field is the figure, and then the client. */
export function* fieldsOf(client: string, row: CountedUsage): Generator<readonly [field: string, value: number]> {
  for (const figure of FIGURES) if (row[figure] !== 0) yield [`${figure} ${client}`, row[figure]];
  // Of a refusal, the length of the code says where the client begins.
  for (const [code, count] of row.refusals) yield [`!${code.length} ${code}${client}`, count];
}

const REFUSAL = /^!(\d+) /;

/** Adds a field that was read to the rows. What is no field of ours is ignored. */
export function addField(rows: Map<string, CountedUsage>, field: string, value: number): void {
  if (!Number.isFinite(value)) return;
  const refusal = REFUSAL.exec(field);
  if (refusal !== null) {
    const from = refusal[0].length;
    const until = from + Number(refusal[1]);
    const { refusals } = rowOf(rows, field.slice(until));
    const code = field.slice(from, until);
    refusals.set(code, (refusals.get(code) ?? 0) + value);
    return;
  }
  const space = field.indexOf(' ');
  const figure = field.slice(0, space);
  if (isFigure(figure)) rowOf(rows, field.slice(space + 1))[figure] += value;
}

const NAMES: readonly string[] = FIGURES;

function isFigure(name: string): name is Figure {
  return NAMES.includes(name);
}

function rowOf(rows: Map<string, CountedUsage>, client: string): CountedUsage {
  let row = rows.get(client);
  if (row === undefined) {
    row = noUsage();
    rows.set(client, row);
  }
  return row;
}
