import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import manifest from '../package.json' with { type: 'json' };
import tsupConfig from '../tsup.config.js';
import { type House, type Rule, rules, undeclaredPackages, undocumentedExports } from './architecture.js';

const SRC = new URL('../src/', import.meta.url);

const house: House = new Map(
  readdirSync(SRC, { recursive: true, encoding: 'utf8' })
    .map((file) => file.replaceAll('\\', '/'))
    .filter((file) => /\.(?:ts|lua|css|html|js|svg)$/.test(file))
    .map((file) => [file, readFileSync(new URL(file, SRC), 'utf8')]),
);

/** Each rule, a house that breaks it, and what is then said. */
const RULES: readonly [promise: string, rule: Rule, broken: Record<string, string>, said: readonly string[]][] = [
  [
    'has no import cycles, types included',
    rules.noCycles,
    { 'a.ts': "import type { B } from './b.js';", 'b.ts': "export * from './c.js';", 'c.ts': "import './a.js';" },
    ['a.ts -> b.ts -> c.ts -> a.ts'],
  ],
  [
    'imports only files that exist, TypeScript by its .js name',
    rules.everyImportIsAFile,
    {
      'a.ts': "import './b'; import './c.lua'; import './d.lua'; import './p/e.js?raw'; import './p/f.js?raw';",
      'b.ts': '',
      'c.lua': "import './e.js'",
      'p/e.js': '',
    },
    ['a.ts imports ./b', 'a.ts imports ./d.lua', 'a.ts imports ./p/f.js?raw'],
  ],
  [
    'keeps the core free of other rooms',
    rules.coreImportsOnlyCore,
    { 'core/exchange.ts': "import type { Day } from '../limit/day.js'; import './reply.js';", 'limit/day.ts': '' },
    ['core/exchange.ts imports ../limit/day.js'],
  ],
  [
    'has no file outside its rooms but entries that name what several rooms have',
    rules.onlyEntriesAreOutsideTheRooms,
    { 'index.ts': '', 'sequence.ts': '', 'core/exchange.ts': '' },
    ['sequence.ts'],
  ],
  [
    'has no TypeScript file over 250 lines',
    rules.noFileOverTwoHundredFiftyLines,
    { 'a.ts': 'a;\n'.repeat(250), 'b.ts': 'b;\n'.repeat(251), 'c.lua': 'c()\n'.repeat(251) },
    ['b.ts'],
  ],
  [
    'uses index.ts nowhere inside',
    rules.nothingImportsTheIndex,
    { 'edge/cors.ts': "import { refuse } from '../index.js';", 'index.ts': '' },
    ['edge/cors.ts imports ../index.js'],
  ],
  [
    "keeps each guard out of the others' folders, and of the adapters",
    rules.guardsImportCoreAndTheirOwn,
    {
      'limit/limit.ts': "import { workerKey } from '../client-ip/cloudflare.js';",
      'auth/bearer.ts': "type Request = import('../adapters/node-message.js').NodeRequest;",
    },
    ['limit/limit.ts imports ../client-ip/cloudflare.js', 'auth/bearer.ts imports ../adapters/node-message.js'],
  ],
  [
    'lets adapters know the core and each other only',
    rules.adaptersImportCoreAndEachOther,
    { 'adapters/express.ts': "import './node-http.js'; import '../core/exchange.js'; import '../limit/limit.js';" },
    ['adapters/express.ts imports ../limit/limit.js'],
  ],
  [
    'lets only adapters know a framework, types included',
    rules.onlyAdaptersKnowFrameworks,
    {
      'adapters/express.ts': "import type { Request } from 'express';",
      'edge/cors.ts': "import type { Request } from 'express';",
      'worker/slots.ts': "import { tiny } from 'hono/tiny';",
    },
    ['edge/cors.ts imports express', 'worker/slots.ts imports hono/tiny'],
  ],
  [
    'loads no framework at run time',
    rules.noFrameworkAtRunTime,
    {
      'adapters/express.ts': "import type { Request } from 'express';",
      'adapters/hono.ts': "import { Hono } from 'hono'; new Hono();",
      'adapters/fastify.ts': "export const load = () => import('fastify');",
    },
    ['adapters/hono.ts imports hono', 'adapters/fastify.ts imports fastify'],
  ],
  [
    'lets only the Redis stores know Redis',
    rules.onlyTheRedisFoldersKnowRedis,
    {
      'limit/redis/cluster-slot.ts': "import slot from 'cluster-key-slot'; import './layout.js'; slot('');",
      'limit/redis/layout.ts': '',
      'limit/limit.ts': "import type { Redis } from 'ioredis';",
      'redis.ts': "export { redisKey } from './limit/redis/layout.js';",
      'index.ts': "export { redisKey } from './limit/redis/layout.js';",
    },
    ['limit/limit.ts imports ioredis', 'index.ts imports ./limit/redis/layout.js'],
  ],
  [
    'lets only the JWT schemes know jose',
    rules.onlyTheJwtFolderKnowsJose,
    {
      'auth/jwt/index.ts': "export { jwt } from './jwt.js';",
      'auth/jwt/jwt.ts': "import { jwtVerify } from 'jose'; jwtVerify();",
      'auth/api-keys.ts': "import { jwtVerify } from 'jose'; jwtVerify();",
      'index.ts': "export { jwt } from './auth/jwt/jwt.js';",
    },
    ['auth/api-keys.ts imports jose', 'index.ts imports ./auth/jwt/jwt.js'],
  ],
  [
    'lets only uploads know file types and multipart',
    rules.onlyTheUploadFolderKnowsFiles,
    {
      'upload/index.ts': "export { upload } from './upload.js';",
      'upload/upload.ts': "import { Busboy } from '@fastify/busboy'; import sharp from 'sharp'; sharp(Busboy);",
      'auth/audit.ts': "import { fileTypeFromBuffer } from 'file-type'; fileTypeFromBuffer();",
      'index.ts': "export { upload } from './upload/upload.js';",
    },
    ['auth/audit.ts imports file-type', 'index.ts imports ./upload/upload.js'],
  ],
  [
    'lets the limit guard know stores by their contract only',
    rules.limitKnowsStoresByContractOnly,
    {
      'limit/limit.ts': "import './headers.js'; import './memory/plain-memory-store.js';",
      'limit/headers.ts': '',
      'limit/store.ts': "import './memory/counter-table.js';",
      'limit/policy.ts': "import './redis/layout.js';",
      'limit/memory/plain-memory-store.ts': '',
      'limit/memory/counter-table.ts': '',
      'limit/redis/layout.ts': '',
    },
    ['limit/store.ts imports ./memory/counter-table.js', 'limit/policy.ts imports ./redis/layout.js'],
  ],
  [
    'has no utils, no helpers, no types.ts',
    rules.noDumpingGround,
    { 'utils/time.ts': '', 'auth/helpers.ts': '', 'types.ts': '', 'limit/store.ts': '' },
    ['utils/time.ts', 'auth/helpers.ts', 'types.ts'],
  ],
  [
    'warns through core/warning.ts only, which works on every runtime',
    rules.onlyWarningEmitsWarnings,
    {
      'core/warning.ts': 'process.emitWarning(a);',
      'edge/cors.ts': "process.emitWarning('a');",
      'edge/origin.ts': 'warn(a);',
    },
    ['edge/cors.ts'],
  ],
  [
    'has no default exports',
    rules.noDefaultExport,
    {
      'a.ts': 'export default 1;',
      'b.ts': 'export default function b() {}',
      'c.ts': 'const c = 1; export { c as default };',
      'd.ts': 'export const d = 1;',
    },
    ['a.ts', 'b.ts', 'c.ts'],
  ],
  [
    'needs no package at run time that package.json does not declare',
    (files) => undeclaredPackages(files, Object.keys(manifest.dependencies)),
    {
      'a.ts':
        "import { z } from 'zod'; import { LRUCache } from 'lru-cache'; import { isIP } from 'node:net'; z(LRUCache, isIP);" +
        "import plot from 'uplot/plot.js?raw'; plot();",
    },
    ['a.ts imports zod'],
  ],
  [
    'documents every public name',
    (files) =>
      [
        'index.ts',
        'env/index.ts',
        'adapters/express.ts',
        'adapters/fastify.ts',
        'adapters/hono.ts',
        'auth/jwt/index.ts',
        'redis.ts',
        'upload/index.ts',
        'worker/index.ts',
        'jobs/index.ts',
        'operator/index.ts',
        'adapters/upgrade.ts',
        'adapters/web-handler.ts',
      ].flatMap((entry) => undocumentedExports(files, entry)),
    {
      'index.ts': "export { type A, b as c } from './a.js'; export * from './b.js';",
      'a.ts': '/** Said. */ export type A = 1;\n// Not TSDoc.\nexport function b() {}',
      'adapters/express.ts': 'export const guard = 1;\nconst inner = 2;\n/** Said. */\nexport class Told {}',
    },
    ['a.ts: b', "index.ts: export * from './b.js';", 'adapters/express.ts: guard'],
  ],
];

