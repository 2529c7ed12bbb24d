import { describe, expect, it } from 'vitest';

interface Summary {
  median: number;
  low: number;
  high: number;
}
interface Goal {
  side: string;
  measure?: string;
  over?: string;
  minus?: string;
  atLeast?: number;
  atMost?: number;
}
interface Row {
  name: string;
  about: string;
  unit: string;
  better: 'higher' | 'lower';
  ratioTo?: string;
  measures?: Record<string, { unit: string }>;
  rounds: number;
  version: string;
  date: string;
  notes?: string;
  sides: readonly {
    name: string;
    guarantees?: string;
    unavailable?: string;
    figures?: Record<string, Summary>;
    ratio?: Summary;
  }[];
  goals: readonly (Goal & { text: string; measured: (Summary & { met: boolean }) | undefined })[];
}
interface KeptRow {
  sides: Map<string, Map<string, Summary>>;
  goals: Map<string, Summary>;
}
interface Statistics {
  median(figures: readonly number[]): number;
  summary(figures: readonly number[]): Summary;
  orderOf(sides: readonly string[], round: number): string[];
  ratios(figures: readonly number[], base: readonly number[]): number[];
  judged(
    goal: Goal,
    figuresOf: (side: string, measure?: string) => readonly number[] | undefined,
  ): (Summary & { met: boolean }) | undefined;
  goalText(row: Pick<Row, 'unit' | 'measures'>, goal: Goal): string;
}
interface Results {
  formatSummary(summary: Summary): string;
  parseSummary(cell: string): Summary | undefined;
  sectionOf(row: Row): string;
  goalLines(row: Row): string[];
  failedSection(name: string, message: string): string;
  render(
    head: readonly (readonly string[])[],
    sections: ReadonlyMap<string, string>,
    goals: ReadonlyMap<string, readonly string[]>,
  ): string;
  parse(text: string): {
    head: string[][];
    sections: Map<string, string>;
    goals: Map<string, string[]>;
    rows: Map<string, KeptRow>;
  };
}
interface Comparison {
  isWorse(kept: Summary, now: Summary, better: 'higher' | 'lower'): boolean;
  compareRow(row: Row, kept: KeptRow): { compared: number; slower: string[] };
}
interface Load {
  parseWrk(text: string): Record<string, number>;
}

// Plain JavaScript without types, as bench/ is a package of its own.
const bench = (file: string) => import(new URL(`../bench/${file}`, import.meta.url).href);
const statistics: Statistics = await bench('statistics.js');
const results: Results = await bench('results.js');
const { isWorse, compareRow }: Comparison = await bench('comparison.js');
const { parseWrk }: Load = await bench('load.js');

const at = (median: number, low = median, high = median): Summary => ({ median, low, high });

const row: Row = {
  name: 'memory: a hot key',
  about: 'One key.',
  unit: 'ns',
  better: 'lower',
  ratioTo: 'a bare counter',
  measures: { p99: { unit: 'ms' } },
  rounds: 7,
  version: '0.1.0 (abc)',
  date: '2026-01-02',
  notes: 'The second goal needs another design.',
  sides: [
    {
      name: 'a bare counter',
      guarantees: 'a | b',
      figures: { figure: at(42, 40, 44.25), p99: at(0.0123, 0.01, 0.02) },
    },
    {
      name: 'gatewarden, window',
      guarantees: 'sliding window, exact',
      figures: { figure: at(1234.5, 1200, 1300), p99: at(1, 0, 2) },
      ratio: at(2, 1.95, 2.1),
    },
    {
      name: 'a peer',
      guarantees: 'fixed window',
      figures: { figure: at(84), p99: at(1) },
      ratio: at(2, 1.95, 2.1),
    },
    { name: 'a service', unavailable: 'it needs an account' },
  ],
  goals: [
    {
      side: 'gatewarden, window',
      over: 'a bare counter',
      atMost: 2,
      text: 'one',
      measured: { ...at(2, 1.95, 2.1), met: true },
    },
    { side: 'gatewarden, window', measure: 'p99', atMost: 0.5, text: 'two', measured: { ...at(1, 0, 2), met: false } },
    { side: 'a service', atMost: 1, text: 'three', measured: undefined },
  ],
};

