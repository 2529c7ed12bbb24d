// The main module of Node, Bun and Deno.
import { writeFileSync } from 'node:fs';
import { type Files, onStray, runSuites, type Skips } from './run-suites.js';

/** Runs the files that the command names, and writes the report into the file that it names first. */
export async function main(files: Files, skips: Skips): Promise<void> {
  process.on('unhandledRejection', onStray);
  process.on('uncaughtException', onStray);
  // A store's timers keep no process alive, and a test may wait for nothing else.
  setInterval(() => {}, 60_000);
  const [out = 'report.json', ...chosen] = process.argv.slice(2);
  writeFileSync(out, JSON.stringify(await runSuites(files, skips, chosen)));
  process.exit(0);
}
