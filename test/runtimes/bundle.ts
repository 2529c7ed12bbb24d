import { readFileSync } from 'node:fs';
import { isBuiltin } from 'node:module';
import { join, relative, resolve, sep } from 'node:path';
import { pathToFileURL } from 'node:url';
import { type BuildOptions, build, type Plugin } from 'esbuild';
import type { Column } from './columns.js';
import type { Skips } from './harness/run-suites.js';
import { type Imported, INTERNALS, internalName, subpathOf } from './package-build.js';
import { ROOT } from './runtimes.js';
import { gapOn } from './skips.js';

const SOURCE = join(ROOT, 'src') + sep;
/** Where properties run so often that a runtime would need minutes. */
const LONG = /\btest[\\/](?:limit|jobs|upload|worker|contracts)\b/;
const HARNESS = join(ROOT, 'test/runtimes/harness');

/** Packages that a process loads from node_modules as any service does. A Worker is one file with all of them in it. */
const PACKAGES = /^(?:node:|gatewarden(?:\/|$)|hono|@hono\/|express|fastify|sharp|jose|ws)/;

/** What a test file imports, itself or through a file of test. */
export interface Imports {
  /** Files of src that are there at run time, by path below src. */
  readonly sources: readonly string[];
  /** Packages and modules of Node. */
  readonly packages: readonly string[];
}

/** What each test file imports, by its path. */
export async function importsOf(files: readonly string[]): Promise<ReadonlyMap<string, Imports>> {
  const record: Plugin = {
    name: 'record',
    setup(build) {
      build.onResolve({ filter: /^\./ }, ({ path, resolveDir }) => {
        const file = sourceFile(resolve(resolveDir, path));
        return file === undefined ? undefined : { path: `src:${file}`, external: true };
      });
    },
  };
  const { metafile } = await build({
    ...COMMON,
    entryPoints: [...files],
    outdir: 'out',
    outbase: '.',
    write: false,
    metafile: true,
    packages: 'external',
    plugins: [record],
  });
  // The inputs, not the outputs: what one file does not use, and the bundle keeps, is in the inputs only.
  const { inputs } = metafile;
  const reached = (file: string, seen: Set<string>): Set<string> => {
    for (const { path } of inputs[file]?.imports ?? []) {
      if (seen.has(path)) continue;
      seen.add(path);
      reached(path, seen);
    }
    return seen;
  };
  return new Map(
    files.map((file) => {
      const paths = [...reached(file, new Set())].filter((path) => inputs[path] === undefined);
      const sources = paths.filter((path) => path.startsWith('src:')).map((path) => path.slice(4));
      return [file, { sources, packages: paths.filter((path) => !path.startsWith('src:')) }];
    }),
  );
}

export interface BundleOptions {
  readonly files: readonly string[];
  readonly skips: Skips;
  readonly imported: Imported;
  /** The runtime that it is for. */
  readonly kind: Column['kind'];
  readonly out: string;
  /** The directory whose node_modules has the built package. */
  readonly directory: string;
}

/** Bundles test files with the runner into one module. They import the built package, whatever path of src they name. */
export async function bundle({ files, skips, imported, kind, out, directory }: BundleOptions): Promise<void> {
  const isWorker = kind === 'workerd';
  const lines = files.map((file) => `${JSON.stringify(file)}: () => import(${JSON.stringify(join(ROOT, file))}),`);
  const listed = skips.map(([file, name, why]) => `[${JSON.stringify(file)}, ${name}, ${JSON.stringify(why)}],`);
  const harness = join(HARNESS, isWorker ? 'workerd.ts' : 'process.ts');
  const contents = [
    `import * as harness from ${JSON.stringify(harness)};`,
    // Evaluated while the module loads, as a service does it.
    ...(isWorker ? [`import ${JSON.stringify(INTERNALS)};`] : []),
    `const files = {\n${lines.join('\n')}\n};`,
    `const skips = [\n${listed.join('\n')}\n];`,
    isWorker ? 'export default harness.worker(files, skips);' : 'await harness.main(files, skips);',
  ].join('\n');
  await build({
    ...COMMON,
    stdin: { contents, resolveDir: directory },
    outfile: out,
    // Modules of node_modules are found from the directory of the run, as from any service.
    nodePaths: [join(directory, 'node_modules')],
    // What a package in CommonJS requires of Node.
    banner: {
      js: "import { createRequire as __createRequire } from 'node:module'; const require = __createRequire('file:///');",
    },
    ...(isWorker ? { conditions: ['workerd', 'worker', 'browser'] } : {}),
    plugins: [builtPackage(imported, directory, kind)],
  });
}