describe('what the benchmarks compute', () => {
  it('takes the middle figure, or the mean of the two in the middle, whatever the order', () => {
    expect(statistics.median([9, 1, 5])).toBe(5);
    expect(statistics.median([10, 1, 2, 3])).toBe(2.5);
    expect(statistics.summary([3, 11, 2])).toEqual(at(3, 2, 11));
    expect(() => statistics.median([])).toThrow(RangeError);
  });

  it('lets another side begin in each round, and every side run once', () => {
    expect([0, 1, 2, 3].map((round) => statistics.orderOf(['a', 'b', 'c'], round).join(''))).toEqual([
      'abc',
      'bca',
      'cab',
      'abc',
    ]);
  });

  it('divides within a round, so that a slow round of the machine changes no ratio', () => {
    expect(statistics.ratios([10, 30, 20], [5, 15, 10])).toEqual([2, 2, 2]);
  });

  it.each([
    [{ side: 'us', over: 'base', atMost: 2 }, true, 2],
    [{ side: 'us', over: 'base', atMost: 1.9 }, false, 2],
    [{ side: 'us', over: 'base', atLeast: 2.1 }, false, 2],
    [{ side: 'us', minus: 'base', atMost: 10 }, true, 10],
    [{ side: 'us', minus: 'base', atLeast: 10.5 }, false, 10],
    [{ side: 'us', atLeast: 20 }, true, 20],
    [{ side: 'us', measure: 'p99', over: 'base', atMost: 3 }, true, 3],
  ] satisfies [Goal, boolean, number][])('judges %j', (goal, met, median) => {
    const figures: Record<string, number[]> = {
      us: [20, 10, 30],
      base: [10, 5, 15],
      'us p99': [3, 3, 3],
      'base p99': [1, 1, 1],
    };
    const figuresOf = (side: string, measure?: string) => figures[measure === undefined ? side : `${side} ${measure}`];
    expect(statistics.judged(goal, figuresOf)).toMatchObject({ met, median });
  });

  it('judges nothing if a side of the goal did not run', () => {
    const figuresOf = (side: string) => (side === 'us' ? [1] : undefined);
    expect(statistics.judged({ side: 'us', over: 'base', atMost: 2 }, figuresOf)).toBeUndefined();
    expect(statistics.judged({ side: 'other', atMost: 2 }, figuresOf)).toBeUndefined();
  });

  it.each([
    [{ side: 'us', over: 'base', atMost: 2 }, 'us: at most 2 × base'],
    [{ side: 'us', minus: 'base', atMost: 2 }, 'us: at most 2 ns over base'],
    [{ side: 'us', measure: 'p99', atLeast: 0.1 }, 'us: p99 at least 0.1 ms'],
  ] satisfies [Goal, string][])('says %j in words', (goal, text) => {
    expect(statistics.goalText(row, goal)).toBe(text);
  });
});

describe('RESULTS.md', () => {
  it.each([
    ['0.58 (0.55 to 0.61)', at(0.58, 0.55, 0.61)],
    ['20,100 (19,800 to 1,020,400)', at(20100, 19800, 1020400)],
    ['-0.5 (-1.25 to 0)', at(-0.5, -1.25, 0)],
  ])('writes and reads %s', (cell, summary) => {
    expect(results.formatSummary(summary)).toBe(cell);
    expect(results.parseSummary(cell)).toEqual(summary);
  });

  it.each(['', '1', 'not run', '1 (2)', '1 (2 to )', '. (. to .)'])('reads no figures in "%s"', (cell) => {
    expect(results.parseSummary(cell)).toBeUndefined();
  });

  const text = results.render(
    [
      ['date', '2026-01-02'],
      ['machine', 'two | cores'],
    ],
    new Map([
      [row.name, results.sectionOf(row)],
      ['b: broken', results.failedSection('b: broken', 'no | server')],
    ]),
    new Map([[row.name, results.goalLines(row)]]),
  );

  it('holds each row with its figures, ratios and guarantees', () => {
    expect(text).toContain(
      [
        '### memory: a hot key',
        '',
        'One key. Lower is better. Measured on 2026-01-02, 7 rounds, gatewarden 0.1.0 (abc).',
        '',
        '| side | ns | p99 (ms) | × a bare counter | guarantees |',
        '|---|---|---|---|---|',
        '| a bare counter | 42.0 (40.0 to 44.3) | 0.012 (0.01 to 0.02) | 1 | a \\| b |',
        '| gatewarden, window | 1,235 (1,200 to 1,300) | 1.00 (0 to 2.00) | 2.00 (1.95 to 2.10) | sliding window, exact |',
        '| a peer | 84.0 (84.0 to 84.0) | 1.00 (1.00 to 1.00) | 2.00 (1.95 to 2.10) | fixed window |',
        '| a service |  |  |  | Not run: it needs an account |',
        '',
        'The second goal needs another design.',
      ].join('\n'),
    );
    expect(text).toContain('| memory: a hot key | two | 1.00 (0 to 2.00) | **no** |');
  });

  it('is read as it was written', () => {
    const { head, sections, goals, rows } = results.parse(text);
    expect(results.render(head, sections, goals)).toBe(text);
    expect(head).toEqual([
      ['date', '2026-01-02'],
      ['machine', 'two | cores'],
    ]);
    expect(rows.get(row.name)?.sides.get('gatewarden, window')?.get('× a bare counter')).toEqual(at(2, 1.95, 2.1));
    expect(rows.get(row.name)?.sides.get('a service')?.size).toBe(0);
    expect(rows.get(row.name)?.goals).toEqual(
      new Map([
        ['one', at(2, 1.95, 2.1)],
        ['two', at(1, 0, 2)],
      ]),
    );
    expect(rows.has('b: broken')).toBe(false);
  });
});

