/** Fails if `npm run docs` would change docs/api, which is generated from the TSDoc comments of the source. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('..', import.meta.url));

/** The pages below a directory, by path. */
function pagesOf(directory: string): ReadonlyMap<string, string> {
  const files = readdirSync(directory, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.md'));
  return new Map(files.map((file) => [file, readFileSync(join(directory, file), 'utf8')]));
}

const generated = mkdtempSync(join(tmpdir(), 'gatewarden-api-'));
try {
  const typedoc = join(ROOT, 'node_modules/typedoc/bin/typedoc');
  execFileSync(process.execPath, [typedoc, '--logLevel', 'Warn', '--out', generated], { cwd: ROOT, stdio: 'inherit' });
  const current = pagesOf(generated);
  const committed = pagesOf(join(ROOT, 'docs/api'));
  const stale = [...new Set([...current.keys(), ...committed.keys()])].filter(
    (file) => current.get(file) !== committed.get(file),
  );
  if (stale.length > 0) {
    console.error(`docs/api is not up to date: ${stale.join(', ')}. Run \`npm run docs\` and commit the result.`);
    process.exitCode = 1;
  } else {
    console.log(`docs/api is up to date: ${current.size} pages`);
  }
} finally {
  rmSync(generated, { recursive: true, force: true });
}
