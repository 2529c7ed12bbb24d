import { once } from 'node:events';
import { connect } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { fastify } from 'fastify';
import { expect, it, onTestFinished } from 'vitest';
import { gatewarden } from '../../src/adapters/fastify.js';
import { type AuditRecord, accessLog, audit, authenticate, sharedSecret } from '../../src/index.js';

/** Over HTTP/2, a path may contain any byte above 0x7f. Over HTTP/1, Node refuses the request. */
it('audit and accessLog write no raw control character of a path over HTTP/2', async () => {
  const records: AuditRecord[] = [];
  const paths: unknown[] = [];
  const log = (fields: object) => paths.push((fields as { path?: unknown }).path);
  const app = fastify({ http2: true });
  await app.register(gatewarden, {
    guards: [
      accessLog({ logger: { info: log, warn: log, error: log } }),
      audit({ sink: (record) => records.push(record) }),
      authenticate(sharedSecret({ secrets: ['a-secret-for-the-http2-log-tests-0123'] })),
    ],
  });
  await app.listen({ port: 0, host: '127.0.0.1' });
  const session = connect(`http://127.0.0.1:${(app.server.address() as AddressInfo).port}`);
  onTestFinished(async () => {
    session.destroy();
    await app.close();
  });
  const stream = session.request({ ':path': '/a\u009b31m\u0085b\u008dc?\u009b' });
  stream.resume();
  const [head] = await once(stream, 'response');
  await once(stream, 'close');
  expect(head[':status']).toBe(401);
  expect(records.map(({ path }) => path)).toEqual(['/a?31m?b?c']);
  await expect.poll(() => paths).toEqual(['/a?31m?b?c']);
});