describe('the comparison with RESULTS.md', () => {
  it.each([
    ['lower', at(2, 1.9, 2.4), at(2.41), true],
    ['lower', at(2, 1.9, 2.4), at(2.39), false],
    ['lower', at(2, 2, 2), at(2.09), false],
    ['lower', at(2, 2, 2), at(2.11), true],
    ['lower', at(2, 1.9, 2.4), at(1), false],
    ['higher', at(0.8, 0.7, 0.9), at(0.69), true],
    ['higher', at(0.8, 0.7, 0.9), at(0.71), false],
    ['higher', at(0.8), at(0.77), false],
    ['higher', at(0.8), at(0.75), true],
    ['higher', at(0.8, 0.7, 0.9), at(3), false],
  ] satisfies ['higher' | 'lower', Summary, Summary, boolean][])(
    'with %s better, kept %j: %j is worse: %s',
    (better, kept, now, worse) => {
      expect(isWorse(kept, now, better)).toBe(worse);
    },
  );

  const written = results.render(
    [],
    new Map([[row.name, results.sectionOf(row)]]),
    new Map([[row.name, results.goalLines(row)]]),
  );
  const kept = results.parse(written).rows.get(row.name);
  if (kept === undefined) throw new Error('the row is not found');
  const [base, ours, peer] = row.sides;
  if (base === undefined || ours === undefined || peer === undefined) throw new Error('three sides');

  it('finds nothing slower in the run that was kept', () => {
    expect(compareRow(row, kept)).toEqual({ compared: 1, slower: [] });
  });

  it('names a ratio of ours that got worse by more than the rounds lay apart', () => {
    const { slower } = compareRow({ ...row, sides: [base, { ...ours, ratio: at(2.5) }, peer] }, kept);
    expect(slower).toEqual([
      'memory: a hot key: gatewarden, window × a bare counter was 2.00 (1.95 to 2.10), is 2.50 (2.50 to 2.50)',
    ]);
  });

  it('does not compare what a peer does, figures without a ratio, or sides that were not kept', () => {
    const slowPeer = { ...peer, ratio: at(9) };
    const added = { ...ours, name: 'gatewarden, quota', ratio: at(9) };
    const slowFigure = { ...ours, figures: { figure: at(9999), p99: at(9999) } };
    expect(compareRow({ ...row, sides: [base, slowFigure, slowPeer, added] }, kept)).toEqual({
      compared: 1,
      slower: [],
    });
  });

  it('compares the ratios of goals too, in the direction of the goal', () => {
    const goal = (measured: Summary) => ({
      side: 'gatewarden, window',
      measure: 'p99',
      over: 'a bare counter',
      atMost: 1.3,
      text: 'p99',
      measured: { ...measured, met: true },
    });
    const before = { ...kept, goals: new Map([['p99', at(1.2, 1, 1.3)]]) };
    expect(compareRow({ ...row, goals: [goal(at(1.25))] }, before)).toEqual({ compared: 2, slower: [] });
    expect(compareRow({ ...row, goals: [goal(at(1.5))] }, before).slower).toHaveLength(1);
  });
});

describe('the load generator', () => {
  it('reads what wrk prints, in any unit', () => {
    const text = `Running 1s test @ http://127.0.0.1:3000/
  1 threads and 50 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     2.43ms    1.02ms  21.63ms   93.12%
    Req/Sec    20.71k     1.92k   23.11k    80.00%
  Latency Distribution
     50%  850.00us
     75%    2.66ms
     90%    3.05ms
     99%    1.20s${' '}
  20735 requests in 1.00s, 3.80MB read
  Socket errors: connect 1, read 2, write 0, timeout 3
  Non-2xx or 3xx responses: 17
Requests/sec:  20713.68
Transfer/sec:      3.79MB
`;
    expect(parseWrk(text)).toEqual({
      figure: 20713.68,
      requests: 20735,
      p50: 0.85,
      p99: 1200,
      refusals: 17,
      errors: 6,
    });
  });
});
