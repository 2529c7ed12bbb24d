import { Hono } from 'hono';
import { expect, it, onTestFinished } from 'vitest';
import { createGuard, guard } from '../../src/adapters/hono.js';
import { clientIp } from '../../src/index.js';

// Alone in this file, because a process warns only once.
it('warns once if the runtime does not report the address of a client', async () => {
  const warnings: (string | undefined)[] = [];
  const listen = ({ code }: Error & { code?: string }) => warnings.push(code);
  process.on('warning', listen);
  onTestFinished(() => void process.off('warning', listen));
  const answers: unknown[] = [];
  const withAddress = createGuard({ getConnInfo: () => ({ remote: { address: '192.0.2.9' } }) });
  for (const guarded of [withAddress, guard, guard]) {
    const app = new Hono();
    app.use(guarded(clientIp()));
    app.get('/', (context) => context.json(context.var.exchange.clientIp));
    answers.push(await (await app.request('/')).json());
    await new Promise((turn) => setImmediate(turn));
    answers.push(warnings.length);
  }
  const noAddress = { key: 'unix-socket', source: 'socket', reason: 'no-address' };
  expect(answers).toEqual([expect.objectContaining({ ip: '192.0.2.9' }), 0, noAddress, 1, noAddress, 1]);
  expect(warnings).toEqual(['GATEWARDEN_NO_ADDRESS']);
});
