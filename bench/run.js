// Measures every row, side by side with its peers, and writes RESULTS.md. `--check` compares with RESULTS.md instead.
import { execFileSync, fork } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { compareRow } from './comparison.js';
import { environment, gatewardenVersion, node24 } from './machine.js';
import { failedSection, goalLines, parse, render, sectionOf } from './results.js';
import { goalText, judged, orderOf, ratios, summary } from './statistics.js';

const USAGE = `npm run bench -- [options]
  --only PATTERN   only rows whose names match (a regular expression, any case)
  --rounds N       rounds of each side, 7 by default
  --write          also writes RESULTS.md after a run of some rows, or of fewer than 7 rounds
  --check          compares with RESULTS.md and names what got slower; writes nothing
  --results FILE   instead of bench/RESULTS.md
  --list           only the names of the rows
  --no-build       measures dist/ as it is`;

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const HERE = fileURLToPath(new URL('.', import.meta.url));
const SIDE = fileURLToPath(new URL('side.js', import.meta.url));
/** The order of the tables. Files that are not named here come last. */
const ORDER = [
  'http',
  'no-network',
  'memory',
  'journal',
  'usage',
  'redis',
  'ahead',
  'sqlite',
  'keys',
  'jwt',
  'upload',
  'footprint',
  'size',
];
const LEAST_ROUNDS = 7;
const TIMEOUT_MS = 120_000;
const NODE_24 = node24();

function options() {
  try {
    const { values } = parseArgs({
      options: {
        only: { type: 'string' },
        rounds: { type: 'string', default: String(LEAST_ROUNDS) },
        write: { type: 'boolean', default: false },
        check: { type: 'boolean', default: false },
        results: { type: 'string', default: fileURLToPath(new URL('RESULTS.md', import.meta.url)) },
        list: { type: 'boolean', default: false },
        'no-build': { type: 'boolean', default: false },
      },
    });
    const rounds = Number(values.rounds);
    if (!Number.isSafeInteger(rounds) || rounds < 1) throw new Error('--rounds must be a whole number from 1');
    return { ...values, rounds, only: new RegExp(values.only ?? '', 'i') };
  } catch (error) {
    throw new Error(`${error.message}\n\n${USAGE}`);
  }
}

async function rowsOf() {
  const folder = new URL('rows/', import.meta.url);
  const names = readdirSync(folder)
    .filter((file) => file.endsWith('.js'))
    .map((file) => file.slice(0, -3));
  const place = (name) => (ORDER.includes(name) ? ORDER.indexOf(name) : ORDER.length);
  names.sort((a, b) => place(a) - place(b) || a.localeCompare(b));
  const rows = [];
  for (const name of names) {
    const file = fileURLToPath(new URL(`${name}.js`, folder));
    // A file beside the rows that they start as a server exports no rows.
    if (!/^export const rows\b/m.test(readFileSync(file, 'utf8'))) continue;
    const exported = await import(pathToFileURL(file).href);
    for (const row of exported.rows) rows.push({ ...row, file, goals: row.goals ?? [] });
  }
  const twice = rows.find(({ name }, i) => rows.findIndex((other) => other.name === name) !== i);
  if (twice !== undefined) throw new Error(`two rows are named ${twice.name}`);
  return rows;
}

/** Installs the packages of the benchmarks if one is missing, and builds gatewarden. */
function prepare(build) {
  const quiet = { stdio: ['ignore', 'ignore', 'inherit'] };
  const { dependencies } = JSON.parse(readFileSync(new URL('package.json', import.meta.url), 'utf8'));
  const missing = (name) => !existsSync(new URL(`node_modules/${name}/package.json`, import.meta.url));
  if (Object.keys(dependencies).some(missing)) {
    console.error('Installing the packages to compare with ...');
    execFileSync('npm', ['ci', '--ignore-scripts'], { cwd: HERE, ...quiet });
  }
  if (build) {
    console.error('Building gatewarden ...');
    execFileSync('npm', ['run', 'build:js', '--silent'], { cwd: ROOT, ...quiet });
  }
}

