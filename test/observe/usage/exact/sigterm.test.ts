import { mkdtemp, rm } from 'node:fs/promises';
import { Agent, request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { memoryLedger } from '../../../../src/observe/usage/memory-ledger.js';
import { spawnWorker } from '../../../redis/processes.js';

const PROCESS = new URL('sigterm-process.ts', import.meta.url);
const CLIENTS = ['ada', 'bob', 'stranger'] as const;

it('memoryLedger loses nothing at SIGTERM, over three starts under load', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'gatewarden-sigterm-'));
  const file = join(folder, 'usage.json');
  onTestFinished(() => rm(folder, { recursive: true }));
  const answered = { ada: 0, bob: 0, stranger: 0 };
  let bytes = 0;

  for (let start = 0; start < 3; start++) {
    const gateway = spawnWorker(PROCESS, { USAGE_FILE: file });
    onTestFinished(() => gateway.stop());
    const port = Number(await gateway.receive(60_000));
    const agent = new Agent({ keepAlive: true, maxSockets: 8 });
    let isOver = false;
    const ask = (client: keyof typeof answered) =>
      new Promise<void>((resolve) => {
        const outgoing = request({ port, path: '/job', agent, headers: { 'X-Client': client } }, (response) => {
          response.resume();
          response.on('end', () => {
            answered[client]++;
            resolve();
          });
        });
        // The server accepts no more, or has closed an idle connection.
        outgoing.on('error', () => resolve());
        outgoing.end();
      });
    const load = Array.from({ length: 8 }, async (_, i) => {
      for (let n = i; !isOver; n++) await ask(CLIENTS[n % 3] as keyof typeof answered);
    });
    await expect.poll(() => answered.bob, { timeout: 20_000 }).toBeGreaterThan(20 * (start + 1));
    process.kill(gateway.pid, 'SIGTERM');
    // What is under way is answered. A connection that is kept alive would keep the server open.
    isOver = true;
    await Promise.all(load);
    agent.destroy();
    expect(await gateway.exit).toBe(0);

    const { rows } = memoryLedger({ file }).read({ sort: 'client' });
    expect(rows.map(({ client, requests, gpuTime }) => ({ client, requests, gpuTime }))).toEqual([
      { client: 'ada', requests: answered.ada, gpuTime: 7 * answered.ada },
      { client: 'anonymous', requests: answered.stranger, gpuTime: 0 },
      { client: 'bob', requests: answered.bob, gpuTime: 7 * answered.bob },
    ]);
    expect(rows[1]?.refusals).toEqual({ 'credentials-invalid': answered.stranger });
    const sent = rows.reduce((sum, { bytesOut }) => sum + bytesOut, 0);
    expect(sent).toBeGreaterThan(bytes);
    bytes = sent;
  }
  process.stdout.write(`usage: SIGTERM three times, ${JSON.stringify(answered)} answered, all of them in the ledger\n`);
}, 120_000);
