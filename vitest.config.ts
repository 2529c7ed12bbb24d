import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { defineConfig, type Plugin } from 'vitest/config';

const source = (path: string) => fileURLToPath(new URL(`src/${path}`, import.meta.url));

/** Imports a Lua script as its text, as the build does. */
const luaAsText: Plugin = {
  name: 'lua-as-text',
  transform: (text, id) => (id.endsWith('.lua') ? `export default ${JSON.stringify(text)};` : undefined),
};

/** Projects of their own: `npm run check:consumers` and `npm run test:e2e`. */
const ELSEWHERE = ['**/node_modules/**', 'test/consumers/**', 'test/e2e/**'];

/** Files that need modules of their own: they replace a module, look at what a module does once in a process, or count timers. */
const ISOLATED = [
  'test/adapters/**/*.test.ts',
  'test/auth/api-keys/*.test.ts',
  'test/docs/*.test.ts',
  'test/edge/cors*.test.ts',
  'test/fake-timers.test.ts',
  'test/jobs/*.test.ts',
  'test/jobs/redis/review.test.ts',
  'test/limit/holds*.test.ts',
  'test/limit/memory/store-clock.test.ts',
  'test/limit/queue/limit-queue.test.ts',
  'test/mistakes.test.ts',
  'test/undefined-options.test.ts',
  'test/upload/*.test.ts',
  'test/worker/*.test.ts',
];

export default defineConfig({
  plugins: [luaAsText],
  resolve: {
    // The package under its own name, from source: examples are tested as a user would write them.
    alias: [
      { find: /^gatewarden$/, replacement: source('index.ts') },
      { find: /^gatewarden\/env$/, replacement: source('env/index.ts') },
      { find: /^gatewarden\/express$/, replacement: source('adapters/express.ts') },
      { find: /^gatewarden\/fastify$/, replacement: source('adapters/fastify.ts') },
      { find: /^gatewarden\/hono$/, replacement: source('adapters/hono.ts') },
      { find: /^gatewarden\/jobs$/, replacement: source('jobs/index.ts') },
      { find: /^gatewarden\/jwt$/, replacement: source('auth/jwt/index.ts') },
      { find: /^gatewarden\/redis$/, replacement: source('redis.ts') },
      { find: /^gatewarden\/upload$/, replacement: source('upload/index.ts') },
      { find: /^gatewarden\/worker$/, replacement: source('worker/index.ts') },
      { find: /^gatewarden\/metrics$/, replacement: source('observe/metrics/index.ts') },
      { find: /^gatewarden\/operator$/, replacement: source('operator/index.ts') },
      { find: /^gatewarden\/sqlite$/, replacement: source('limit/sqlite/index.ts') },
      { find: /^gatewarden\/upgrade$/, replacement: source('adapters/upgrade.ts') },
      { find: /^gatewarden\/web$/, replacement: source('adapters/web-handler.ts') },
    ],
  },
  test: {
    projects: [
      {
        extends: true,
        // Importing the modules again for each file would take longer than most tests.
        test: { name: 'shared', isolate: false, include: ['test/**/*.test.ts'], exclude: [...ELSEWHERE, ...ISOLATED] },
      },
      { extends: true, test: { name: 'isolated', include: ISOLATED, exclude: ELSEWHERE } },
    ],
    // The operator page is plain files, which Vitest would empty.
    css: true,
    globalSetup: ['test/redis/setup.ts'],
    // Looks for credentials in all that is printed, warned of and answered.
    setupFiles: ['test/canary.ts', 'test/intervals.ts'],
    // Some suites wait for servers and time-outs most of the time, so that three of them keep two cores busy.
    maxWorkers: Math.max(3, availableParallelism() - 1),
    expect: { poll: { interval: 5 } },
    testTimeout: 15_000,
    hookTimeout: 15_000,
  },
});
