import { rm } from 'node:fs/promises';
import { expect, it, onTestFinished } from 'vitest';
import { describeRedis } from '../redis/describe.js';
import { startRedis } from '../redis/server.js';
import { ENVIRONMENT } from './environment.js';
import { pageText } from './snippets.js';
import { SERVER_FOLDER, started } from './started.js';

describeRedis('two processes of limits-in-redis', () => {
  it('share a limit, as the curl lines show, and end by SIGTERM', { timeout: 30_000 }, async () => {
    const redis = await startRedis();
    const start = () => started('limits-in-redis', { REDIS_URL: redis.url });
    const processes = [await start(), await start()];
    onTestFinished(async () => {
      await Promise.all(processes.map((server) => server.stop()));
      await redis.stop();
      await rm(SERVER_FOLDER, { recursive: true, force: true });
    });
    const [, ports = ''] = /^for port in ([\d ]+); do$/m.exec(pageText('docs/limits-in-redis.md')) ?? [];
    const headers = { Authorization: `Bearer ${ENVIRONMENT.SECRET_KEY}` };
    const answers: number[] = [];
    const ids = new Set<number>();
    for (const port of ports.split(' ')) {
      const response = await fetch(`${processes[Number(port) - 3001]?.origin}/generate`, { method: 'POST', headers });
      answers.push(response.status);
      if (response.ok) ids.add(((await response.json()) as { process: number }).process);
    }
    expect(answers).toEqual([200, 200, 200, 200, 200, 429]);
    expect(ids.size).toBe(2);
    expect(await Promise.all(processes.map((server) => server.stop()))).toEqual([0, 0]);
  });
});
