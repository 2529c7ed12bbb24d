import { Hono } from 'hono';
import { expect, it, onTestFinished } from 'vitest';
import { createGuard, guard } from '../../src/adapters/hono.js';
import { clientIp } from '../../src/index.js';

// Alone in this file: the warning comes once in a process.
it('warns once where no runtime tells who is calling', async () => {
  const warnings: (string | undefined)[] = [];
  const listen = ({ code }: Error & { code?: string }) => warnings.push(code);
  process.on('warning', listen);
  onTestFinished(() => void process.off('warning', listen));
  const answers: unknown[] = [];
  const known = createGuard({ getConnInfo: () => ({ remote: { address: '192.0.2.9' } }) });
  for (const guarded of [known, guard, guard]) {
    const app = new Hono();
    app.use(guarded(clientIp()));
    app.get('/', (context) => context.json(context.var.exchange.clientIp));
    answers.push(await (await app.request('/')).json());
    await new Promise((turn) => setImmediate(turn));
    answers.push(warnings.length);
  }
  const nobody = { key: 'unix-socket', source: 'socket', reason: 'no-address' };
  expect(answers).toEqual([expect.objectContaining({ ip: '192.0.2.9' }), 0, nobody, 1, nobody, 1]);
  expect(warnings).toEqual(['GATEWARDEN_NO_ADDRESS']);
});
