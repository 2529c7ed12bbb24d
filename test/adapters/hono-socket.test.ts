import { Socket } from 'node:net';
import { Hono } from 'hono';
import { expect, it } from 'vitest';
import { guard } from '../../src/adapters/hono.js';
import type { Outcome } from '../../src/index.js';

/** An application as `@hono/node-server` calls it for a handshake: with a request of Node, but without a response. */
function application() {
  const outcomes: Outcome[] = [];
  const app = new Hono();
  let calls = 0;
  app.use(guard((exchange) => void exchange.onEnd((outcome) => outcomes.push(outcome))));
  app.get('/', (context) => {
    calls++;
    return context.json(context.var.exchange.request.remoteAddress);
  });
  const ask = (path: string, socket: object) => app.request(path, {}, { incoming: { socket } });
  return { ask, outcomes, calls: () => calls };
}

it('the exchange of Hono ends with its response if the platform has a plain object for a socket', async () => {
  const { ask, outcomes } = application();
  const response = await ask('/', { remoteAddress: '192.0.2.7' });
  expect([await response.json(), outcomes]).toEqual(['192.0.2.7', [{ kind: 'completed', status: 200 }]]);
});

it('the exchange of a handshake lasts as long as its socket, unless it is answered with a refusal', async () => {
  const { ask, outcomes } = application();
  const socket = new Socket();
  await ask('/', socket);
  await ask('/missing', socket);
  expect(outcomes).toEqual([{ kind: 'completed', status: 404 }]);
  socket.destroy();
  await expect.poll(() => outcomes).toEqual([{ kind: 'completed', status: 404 }, { kind: 'aborted' }]);
});

it('a handshake whose client has left reaches no handler', async () => {
  const { ask, outcomes, calls } = application();
  await ask('/', new Socket().destroy());
  expect([outcomes, calls()]).toEqual([[], 0]);
});
