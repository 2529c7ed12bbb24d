import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it, onTestFinished, vi } from 'vitest';
import { slidingWindow } from '../../src/limit/policy.js';
import type { RedisStore } from '../../src/redis.js';
import { describeRedis } from '../redis/describe.js';
import { useRedis } from '../redis/suite.js';
import { FOLDER, fileOf, moduleOf, SNIPPETS } from './snippets.js';

const OWN = join(FOLDER, `redis-clients-${process.pid}`);
const SHOWN = SNIPPETS.filter(({ context }) => context === 'with-redis');

describeRedis('a client that the documentation shows', () => {
  const server = useRedis();
  beforeAll(async () => {
    await mkdir(OWN, { recursive: true });
  });
  afterAll(async () => {
    await rm(OWN, { recursive: true, force: true });
  });

  it.each(SHOWN)('counts, and closes: $place', async (snippet) => {
    vi.stubEnv('REDIS_URL', server.url);
    const file = join(OWN, fileOf(snippet));
    await writeFile(file, `${moduleOf(snippet)}\nexport { client, store };\n`);
    const { client, store }: { client: { close(): unknown }; store: RedisStore } = await import(
      /* @vite-ignore */ file
    );
    onTestFinished(async () => {
      store.close();
      await client.close();
    });
    const policies = [slidingWindow({ limit: 2, window: '1m' })];
    const kinds: string[] = [];
    for (let i = 0; i < 3; i++) kinds.push((await store.admit(policies, [snippet.place], [1])).kind);
    expect(kinds).toEqual(['admitted', 'admitted', 'refused']);
  });

  it('is one of each package besides ioredis', () => {
    const packages = SHOWN.map(({ code }) => /from '([^']+)'/.exec(code)?.[1]);
    expect(packages).toEqual(['redis', '@valkey/valkey-glide']);
  });
});
