import { setTimeout as sleep } from 'node:timers/promises';
import { expect, it, onTestFinished } from 'vitest';
import { describeRedis } from '../../redis/describe.js';
import { type SpawnedWorker, spawnWorker, until } from '../../redis/processes.js';
import { prefixesOf, useAnyRedis } from '../../redis/suite.js';
import { type Posted, post } from '../idempotent-scene.js';
import { LEASE, startService } from './idempotent-service.js';

const KILLS = process.env.PROPERTY_RUNS === undefined ? 4 : 200;
/** Requests under way at each kill. */
const KEYS = 12;
/** How much longer than its lease a key may be locked on a machine under load, in milliseconds. */
const SLACK = 3000;
const PROGRAM = new URL('./idempotent-process.ts', import.meta.url);

const freshPrefix = prefixesOf('idempotent');

describeRedis(
  'idempotent, between processes',
  () => {
    const target = useAnyRedis();

    async function here(join: 'process' | 'all') {
      const client = target.client();
      const prefix = freshPrefix();
      const { url, server } = await startService({ client, prefix, join });
      onTestFinished(() => {
        server.closeAllConnections();
        server.close();
      });
      /** Another process of the same service. */
      const spawnOther = async (): Promise<{ worker: SpawnedWorker; url: string }> => {
        const worker = spawnWorker(PROGRAM, { REDIS: target.url, PREFIX: prefix, JOIN: join });
        onTestFinished(() => worker.stop());
        return { worker, url: String(await worker.receive(60_000)) };
      };
      const runsOf = async (path: string) => Number(await client.get(`${prefix}runs:${path}`));
      const allRuns = async () => Number(await client.get(`${prefix}runs`));
      return { url, spawnOther, runsOf, allRuns };
    }

    it.each(['process', 'all'] as const)(
      'three parallel duplicates are one run and one charge, if repeats join %s',
      async (join) => {
        const { url, spawnOther, runsOf } = await here(join);
        const other = await spawnOther();
        const send = (to: string) => post(`${to}/mesh?takes=300`, 'key', 'x');
        const answers = await Promise.all([send(other.url), send(other.url), send(url)]);
        const done = answers.filter(({ status }) => status === 200);
        expect(new Set(done.map(({ text }) => text))).toEqual(new Set(['/mesh run 1']));
        const refused = answers.filter(({ status }) => status !== 200);
        for (const answer of refused) expect(answer).toMatchObject({ status: 409, code: 'idempotency-conflict' });
        if (join === 'all') expect(refused).toEqual([]);
        for (const to of [url, other.url])
          expect(await send(to)).toMatchObject({ text: '/mesh run 1', replayed: true });
        expect(await runsOf('/mesh')).toBe(1);
        // The next request is the second one that is charged.
        const next = await post(`${url}/other?takes=0`, 'key', 'x');
        expect(next.headers.get('ratelimit')).toContain('r=99998');
        await other.worker.stop();
      },
      60_000,
    );

    it(
      `of ${KILLS} processes that are killed, none locks a key for longer than its lease, and no answered request runs again`,
      async () => {
        const { url, spawnOther, runsOf, allRuns } = await here('process');
        let next = spawnOther();
        let rerun = 0;
        for (let kill = 0; kill < KILLS; kill++) {
          const victim = await next;
          if (kill + 1 < KILLS) {
            next = spawnOther();
            // If this test fails before, the process is stopped.
            next.catch(() => undefined);
          }
          const paths = Array.from({ length: KEYS }, (_, i) => `/kill-${kill}-${i}`);
          const answersOf = new Map<string, string[]>(paths.map((path) => [path, []]));
          const ask = async (to: string, path: string): Promise<Posted | undefined> => {
            const answer = await post(`${to}${path}?takes=${path.length % 3 === 0 ? 0 : 100}`, path, 'x').catch(
              () => undefined,
            );
            if (answer?.status === 200) answersOf.get(path)?.push(answer.text);
            return answer;
          };
          const before = await allRuns();
          const asked = paths.flatMap((path, i) => [ask(victim.url, path), ...(i % 4 === 0 ? [ask(url, path)] : [])]);
          const enough = before + 1 + Math.floor(Math.random() * KEYS);
          await until('some requests run', async () => (await allRuns()) >= enough, 30_000);
          await sleep(Math.random() * 60);
          await victim.worker.stop();
          const killedAt = performance.now();
          await Promise.all(asked);
          await Promise.all(
            paths.map(async (path) => {
              for (;;) {
                const answer = await ask(url, path);
                if (answer?.status === 200) return;
                expect([path, answer]).toMatchObject([path, { status: 409, code: 'idempotency-conflict' }]);
                expect(performance.now() - killedAt).toBeLessThan(LEASE + SLACK);
                await sleep(100);
              }
            }),
          );
          for (const path of paths) {
            await ask(url, path);
            const answers = [...new Set(answersOf.get(path))];
            const count = await runsOf(path);
            // Every answer is of the last run: none came after it.
            expect([path, answers]).toEqual([path, [`${path} run ${count}`]]);
            if (count > 1) rerun++;
          }
        }
        // The kills hit requests while they ran.
        if (KILLS >= 50) expect(rerun).toBeGreaterThan(KILLS / 4);
      },
      60_000 + KILLS * 10_000,
    );
  },
  { anyServer: true },
);