/** A side's process, and a way to ask it one thing at a time. */
async function startSide(row, { name }) {
  const child = fork(SIDE, [row.file, row.name, name], {
    execArgv: ['--expose-gc'],
    ...(row.onNode24 && NODE_24 !== undefined ? { execPath: NODE_24 } : {}),
    // What a side prints does not belong to the results.
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  });
  // A message that could not be sent: the process has ended, which `answer` reports.
  child.on('error', () => undefined);
  const ended = () => child.exitCode !== null || child.signalCode !== null;
  async function answer() {
    if (ended()) throw new Error(`${name}: its process ended`);
    const stop = new AbortController();
    const timer = setTimeout(() => stop.abort(), TIMEOUT_MS);
    try {
      const [message] = await Promise.race([
        once(child, 'message', { signal: stop.signal }),
        once(child, 'exit', { signal: stop.signal }).then(() => [{ failure: 'its process ended' }]),
      ]);
      if (message.failure !== undefined) throw new Error(`${name}: ${message.failure}`);
      return message.answer;
    } catch (error) {
      throw error.name === 'AbortError' ? new Error(`${name}: no answer within ${TIMEOUT_MS / 1000} s`) : error;
    } finally {
      clearTimeout(timer);
      stop.abort();
    }
  }
  async function ask(message) {
    if (child.connected) child.send(message);
    return await answer();
  }
  async function stop() {
    if (ended()) return;
    const gone = once(child, 'exit');
    child.disconnect();
    const timer = setTimeout(() => child.kill('SIGKILL'), 5000);
    await gone;
    clearTimeout(timer);
  }
  await answer();
  return { name, ask, stop };
}

/** The figures of one round: a number above zero, and all measures of the row. */
function checked(row, name, returned) {
  const figures = typeof returned === 'number' ? { figure: returned } : returned;
  for (const key of ['figure', ...Object.keys(row.measures ?? {})]) {
    const value = figures?.[key];
    if (!Number.isFinite(value) || (key === 'figure' && value <= 0)) {
      throw new Error(`${name}: ${key} of a round is ${value}`);
    }
  }
  return figures;
}

async function measure(row, rounds, version) {
  const runnable = row.sides.filter(({ unavailable }) => unavailable === undefined);
  // If nothing can run, what the row needs is probably missing.
  const context = runnable.length === 0 ? undefined : await row.open?.();
  const running = [];
  const figures = new Map(runnable.map(({ name }) => [name, []]));
  try {
    for (const side of runnable) {
      const started = await startSide(row, side);
      running.push(started);
      await started.ask({ act: 'open', context });
    }
    const warmUps = row.warmUps ?? 1;
    for (let round = 0; round < warmUps + rounds; round++) {
      for (const side of orderOf(running, round)) {
        const returned = checked(row, side.name, await side.ask({ act: 'run', round }));
        if (round >= warmUps) figures.get(side.name).push(returned);
      }
    }
    for (const side of running) await side.ask({ act: 'close' });
  } finally {
    for (const side of running) await side.stop();
    if (runnable.length > 0) await row.close?.(context);
  }
  const figuresOf = (side, measure = 'figure') => figures.get(side)?.map((round) => round[measure]);
  const base = row.ratioTo === undefined ? undefined : figuresOf(row.ratioTo);
  return {
    ...row,
    rounds,
    version,
    date: new Date().toISOString().slice(0, 10),
    sides: row.sides.map((side) => {
      const main = figuresOf(side.name);
      if (main === undefined) return side;
      const keys = ['figure', ...Object.keys(row.measures ?? {})];
      return {
        ...side,
        figures: Object.fromEntries(keys.map((key) => [key, summary(figuresOf(side.name, key))])),
        ratio: base === undefined ? undefined : summary(ratios(main, base)),
      };
    }),
    goals: row.goals.map((goal) => ({ ...goal, text: goalText(row, goal), measured: judged(goal, figuresOf) })),
  };
}

