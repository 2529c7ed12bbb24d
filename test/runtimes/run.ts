/**
 * `npm run test:runtimes`: builds the package, runs the suites that apply on Node, Bun, Deno and workerd, and prints the
 * table. `--write` writes it into docs/runtimes.md, `--only bun,workerd` runs on these alone, `--suite JWT` runs one suite.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { parseArgs } from 'node:util';
import { bundle, importsOf } from './bundle.js';
import { type Column, columns, majorsFor, runOn, versionOf } from './columns.js';
import type { Report } from './harness/run-suites.js';
import { buildPackage, exportsOf, subpathOf } from './package-build.js';
import { nodeBinary, ROOT } from './runtimes.js';
import { skipsOn } from './skips.js';
import { ALONE, SUITES } from './suites.js';
import { type Run, tableOf, withTable } from './table.js';

/** How much of a failure is printed. */
const MAX_REASON = Number(process.env.MAX_REASON ?? 1000);
const REDIS = /^(?:ioredis6?|redis|@valkey\/)/;
const PAGE = join(ROOT, 'docs/runtimes.md');

const { values } = parseArgs({
  options: {
    write: { type: 'boolean' },
    only: { type: 'string' },
    suite: { type: 'string' },
    keep: { type: 'boolean' },
  },
});
const only = values.only?.split(',');
const suites = SUITES.filter(({ name }) => values.suite === undefined || values.suite.split(',').includes(name));
const imports = await importsOf(suites.flatMap((suite) => suite.files));
// What is about Redis runs on a real server, on Node.
const files = [...imports.keys()].filter((file) => !imports.get(file)?.packages.some((name) => REDIS.test(name)));

if (majorsFor(process.platform, process.arch).some((major) => nodeBinary(major) === undefined)) {
  console.log('Installing the versions of Node, once ...');
  execFileSync('npm', ['ci', '--no-audit', '--no-fund', '--prefix', join(ROOT, 'test/runtimes')], { stdio: 'inherit' });
}

const directory = mkdtempSync(join(tmpdir(), 'gatewarden-runtimes-'));
let failed = false;
try {
  const runs = await runAll();
  const table = tableOf(suites, runs);
  console.log(`\n${table.join('\n')}`);
  if (values.write) write(runs, table);
} finally {
  if (values.keep) console.log(`\nkept: ${directory}`);
  else rmSync(directory, { recursive: true, force: true });
}
process.exitCode = failed ? 1 : 0;

/** The page has all suites on all runtimes, or stays as it is. */
function write(runs: readonly Run[], table: readonly string[]): void {
  if (suites.length === SUITES.length && runs.length === columns().length) {
    writeFileSync(PAGE, withTable(readFileSync(PAGE, 'utf8'), table));
    return;
  }
  console.log('docs/runtimes.md is unchanged: it takes a run of all suites on all runtimes');
  failed = true;
}

async function runAll(): Promise<readonly Run[]> {
  const startedAt = performance.now();
  const internals = [...new Set(files.flatMap((file) => imports.get(file)?.sources ?? []))]
    .filter((file) => subpathOf(file) === undefined)
    .sort();
  const imported = await exportsOf(internals);
  await buildPackage(directory, internals);
  for (const kind of ['node', 'bun', 'deno', 'workerd'] as const)
    await bundle({ files, imported, directory, kind, skips: skipsOn(kind), out: join(directory, `${kind}.mjs`) });
  console.log(`Built in ${seconds(startedAt)}.`);

  const waiting = columns().filter(
    ({ kind, binary }) =>
      only === undefined || only.includes(kind) || only.includes(basename(dirname(dirname(binary ?? ''))).slice(0, 7)),
  );
  const reports = new Map<Column, Report>();
  const todo = [...waiting];
  const worker = async () => {
    for (let column = todo.shift(); column !== undefined; column = todo.shift()) await runOne(column, reports);
  };
  await Promise.all(Array.from({ length: Math.max(1, Math.min(4, availableParallelism())) }, worker));
  console.log(`All in ${seconds(startedAt)}.`);

  // A file that a runtime cannot load has the tests that Node has counted.
  const [counted] = [...reports].filter(([{ kind }]) => kind === 'node').map(([, report]) => report);
  return waiting.flatMap((column): Run[] => {
    const report = reports.get(column);
    if (report === undefined) return [];
    const results = report.results.flatMap((result) => {
      if (result.state !== 'skipped' || result.name !== '') return [result];
      const inFile = counted?.results.filter(({ file }) => file === result.file) ?? [];
      return inFile.map(({ name }) => ({ ...result, name }));
    });
    return [{ runtime: `${column.name} ${versionOf(column)}`, results }];
  });
}

async function runOne(column: Column, reports: Map<Column, Report>): Promise<void> {
  if (column.binary === undefined) {
    const name = [column.name, column.major].join(' ').trim();
    console.log(`skipped: there is no ${name} for this machine in node_modules`);
    return;
  }
  const name = `${column.name} ${versionOf(column)}`;
  const startedAt = performance.now();
  try {
    const together = files.filter((file) => !ALONE.includes(file));
    const alone = files.filter((file) => ALONE.includes(file)).map((file) => [file]);
    const report = await runOn(column, directory, [together, ...alone]);
    reports.set(column, report);
    const failures = report.results.filter(({ state }) => state === 'failed');
    console.log(`${name}: ${report.results.length} tests in ${seconds(startedAt)}, ${failures.length} failed`);
    for (const { file, name: test, why } of failures)
      console.log(`  ${file} > ${test}\n    ${why?.slice(0, MAX_REASON)}`);
    for (const error of report.errors) console.log(`  outside of a test: ${error.slice(0, 1500)}`);
    if (failures.length + report.errors.length > 0) failed = true;
  } catch (error) {
    failed = true;
    console.log(`${name}: ${error instanceof Error ? error.message : String(error)}`);
  }
}

function seconds(since: number): string {
  return `${((performance.now() - since) / 1000).toFixed(1)} s`;
}