const COMMON = {
  absWorkingDir: ROOT,
  bundle: true,
  format: 'esm' as const,
  target: 'es2022',
  platform: 'neutral' as const,
  // Guards are told apart by the names of their functions.
  keepNames: true,
  mainFields: ['module', 'main'],
  logLevel: 'error' as const,
} satisfies BuildOptions;

/** The path below src, of a module that a test imports by its path; undefined for other modules. */
function sourceFile(path: string): string | undefined {
  if (!path.startsWith(SOURCE)) return undefined;
  return relative(SOURCE, path).split(sep).join('/').replace(/\.js$/, '.ts');
}

/** The file of `harness` that stands in for a file of test on a runtime; undefined for most files. */
function standInFor(path: string, kind: Column['kind']): string | undefined {
  switch (relative(join(ROOT, 'test'), path).split(sep).join('/')) {
    case 'canary.js':
      return 'canary.ts';
    case 'raw-client.js':
      return kind === 'workerd' ? 'no-sockets.ts' : undefined;
    case 'web-server.js':
      return 'web-server.ts';
    default:
      return undefined;
  }
}

function builtPackage(imported: Imported, directory: string, kind: Column['kind']): Plugin {
  const isWorker = kind === 'workerd';
  return {
    name: 'built-package',
    setup(build) {
      build.onResolve({ filter: /^\./ }, ({ path, resolveDir }) => {
        const whole = resolve(resolveDir, path);
        const standIn = kind === 'node' ? undefined : standInFor(whole, kind);
        if (standIn !== undefined) return { path: join(HARNESS, standIn) };
        const file = sourceFile(whole);
        return file === undefined ? undefined : { path: file, namespace: 'source' };
      });
      build.onLoad({ filter: /.*/, namespace: 'source' }, ({ path }) => {
        const subpath = subpathOf(path);
        if (subpath !== undefined) return { contents: `export * from '${subpath}';`, resolveDir: directory };
        const names = imported.get(path) ?? [];
        const contents = `import { ${internalName(path)} as module } from '${INTERNALS}';
${names.map((name) => `export const ${name} = module.${name};`).join('\n')}`;
        return { contents, resolveDir: directory };
      });
      build.onResolve({ filter: /^[^./]/ }, ({ path, kind: how, resolveDir, importer, pluginData }) => {
        if (pluginData === 'asked' || how === 'entry-point') return undefined;
        if (path === 'fast-check' && LONG.test(importer)) return { path: join(HARNESS, 'fast-check.ts') };
        const gap = gapOn(kind, path);
        if (gap !== undefined)
          return 'module' in gap ? { path: join(HARNESS, gap.module) } : { path: gap.why, namespace: 'gap' };
        if (path.startsWith('cloudflare:')) return { path, external: true };
        if (isBuiltin(path)) return { path: path.startsWith('node:') ? path : `node:${path}`, external: true };
        if (!isWorker && PACKAGES.test(path)) return { path, external: true };
        if (/^gatewarden(?:\/|$)/.test(path) && resolveDir !== directory)
          return build.resolve(path, { kind: how, resolveDir: directory, pluginData: 'asked' });
        return undefined;
      });
      build.onLoad({ filter: /.*/, namespace: 'gap' }, ({ path }) => ({
        contents: `module.exports = require('./not-here.ts').missing(${JSON.stringify(path)});`,
        resolveDir: HARNESS,
      }));
      // A bundle lies elsewhere than the files whose fixtures it names.
      build.onLoad({ filter: /\.ts$/ }, ({ path }) => {
        const text = readFileSync(path, 'utf8');
        if (!text.includes('import.meta.url')) return undefined;
        const contents = text.replaceAll('import.meta.url', JSON.stringify(pathToFileURL(path).href));
        return { contents, loader: 'ts' };
      });
    },
  };
}
