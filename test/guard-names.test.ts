import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

// A bundler may rename functions, and metrics and messages show the names of guards. So this looks at the built files.
const DIST = fileURLToPath(new URL('../dist', import.meta.url));
const KEY = 'a-secret-for-the-operator-of-32-bytes';

// biome-ignore lint/suspicious/noExplicitAny: the built modules are loaded without types.
type Loaded = Record<string, any>;
type Load = (entry: string) => Promise<Loaded>;

const FORMATS: Record<string, Load> = {
  'ES modules': (entry) => import(/* @vite-ignore */ `${DIST}/${entry}.js`),
  CommonJS: async (entry) => createRequire(import.meta.url)(`${DIST}/${entry}.cjs`),
};

async function guardsOf(load: Load): Promise<Record<string, { readonly name: string }>> {
  const core = await load('index');
  const { jobs, idempotent, memoryJobStore, memoryIdempotencyStore } = await load('jobs');
  const { upload } = await load('upload');
  const { deadline, worker } = await load('worker');
  const { metricsEndpoint } = await load('metrics');
  const { operatorControls, operatorPage, memoryOperatorStore } = await load('operator');
  const policies = core.slidingWindow({ limit: 10, window: '1m' });
  const ledger = core.memoryLedger();
  const admin = core.authenticate(core.sharedSecret({ secrets: [KEY] }));
  const page = operatorPage({ admin });
  const { status, events, result, cancel } = jobs({ store: memoryJobStore() });
  return {
    authenticate: admin,
    requireScope: core.requireScope('generate'),
    limit: core.limit({ by: 'global', policies }),
    clientIp: core.clientIp(),
    trustedHosts: core.trustedHosts({ hosts: ['example.com'] }),
    cors: core.cors({ origin: 'https://example.com' }),
    securityHeaders: core.securityHeaders(),
    requestId: core.requestId(),
    processTime: core.processTime(),
    accessLog: core.accessLog({ logger: console }),
    audit: core.audit({ sink() {} }),
    problemFormat: core.problemFormat({}),
    reportFaults: core.reportFaults(() => {}),
    protectedResource: core.protectedResource({
      resource: 'https://example.com',
      authorizationServers: ['https://issuer.example.com'],
    }),
    meterUsage: core.meterUsage({ ledger }),
    usageReport: core.usageReport({ ledger }),
    webSocketOrigin: core.webSocketOrigin(),
    status: status(),
    events: events(),
    result: result(),
    cancel: cancel(),
    idempotent: idempotent({ store: memoryIdempotencyStore() }),
    upload: upload({ files: { types: ['image/png'], maxBytes: '1mb' } }),
    deadline: deadline({ max: '1m' }),
    ready: worker({ url: 'http://127.0.0.1:9' }).ready(),
    metricsEndpoint: metricsEndpoint({ register: { metrics: async () => '', contentType: 'text/plain' } }),
    operatorControls: operatorControls({ store: memoryOperatorStore(), sink() {} }),
    operatorPage: page,
    watch: page.watch(),
  };
}

describe('the guards of the built package have the names of their factories', () => {
  it.each(Object.keys(FORMATS))('as %s', async (format) => {
    expect(existsSync(`${DIST}/index.js`), 'There is no dist: run `npm run build`, or `npm test`.').toBe(true);
    const guards = await guardsOf(FORMATS[format] as Load);
    const names = Object.fromEntries(Object.entries(guards).map(([factory, { name }]) => [factory, name]));
    expect(names).toEqual(Object.fromEntries(Object.keys(guards).map((factory) => [factory, factory])));
  });
});
