import { mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join, relative, sep } from 'node:path';
import { build as esbuild } from 'esbuild';
import { build } from 'tsup';
import tsupConfig from '../../tsup.config.js';
import { ROOT } from './runtimes.js';

/** The entry that only this build has: what tests import from files of src, without which two copies of the core would meet. */
export const INTERNALS = 'gatewarden/internals';

/** The files of src that tests import, by path below src, with the names that each exports. */
export type Imported = ReadonlyMap<string, readonly string[]>;

const options = Array.isArray(tsupConfig) || typeof tsupConfig === 'function' ? {} : tsupConfig;
const entries = options.entry as Readonly<Record<string, string>>;

/** The subpath of the package whose entry a file of src is: `.` for the core, undefined for most files. */
export function subpathOf(file: string): string | undefined {
  const name = Object.keys(entries).find((entry) => entries[entry] === `src/${file}`);
  if (name === undefined || name === 'command') return undefined;
  return name === 'index' ? 'gatewarden' : `gatewarden/${name}`;
}

/** The names that each file of src exports at run time. */
export async function exportsOf(files: readonly string[]): Promise<Imported> {
  const { metafile } = await esbuild({
    absWorkingDir: ROOT,
    entryPoints: files.map((file) => `src/${file}`),
    outdir: 'out',
    outbase: 'src',
    write: false,
    format: 'esm',
    metafile: true,
    logLevel: 'error',
  });
  const found = new Map<string, readonly string[]>();
  for (const { entryPoint, exports } of Object.values(metafile.outputs))
    if (entryPoint !== undefined) found.set(relative('src', entryPoint).split(sep).join('/'), exports);
  return found;
}

/** The name under which the entry of internals exports a file. */
export function internalName(file: string): string {
  return `$${file.replace(/\W/g, '_')}`;
}

/**
 * Builds the package into `<directory>/node_modules/gatewarden` exactly as `npm run build` does, with one more entry for the
 * files that tests import, and links the other packages beside it.
 */
export async function buildPackage(directory: string, internals: readonly string[]): Promise<void> {
  const target = join(directory, 'node_modules/gatewarden');
  mkdirSync(target, { recursive: true });
  const entry = join(directory, 'internals.ts');
  const lines = internals.map((file) => `export * as ${internalName(file)} from '${join(ROOT, 'src', file)}';`);
  writeFileSync(entry, lines.join('\n'));
  await build({
    ...options,
    config: false,
    entry: { ...entries, internals: entry },
    format: ['esm'],
    dts: false,
    clean: false,
    sourcemap: false,
    outDir: join(target, 'dist'),
  });
  const manifest = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as Record<string, unknown>;
  const exports = { ...(manifest.exports as object), './internals': './dist/internals.js' };
  writeFileSync(join(target, 'package.json'), JSON.stringify({ ...manifest, exports }));
  link(join(ROOT, 'node_modules'), join(directory, 'node_modules'));
}

/** Links all installed packages, so that the runtime finds them as beside any service. */
function link(from: string, to: string): void {
  for (const name of readdirSync(from)) {
    if (name === 'gatewarden' || name.startsWith('.')) continue;
    if (name.startsWith('@')) {
      mkdirSync(join(to, name), { recursive: true });
      link(join(from, name), join(to, name));
    } else symlinkSync(join(from, name), join(to, name), 'junction');
  }
}
