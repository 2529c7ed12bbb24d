import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import express from 'express';
import {
  apiKeyRecord,
  apiKeys,
  authenticate,
  clientIp,
  concurrency,
  gpuTime,
  limit,
  memoryStore,
  principalOf,
  requestId,
  requireScope,
  sequence,
  slidingWindow,
} from 'gatewarden';
import { guard, sendReply } from 'gatewarden/express';
import { jobs, memoryJobStore } from 'gatewarden/jobs';
import { memoryOperatorStore, type OperatorRecord, operatorControls, operatorPage } from 'gatewarden/operator';

export const ADMIN_KEY = 'c4n4ry-of-the-operator-0123456789';
/** A client that would run a script in a page that writes markup. */
export const EVIL_CLIENT = '<img src=x onerror="document.title=1;window.harmed=true">';
export const CLIENTS = ['alice', 'bob', 'carol', EVIL_CLIENT];
export const keyOf = (client: string) => `c4n4ry-of-${CLIENTS.indexOf(client)}-0123456789-0123456789`;

export interface DeskService {
  readonly origin: string;
  readonly records: readonly OperatorRecord[];
  /** Whether its worker says that it is up. */
  setWorker(isUp: boolean): void;
  /** Sends one request of a client. */
  request(client: string, milliseconds: number): Promise<Response>;
  /** Submits one job of a client. */
  submit(client: string, milliseconds: number): Promise<Response>;
  /** Stops listening and cuts all connections. */
  stop(): Promise<void>;
}

/** A service with a limit, slots, a queue, jobs and the operator page, whose GPU only waits. */
export async function startDeskService(port = 0): Promise<DeskService> {
  const keys = [
    ...CLIENTS.map((clientId) => apiKeyRecord(keyOf(clientId), { clientId })),
    apiKeyRecord(ADMIN_KEY, { clientId: 'olga', scopes: ['admin'] }),
  ];
  const entrance = authenticate(apiKeys({ keys }));
  const store = memoryStore();
  const jobStore = memoryJobStore();
  const records: OperatorRecord[] = [];
  let workerIsUp = true;
  const perMinute = limit({
    store,
    by: 'principal',
    policies: slidingWindow({ limit: 20, window: '1m', name: 'per-minute' }),
  });
  const slots = concurrency({ limit: 2, by: 'global', name: 'gpu-slots' });
  const gpu = gpuTime({ limit: '10m', window: 'day', estimate: '1s', by: 'principal', name: 'gpu-seconds' });
  const forGpu = limit({
    store,
    policies: [slots, gpu],
    by: 'principal',
    queue: { maxWait: '20s', maxWaiting: 8, by: 'principal' },
  });
  const controls = operatorControls({
    store: memoryOperatorStore(),
    limits: { requests: perMinute, gpu: forGpu },
    jobs: jobStore,
    sink: (record) => records.push(record),
  });
  const desk = operatorPage({
    admin: sequence(entrance, requireScope('admin')),
    name: 'Example service',
    controls,
    timeLimits: ['gpu-seconds'],
    slots: [limit({ store, by: 'global', policies: slots })],
    jobs: jobStore,
    health: {
      worker: () => ({ isUp: workerIsUp, detail: workerIsUp ? undefined : 'no answer for 12 s' }),
      Redis: () => ({ isUp: true }),
    },
  });
  const queue = jobs({ store: jobStore });
  const app = express();
  app.use(guard(desk.watch(), requestId(), clientIp(), desk));
  app.post('/generate/:ms', guard(entrance, controls, perMinute, forGpu), async (req, res) => {
    await sleep(Number(req.params.ms));
    res.json({ made: true, for: principalOf(req.exchange).id });
  });
  app.post('/jobs/:ms', guard(entrance, controls, perMinute), async (req, res) => {
    const ms = Number(req.params.ms);
    const reply = await queue.respond(req.exchange, {
      guards: [forGpu],
      run: async (job) => {
        for (let i = 1; i <= 10; i++) {
          await sleep(ms / 10, undefined, { signal: job.signal });
          job.progress(i / 10);
        }
        return { made: true };
      },
    });
    sendReply(req, res, reply);
  });
  const server: Server = app.listen(port, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const post = (client: string, path: string) =>
    fetch(`${origin}${path}`, { method: 'POST', headers: { Authorization: `Bearer ${keyOf(client)}` } });
  return {
    origin,
    records,
    setWorker: (isUp) => {
      workerIsUp = isUp;
    },
    request: (client, ms) => post(client, `/generate/${ms}`),
    submit: (client, ms) => post(client, `/jobs/${ms}`),
    async stop() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
      await queue.close();
    },
  };
}
