import type { TestResult } from './harness/run-suites.js';
import type { Suite } from './suites.js';

/** What one runtime has run. */
export interface Run {
  readonly runtime: string;
  readonly results: readonly TestResult[];
}

/** The marks in a page between which the command writes its table. */
export const BEGIN = '<!-- printed by npm run test:runtimes -->';
export const END = '<!-- end -->';

/** The table, and what was skipped and why. Every line is Markdown. */
export function tableOf(suites: readonly Suite[], runs: readonly Run[]): readonly string[] {
  const row = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
  const reasons = new Map<string, Map<string, number>>();
  const lines = [
    row(['Tests of', ...runs.map(({ runtime }) => runtime)]),
    `|---|${runs.map(() => '---:|').join('')}`,
    ...suites.map(({ name, files }) =>
      row([name, ...runs.map((run) => cell(run.results.filter(({ file }) => files.includes(file))))]),
    ),
    row(['**Together**', ...runs.map(({ results }) => `**${cell(results)}**`)]),
  ];
  for (const { runtime, results } of runs) {
    for (const { state, why = '' } of results) {
      if (state !== 'skipped') continue;
      const counts = reasons.get(why) ?? new Map<string, number>();
      reasons.set(why, counts.set(runtime, (counts.get(runtime) ?? 0) + 1));
    }
  }
  lines.push('', row(['Why tests were skipped', ...runs.map(({ runtime }) => runtime)]));
  lines.push(`|---|${runs.map(() => '---:|').join('')}`);
  for (const [why, counts] of [...reasons].sort(([a], [b]) => (a < b ? -1 : 1)))
    lines.push(row([why, ...runs.map(({ runtime }) => String(counts.get(runtime) ?? 0))]));
  return lines;
}

/** `120`, or `118 (2 skipped)`; a failure is never hidden. */
function cell(results: readonly TestResult[]): string {
  const count = (wanted: TestResult['state']) => results.filter(({ state }) => state === wanted).length;
  const [passed, skipped, failed] = [count('passed'), count('skipped'), count('failed')];
  const rest = [...(skipped > 0 ? [`${skipped} skipped`] : []), ...(failed > 0 ? [`${failed} FAILED`] : [])];
  return rest.length === 0 ? String(passed) : `${passed} (${rest.join(', ')})`;
}

/** The page with another table in it. */
export function withTable(page: string, table: readonly string[]): string {
  const [begin, end] = [page.indexOf(BEGIN), page.indexOf(END)];
  if (begin < 0 || end < begin) throw new Error(`the page has no ${BEGIN} and ${END}`);
  return `${page.slice(0, begin)}${BEGIN}\n\n${table.join('\n')}\n\n${page.slice(end)}`;
}
