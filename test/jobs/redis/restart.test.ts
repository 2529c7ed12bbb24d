import { expect, it, onTestFinished } from 'vitest';
import { describeRedis } from '../../redis/describe.js';
import { spawnWorker, until } from '../../redis/processes.js';
import { useAnyRedis } from '../../redis/suite.js';
import { startRestartable } from './restart-service.js';

const PROGRAM = new URL('./restart-process.ts', import.meta.url);
const CLIENT = { headers: { 'x-client': 'ann' } };

describeRedis(
  'a gateway with jobs in Redis that is killed and started again',
  () => {
    const target = useAnyRedis();

    it('still has the finished jobs and the queued tasks, and reports the others as lost', async () => {
      const prefix = `restart-${process.pid}:`;
      const killed = spawnWorker(PROGRAM, { REDIS: target.url, PREFIX: prefix });
      onTestFinished(() => killed.stop());
      const before = String(await killed.receive(60_000));
      const ids: Record<string, string> = {};
      for (const name of ['done', 'running', 'waiting', 'task']) {
        const response = await fetch(`${before}/${name}`, { method: 'POST', ...CLIENT });
        expect([name, response.status]).toEqual([name, 202]);
        ids[name] = ((await response.json()) as { id: string }).id;
      }
      const read = async (url: string, name: string) =>
        (await (await fetch(`${url}/jobs/${ids[name]}`, CLIENT)).json()) as {
          status: string;
          error?: { code: string };
        };
      const state = async (url: string, name: string) => (await read(url, name)).status;
      await until('the first jobs have begun', async () => {
        const states = await Promise.all(['done', 'running', 'waiting', 'task'].map((name) => state(before, name)));
        return String(states) === 'succeeded,running,queued,queued';
      });
      await killed.stop();

      const { url, server, queue } = await startRestartable({ client: target.client(), prefix, isBusy: false });
      onTestFinished(async () => {
        await queue.close();
        server.closeAllConnections();
        server.close();
      });
      // It is all there at once.
      expect(await state(url, 'done')).toBe('succeeded');
      const result = await fetch(`${url}/jobs/${ids.done}/result`, CLIENT);
      expect([result.status, await result.json()]).toEqual([200, { faces: 9 }]);
      expect(await state(url, 'task')).toMatch(/queued|running|succeeded/);
      // Nothing is running for ever.
      await until('the lost jobs have failed', async () => (await state(url, 'running')) === 'failed');
      await until('the lost jobs have failed', async () => (await state(url, 'waiting')) === 'failed');
      await until('the task was done', async () => (await state(url, 'task')) === 'succeeded', 20_000);
      const made = await fetch(`${url}/jobs/${ids.task}/result`, CLIENT);
      expect([made.status, await made.json()]).toEqual([200, { made: 7 }]);
      // And it still belongs to its owner.
      const foreign = await fetch(`${url}/jobs/${ids.task}`, { headers: { 'x-client': 'eve' } });
      expect(foreign.status).toBe(404);
    }, 60_000);
  },
  { anyServer: true },
);
