import { execFile } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { isBuiltin } from 'node:module';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { beforeAll, describe, expect, it } from 'vitest';
import manifest from '../package.json' with { type: 'json' };

const ROOT = fileURLToPath(new URL('..', import.meta.url));

describe('the packed tarball', () => {
  let files: readonly string[] = [];

  beforeAll(async () => {
    if (!existsSync(`${ROOT}/dist/index.d.ts`))
      throw new Error('There is no whole dist: run `npm run build`, or `npm test`.');
    const pack = promisify(execFile)('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], {
      cwd: ROOT,
      shell: process.platform === 'win32',
    });
    const [packed]: { files: { path: string }[] }[] = JSON.parse((await pack).stdout);
    files = packed?.files.map(({ path }) => path) ?? [];
  }, 60_000);

  it('holds dist, docs, README, CHANGELOG, LICENSE and package.json, and nothing else', () => {
    const top = new Set(files.map((file) => file.replace(/\/.*/, '')));
    expect([...top].sort()).toEqual(['CHANGELOG.md', 'LICENSE', 'README.md', 'dist', 'docs', 'package.json']);
  });

  it('holds in dist only modules, their types and their source maps', () => {
    const strange = files.filter((file) => file.startsWith('dist/') && !/\.(c?js(\.map)?|d\.c?ts)$/.test(file));
    expect(strange).toEqual([]);
  });

  it('shows in its types nothing that guards and adapters say only to each other', () => {
    const internal = /peerIsTrusted|authenticationListener|problemFormats|faultReporter|@internal/;
    const types = readdirSync(`${ROOT}/dist`).filter((file) => /\.d\.c?ts$/.test(file));
    expect(types.length).toBeGreaterThan(8);
    expect(types.filter((file) => internal.test(readFileSync(`${ROOT}/dist/${file}`, 'utf8')))).toEqual([]);
  });

  it('holds every file that package.json points to', () => {
    const { main, module, types, exports } = manifest;
    const targets = [main, module, types, ...leaves(exports)].map((target) => target.replace('./', ''));
    expect(files).toEqual(expect.arrayContaining(targets));
  });

  it("imports Node's modules by their whole names, which other runtimes need", () => {
    const modules = files.filter((file) => /\.c?js$/.test(file));
    const imported = modules.flatMap((file) =>
      [
        ...readFileSync(`${ROOT}/${file}`, 'utf8').matchAll(
          /(?:\bfrom|\bimport|\brequire\(|\bimport\()\s*(["'])([^"'\n]+)\1/g,
        ),
      ].map((match) => match[2] ?? ''),
    );
    expect(imported).toEqual(expect.arrayContaining(['node:crypto', 'node:net', 'node:stream']));
    expect(imported.filter((name) => isBuiltin(name) && !name.startsWith('node:'))).toEqual([]);
  });
});

function leaves(value: unknown): readonly string[] {
  if (typeof value === 'string') return [value];
  return typeof value === 'object' && value !== null ? Object.values(value).flatMap(leaves) : [];
}
