import { readFile } from 'node:fs/promises';
import { defineConfig, type Options } from 'tsup';

/** An import such as './page.html?raw' is the text of the file, as in Vite. */
const rawAsText: NonNullable<Options['esbuildPlugins']>[number] = {
  name: 'raw-as-text',
  setup(build) {
    build.onResolve({ filter: /\?raw$/ }, async ({ path, importer, kind, resolveDir }) => {
      const { path: file, errors } = await build.resolve(path.replace('?raw', ''), { importer, kind, resolveDir });
      // Without the end of its name, tsup would take a style sheet for its own.
      return { path: `${file}?raw`, errors, namespace: 'raw' };
    });
    build.onLoad({ filter: /./, namespace: 'raw' }, async ({ path }) => ({
      contents: await readFile(path.replace('?raw', ''), 'utf8'),
      loader: 'text',
    }));
  },
};

// One entry for each subpath of package.json "exports". Splitting keeps what they share in common chunks, in both
// formats, so that `gatewarden` and `gatewarden/express` never hold two copies of the core.
export default defineConfig({
  entry: {
    index: 'src/index.ts',
    env: 'src/env/index.ts',
    express: 'src/adapters/express.ts',
    fastify: 'src/adapters/fastify.ts',
    hono: 'src/adapters/hono.ts',
    jobs: 'src/jobs/index.ts',
    jwt: 'src/auth/jwt/index.ts',
    redis: 'src/redis.ts',
    upload: 'src/upload/index.ts',
    worker: 'src/worker/index.ts',
    metrics: 'src/observe/metrics/index.ts',
    operator: 'src/operator/index.ts',
    sqlite: 'src/limit/sqlite/index.ts',
    upgrade: 'src/adapters/upgrade.ts',
    web: 'src/adapters/web-handler.ts',
    // The command of package.json "bin", which is no subpath.
    command: 'src/command/command.ts',
  },
  format: ['esm', 'cjs'],
  // A Lua script is inlined as its text.
  loader: { '.lua': 'text' },
  esbuildPlugins: [rawAsText],
  target: 'node20',
  platform: 'node',
  splitting: true,
  // What only guards and adapters say to each other is marked @internal, and is not in the published types.
  dts: { compilerOptions: { stripInternal: true } },
  sourcemap: true,
  // `npm start` builds without types. It leaves the types of the last whole build, since a tarball needs them.
  clean: process.argv.includes('--no-dts') ? ['!**/*.d.{ts,cts}'] : true,
  treeshake: true,
  // `crypto` instead of `node:crypto` is another module, or none, on runtimes other than Node.
  removeNodeProtocol: false,
  // Errors only: `npm pack --json` and `npm start` build on their way, and print what is their own.
  silent: true,
});
