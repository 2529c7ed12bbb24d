// RESULTS.md: written from what the runner measured, and read again by the comparison. Each row is one section with a table;
// a run of some rows replaces their sections and leaves the others.
const NUMBER = /^(-?[\d,.]+) \((-?[\d,.]+) to (-?[\d,.]+)\)$/;

/** Three digits that count, and no fraction above a hundred. */
export function formatNumber(value) {
  const size = Math.abs(value);
  if (size >= 100) return Math.round(value).toLocaleString('en');
  if (size >= 10) return value.toFixed(1);
  if (size >= 1) return value.toFixed(2);
  return size === 0 ? '0' : String(Number(value.toPrecision(2)));
}

/** `0.58 (0.55 to 0.61)`. */
export function formatSummary({ median, low, high }) {
  return `${formatNumber(median)} (${formatNumber(low)} to ${formatNumber(high)})`;
}

/** The summary that a cell holds, or undefined if it holds none. */
export function parseSummary(cell) {
  const parts = NUMBER.exec(cell);
  if (parts === null) return undefined;
  const [median, low, high] = parts.slice(1).map((part) => Number(part.replaceAll(',', '')));
  return [median, low, high].some(Number.isNaN) ? undefined : { median, low, high };
}

const cell = (text) => String(text).replaceAll('|', '\\|').replaceAll('\n', ' ');
const line = (cells) => `| ${cells.map(cell).join(' | ')} |`;
const rule = (cells) => `|${cells.map(() => '---|').join('')}`;

function cellsOf(text) {
  return text
    .slice(1, text.lastIndexOf('|'))
    .split(/(?<!\\)\|/)
    .map((part) => part.trim().replaceAll('\\|', '|'));
}

/** One row as a section: its name, what is measured, and a table of its sides. */
export function sectionOf(row) {
  const measures = Object.keys(row.measures ?? {});
  const head = [
    'side',
    row.unit,
    ...measures.map((name) => `${name} (${row.measures[name].unit})`),
    ...(row.ratioTo === undefined ? [] : [`× ${row.ratioTo}`]),
    'guarantees',
  ];
  const lines = row.sides.map((side) => {
    if (side.unavailable !== undefined) {
      return line([side.name, ...head.slice(2).map(() => ''), `Not run: ${side.unavailable}`]);
    }
    const figures = [side.figures.figure, ...measures.map((name) => side.figures[name])].map(formatSummary);
    const ratio =
      row.ratioTo === undefined
        ? []
        : side.name === row.ratioTo
          ? ['1']
          : [side.ratio ? formatSummary(side.ratio) : ''];
    return line([side.name, ...figures, ...ratio, side.guarantees]);
  });
  const better = row.better === 'higher' ? 'Higher is better.' : 'Lower is better.';
  const measured = `Measured on ${row.date}, ${row.rounds} ${row.rounds === 1 ? 'round' : 'rounds'}, gatewarden ${row.version}.`;
  const notes = row.notes === undefined ? [] : ['', row.notes];
  const about = `${row.about} ${better} ${measured}`;
  return [`### ${row.name}`, '', about, '', line(head), rule(head), ...lines, ...notes].join('\n');
}

/** A row that could not be measured. It has no table, so that the comparison does not find it. */
export function failedSection(name, message) {
  // Without the stack, which names folders of the machine.
  const [reason = ''] = message.split('\n');
  return [`### ${name}`, '', `Failed: ${cell(reason)}`].join('\n');
}

/** The lines of the table of goals that one row has. */
export function goalLines(row) {
  return row.goals.map((goal) =>
    goal.measured === undefined
      ? line([row.name, goal.text, 'not run', 'no'])
      : line([row.name, goal.text, formatSummary(goal.measured), goal.measured.met ? 'yes' : '**no**']),
  );
}

const GOALS = ['row', 'goal', 'measured', 'met'];

/**
 * RESULTS.md.
 * @param head what and when, each a name and a text
 * @param sections the text of each row by its name, in order
 * @param goals the lines of the table of goals by the row's name
 */
export function render(head, sections, goals) {
  const goalTable = [...sections.keys()].flatMap((name) => goals.get(name) ?? []);
  return `${[
    '# Results',
    '',
    '<!-- Written by `npm run bench`. Changes by hand are lost. -->',
    '',
    'gatewarden side by side with its peers. A cell holds the median of all rounds, then the lowest and the highest round.',
    'Sides take turns, round by round, and ratios (the columns with ×) are computed within a round. Compare figures of one',
    'table only. Read the last column before you compare: sides do not all promise the same.',
    '[README.md](README.md) explains how this is measured.',
    '',
    line(['', '']),
    rule(['', '']),
    ...head.map(line),
    '',
    '## Goals',
    '',
    line(GOALS),
    rule(GOALS),
    ...goalTable,
    '',
    '## Figures',
    '',
    [...sections.values()].join('\n\n'),
  ].join('\n')}\n`;
}

/**
 * What RESULTS.md holds.
 * @returns `head`, `sections` and `goals` as `render` takes them, and `rows`: of each row, the summaries in the columns of
 * each side (`unit`, `p99 (ms)`, `× bare` ...), and the goals' summaries by the goal's text.
 */
export function parse(text) {
  const head = [];
  const sections = new Map();
  const goals = new Map();
  const rows = new Map();
  const rowOf = (name) => {
    if (!rows.has(name)) rows.set(name, { sides: new Map(), goals: new Map() });
    return rows.get(name);
  };
  const [before, ...parts] = text.split(/^### /m);
  let inGoals = false;
  for (const raw of before.split('\n')) {
    if (raw.startsWith('## ')) inGoals = raw === '## Goals';
    if (!raw.startsWith('| ')) continue;
    const cells = cellsOf(raw);
    if (!inGoals) {
      if (cells[0] !== '') head.push(cells);
    } else if (cells[0] !== GOALS[0]) {
      goals.set(cells[0], [...(goals.get(cells[0]) ?? []), raw]);
      const measured = parseSummary(cells[2]);
      if (measured !== undefined) rowOf(cells[0]).goals.set(cells[1], measured);
    }
  }
  for (const part of parts) {
    const lines = part.trimEnd().split('\n');
    const name = lines[0];
    sections.set(name, `### ${lines.join('\n')}`);
    const [columns, ...sides] = lines.filter((raw) => raw.startsWith('| ')).map(cellsOf);
    for (const [side, ...cells] of sides) {
      const summaries = new Map();
      cells.forEach((content, i) => {
        const found = parseSummary(content);
        if (found !== undefined) summaries.set(columns[i + 1], found);
      });
      rowOf(name).sides.set(side, summaries);
    }
  }
  return { head, sections, goals, rows };
}