async function measureAll(rows, rounds) {
  const version = gatewardenVersion();
  const measured = new Map();
  const failed = new Map();
  for (const [i, row] of rows.entries()) {
    const start = performance.now();
    process.stderr.write(`[${i + 1}/${rows.length}] ${row.name} ... `);
    try {
      measured.set(row.name, await measure(row, rounds, version));
    } catch (error) {
      failed.set(row.name, error.message);
      process.stderr.write(`failed: ${error.message}\n`);
      continue;
    }
    process.stderr.write(`${((performance.now() - start) / 1000).toFixed(0)} s\n`);
  }
  return { measured, failed };
}

/** The text of RESULTS.md: rows that were not measured now stay as they are, if machine and versions are the same. */
function resultsText({ measured, failed }, rows, kept) {
  const head = [['date', new Date().toISOString().slice(0, 10)], ...environment()];
  const same = kept !== undefined && JSON.stringify(kept.head.slice(1)) === JSON.stringify(head.slice(1));
  const sections = new Map();
  const goals = new Map();
  const others = [];
  for (const { name } of rows) {
    const row = measured.get(name);
    if (row !== undefined) {
      sections.set(name, sectionOf(row));
      goals.set(name, goalLines(row));
    } else if (failed.has(name)) {
      sections.set(name, failedSection(name, failed.get(name)));
    } else if (kept?.sections.has(name)) {
      others.push(name);
      sections.set(name, kept.sections.get(name));
      goals.set(name, kept.goals.get(name) ?? []);
    }
  }
  if (others.length > 0 && !same) {
    throw new Error('the other rows of RESULTS.md are of another machine or other versions: measure all rows');
  }
  return render(head, sections, goals);
}

async function check(rows, chosen) {
  const kept = parse(readFileSync(chosen.results, 'utf8'));
  const known = rows.filter(({ name }) => kept.rows.has(name));
  for (const { name } of rows.filter((row) => !known.includes(row))) console.log(`not in RESULTS.md: ${name}`);
  const first = await measureAll(known, chosen.rounds);
  const compare = (row) => compareRow(row, kept.rows.get(row.name));
  const suspects = known.filter(({ name }) => {
    const row = first.measured.get(name);
    return row !== undefined && compare(row).slower.length > 0;
  });
  // Something else on the machine can spoil a run. What is slower is slower twice.
  const second = suspects.length === 0 ? first : await measureAll(suspects, chosen.rounds);
  const slower = suspects.flatMap(({ name }) => {
    const row = second.measured.get(name);
    const before = compare(first.measured.get(name)).slower;
    return row !== undefined && compare(row).slower.length > 0 ? compare(row).slower : row === undefined ? before : [];
  });
  const compared = [...first.measured.values()].reduce((sum, row) => sum + compare(row).compared, 0);
  for (const text of slower) console.log(`slower: ${text}`);
  console.log(`${compared} ratios compared, ${slower.length} slower, ${first.failed.size} rows failed`);
  return slower.length === 0 && first.failed.size === 0;
}

async function main(chosen) {
  // The rows import all packages, gatewarden too.
  prepare(!chosen['no-build'] && !chosen.list);
  const all = await rowsOf();
  const rows = all.filter(({ name }) => chosen.only.test(name));
  if (chosen.list || rows.length === 0) {
    for (const { name } of chosen.list ? rows : all) console.log(name);
    if (rows.length === 0) throw new Error('no row has such a name; the names are above');
    return true;
  }
  if (chosen.check) return await check(rows, chosen);
  const result = await measureAll(rows, chosen.rounds);
  const kept = existsSync(chosen.results) ? parse(readFileSync(chosen.results, 'utf8')) : undefined;
  const whole = rows.length === all.length && chosen.rounds >= LEAST_ROUNDS;
  if (whole || chosen.write) {
    writeFileSync(chosen.results, resultsText(result, all, kept));
    console.error(`${chosen.results} is written.`);
  } else {
    for (const row of result.measured.values()) console.log(`\n${sectionOf(row)}`);
    const goals = [...result.measured.values()].flatMap(goalLines);
    if (goals.length > 0) console.log(`\n${goals.join('\n')}`);
  }
  return result.failed.size === 0;
}

// Servers that a row started are stopped by an `exit` listener.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => process.exit(1));
try {
  process.exitCode = (await main(options())) ? 0 : 1;
} catch (error) {
  console.error(error.message);
  process.exitCode = 2;
}