describe('the house', () => {
  it.each(RULES)(
    '%s',
    (_promise, rule) => {
      expect(house.size).toBeGreaterThan(0);
      expect(rule(house)).toEqual([]);
    },
    60_000,
  );
});

describe('a broken house is noticed by the rule that it', () => {
  it.each(RULES)('%s', (_promise, rule, broken, said) => {
    expect(rule(new Map(Object.entries(broken)))).toEqual(said);
  });
});

describe('package.json', () => {
  it('exports what tsup builds, one subpath an entry, and nothing else', () => {
    const expected: Record<string, unknown> = { './package.json': './package.json' };
    for (const name of entryNames(tsupConfig).filter((name) => name !== 'command')) {
      expected[name === 'index' ? '.' : `./${name}`] = {
        import: { types: `./dist/${name}.d.ts`, default: `./dist/${name}.js` },
        require: { types: `./dist/${name}.d.cts`, default: `./dist/${name}.cjs` },
      };
    }
    expect(manifest.exports).toEqual(expected);
  });

  it('builds from the index, the adapters, what needs a dependency of its own, and the command only', () => {
    for (const file of Object.values(entriesOf(tsupConfig)))
      expect(file).toMatch(
        /^src\/(index|env\/index|adapters\/[a-z-]+|auth\/jwt\/index|redis|upload\/index|worker\/index|jobs\/index|observe\/metrics\/index|operator\/index|limit\/sqlite\/index|command\/command)\.ts$/,
      );
  });

  it('lets older resolvers find the same core', () => {
    const { import: esm, require: cjs } = manifest.exports['.'];
    expect(manifest).toMatchObject({ main: cjs.default, module: esm.default, types: cjs.types });
  });
});

function entriesOf(config: typeof tsupConfig): Record<string, string> {
  const entry = typeof config === 'function' || Array.isArray(config) ? undefined : config.entry;
  if (entry === undefined || Array.isArray(entry)) throw new Error('tsup.config.ts must name its entries');
  return entry;
}

function entryNames(config: typeof tsupConfig): readonly string[] {
  return Object.keys(entriesOf(config));
}
