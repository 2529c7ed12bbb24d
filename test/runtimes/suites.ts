import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from './runtimes.js';

/** One row of the table: what its tests are about, and their files. */
export interface Suite {
  readonly name: string;
  readonly files: readonly string[];
}

/** The files of a folder of test, by path below the root of the repository. */
function below(folder: string, but: readonly string[] = []): readonly string[] {
  return readdirSync(join(ROOT, 'test', folder))
    .filter((name) => name.endsWith('.test.ts') && !but.includes(name))
    .sort()
    .map((name) => `test/${folder}/${name}`);
}

/** Some files of a folder: the others are about Node, or take minutes. */
function only(folder: string, names: readonly string[]): readonly string[] {
  return names.map((name) => `test/${folder}/${name}.test.ts`);
}

export const SUITES: readonly Suite[] = [
  { name: 'Core', files: below('core') },
  { name: 'Edge', files: below('edge', ['cors-warnings.test.ts']) },
  { name: 'Client address', files: below('client-ip') },
  { name: 'Observing', files: below('observe', ['http2.test.ts']) },
  { name: 'Keys, secrets and scopes', files: [...below('auth'), ...below('auth/api-keys', ['api-key-cases.test.ts'])] },
  { name: 'JWT', files: below('auth/jwt') },
  { name: 'Signed requests', files: below('auth/signed-request') },
  { name: 'Settings', files: below('env') },
  {
    name: 'Limits in memory',
    files: [
      ...below('limit'),
      ...below('limit/memory', ['forgetting.property.test.ts', 'full-store.test.ts', 'store-clock.test.ts']),
    ],
  },
  { name: 'Handlers of the web', files: ['test/adapters/web.test.ts', 'test/adapters/web-contract.test.ts'] },
  {
    name: 'Hono',
    files: ['test/adapters/hono.test.ts', 'test/adapters/hono-address.test.ts', 'test/adapters/route-pattern.test.ts'],
  },
  {
    name: 'Uploads',
    files: only('upload', ['boundary', 'image-header', 'malformed-parts', 'options', 'parts', 'reasons', 'upload']),
  },
  { name: 'Jobs and idempotency in memory', files: only('jobs', ['idempotency-store', 'memory-job-store']) },
  { name: 'The worker', files: only('worker', ['answers', 'jobs-of-exchange', 'ready']) },
  {
    name: 'Ledger and operator in memory',
    files: [...only('observe/usage', ['memory-ledger']), ...only('operator', ['memory-operator-store'])],
  },
  { name: 'The queue in memory', files: below('limit/queue') },
];

/** Files that count timers, or warnings that appear once, which others may have left behind or caused. */
export const ALONE: readonly string[] = [
  'test/adapters/hono-address.test.ts',
  'test/limit/holds.test.ts',
  'test/limit/holds.property.test.ts',
  'test/limit/queue/limit-queue.test.ts',
];
