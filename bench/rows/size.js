// How much code a service loads, bundled, minified and gzipped, and how long the import takes.
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';
import { median } from '../statistics.js';

const run = promisify(execFile);
const BENCH = fileURLToPath(new URL('..', import.meta.url));
/** What a service has anyway. */
const FRAMEWORKS = ['express', 'fastify', 'hono', 'ioredis'];
/** Fresh processes that import a module in one round. */
const IMPORTS = 3;

/** Kilobytes (1,000 bytes) of all code that `code` uses, dependencies included. */
async function kilobytes(code) {
  const { outputFiles } = await build({
    stdin: { contents: code, resolveDir: BENCH, loader: 'js' },
    bundle: true,
    minify: true,
    write: false,
    format: 'esm',
    platform: 'node',
    target: 'node20',
    external: FRAMEWORKS,
    // The package as it is published, not the sources that tsconfig.json names.
    tsconfigRaw: {},
    logLevel: 'error',
  });
  return gzipSync(outputFiles[0].contents, { level: 9 }).length / 1000;
}

/** Milliseconds of the imports in a new process. */
async function importTime(modules) {
  const imports = modules.map((name) => `await import(${JSON.stringify(name)});`).join('\n');
  const code = `const start = performance.now();\n${imports}\nconsole.log(performance.now() - start);`;
  const times = [];
  for (let i = 0; i < IMPORTS; i++) {
    const { stdout } = await run(process.execPath, ['--input-type=module', '-e', code], { cwd: BENCH });
    times.push(Number(stdout));
  }
  return median(times);
}

const QUICK_START = `
  import { authenticate, clientIp, limit, securityHeaders, sharedSecret, slidingWindow } from 'gatewarden';
  import { guard } from 'gatewarden/express';
  export const first = guard(securityHeaders(), clientIp());
  export const generate = guard(
    authenticate(sharedSecret({ secrets: [process.env.SECRET_KEY] })),
    limit({ by: 'client-ip', policies: slidingWindow({ limit: 60, window: '1m' }) }),
  );`;
const THREE_PEERS = `
  import cors from 'cors';
  import { rateLimit } from 'express-rate-limit';
  import helmet from 'helmet';
  export const all = [helmet(), cors(), rateLimit({ limit: 60, windowMs: 60_000 })];`;
const PEERS = 'helmet, cors and express-rate-limit';
const PEERS_DO = 'security headers, CORS, a fixed window in memory; no credentials';

const sized = (name, guarantees, code) => ({ name, guarantees, run: () => kilobytes(code) });
const imported = (name, guarantees, ...modules) => ({ name, guarantees, run: () => importTime(modules) });

/** The subpaths of package.json, each with everything that it exports. */
const subpaths = Object.keys(JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')).exports)
  .filter((path) => path !== './package.json')
  .map((path) => path.replace('.', 'gatewarden'));

const WHOLE = 'everything that it exports';
const COUNTED = 'Dependencies are counted, the framework and ioredis are not.';
/** `export *` leaves out the default export, which would be Fastify's plugin a second time. */
const all = (path) => `export * from ${JSON.stringify(path)};`;

export const rows = [
  {
    name: 'size: the quick start',
    about: `Kilobytes (1,000 bytes), bundled, minified and gzipped. ${COUNTED}`,
    unit: 'KB',
    better: 'lower',
    ratioTo: PEERS,
    goals: [{ side: 'gatewarden', atMost: 20 }],
    notes:
      '`limit` brings all policies, since it makes each policy again to check it, and with them what only some need: the ' +
      'queue is 5.1 KB, slots and GPU time 2.7 KB, days 0.8 KB. Without all of that, and without HTTP/2, bodies, forwarding ' +
      'headers and Content-Security-Policy (2.0 KB), 29 KB would be left. The rest is what the quick start uses, with its ' +
      'checks of options and its texts; no file of it is above 3.5 KB before compression. Tried: a reader and writer of IP ' +
      'addresses instead of ipaddr.js (3.8 KB less, and taken back: a well-kept package reads them), and the sources instead of the published files (0.8 KB less).',
    sides: [
      sized(PEERS, PEERS_DO, THREE_PEERS),
      sized('gatewarden', 'security headers, client address, a shared secret, a sliding window in memory', QUICK_START),
    ],
  },
  {
    name: 'size: each subpath',
    about: `Kilobytes (1,000 bytes) of a whole subpath, bundled, minified and gzipped. A bundler keeps only what is used. ${COUNTED}`,
    unit: 'KB',
    better: 'lower',
    ratioTo: PEERS,
    sides: [sized(PEERS, PEERS_DO, THREE_PEERS), ...subpaths.map((path) => sized(path, WHOLE, all(path)))],
  },
  {
    name: 'size: import time',
    about: `Milliseconds of an import in a new process, the median of ${IMPORTS}.`,
    unit: 'ms',
    better: 'lower',
    ratioTo: PEERS,
    goals: [{ side: 'gatewarden', minus: 'an empty module', atMost: 10 }],
    notes:
      'A fifth of it are modules of Node (`node:crypto`, `node:net`), which most services load anyway. A quarter is lru-cache ' +
      'with the modules of Node that it loads, for `apiKeys` with a store only. ipaddr.js is another fifth. Tried on paper ' +
      'for lru-cache: a Map in the order of use, which would stop the process to reorganize a large cache, and ' +
      '`import()` at the first use, which the factory, as it is synchronous, cannot await.',
    sides: [
      imported('an empty module', 'nothing', 'data:text/javascript,'),
      imported(PEERS, PEERS_DO, 'helmet', 'cors', 'express-rate-limit'),
      ...subpaths.map((path) => imported(path, WHOLE, path)),
    ],
  },
];
