import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';

const source = (path: string) => fileURLToPath(new URL(`src/${path}`, import.meta.url));

export default defineConfig({
  resolve: {
    // The package under its own name, from source: examples are tested as a user would write them.
    alias: [
      { find: /^gatewarden$/, replacement: source('index.ts') },
      { find: /^gatewarden\/express$/, replacement: source('adapters/express.ts') },
      { find: /^gatewarden\/redis$/, replacement: source('limit/redis/redis-store.ts') },
    ],
  },
  test: {
    include: ['test/**/*.test.ts'],
    // Projects of their own: `npm run check:consumers` and `npm run test:e2e`.
    exclude: ['**/node_modules/**', 'test/consumers/**', 'test/e2e/**'],
    globalSetup: ['test/redis/setup.ts'],
    testTimeout: 15_000,
    hookTimeout: 15_000,
  },
});
