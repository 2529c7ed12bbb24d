import type { AddressInfo } from 'node:net';
import fastify, { type FastifyInstance } from 'fastify';
import { beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { gatewarden, guard } from '../../src/adapters/fastify.js';
import { reportFaults } from '../../src/index.js';
import { upload } from '../../src/upload/index.js';
import { BOUNDARY } from '../upload/multipart.js';
import { uploadCases } from '../upload/upload-cases.js';

describe('Fastify with other readers of the body of an upload', () => {
  let body: Buffer;
  beforeAll(async () => {
    body = (await uploadCases()).find(({ what }) => what === 'a PNG')?.body ?? Buffer.alloc(0);
  });

  async function sent(register: (app: FastifyInstance) => Promise<unknown>, url = '/upload') {
    const faults: string[] = [];
    const app = fastify();
    onTestFinished(() => app.close());
    await register(app);
    app.post(
      '/upload',
      {
        onRequest: guard(
          reportFaults((error) => faults.push(String(error))),
          upload({ files: { types: ['image/png'], maxBytes: 1000 } }),
        ),
      },
      (request) => ({ type: request.exchange.upload?.files[0]?.type, body: typeof request.body }),
    );
    app.post('/other', (request) => ({ body: String(request.body) }));
    await app.listen({ port: 0, host: '127.0.0.1' });
    const response = await fetch(`http://127.0.0.1:${(app.server.address() as AddressInfo).port}${url}`, {
      method: 'POST',
      headers: { 'Content-Type': `multipart/form-data; boundary=${BOUNDARY}` },
      body: new Uint8Array(body),
      signal: AbortSignal.timeout(5000),
    });
    return { status: response.status, answer: (await response.json()) as Record<string, unknown>, faults };
  }

  const plugin = async (app: FastifyInstance) => void (await app.register(gatewarden, { guards: [] }));
  const otherParser = (type: string | RegExp) => async (app: FastifyInstance) => {
    app.addContentTypeParser(type, { parseAs: 'buffer' }, (_request, bytes, parsed) => parsed(null, bytes.length));
  };

  type Register = (app: FastifyInstance) => Promise<unknown>;
  const both =
    (first: Register, second: Register): Register =>
    async (app) => {
      await first(app);
      await second(app);
    };

  it.each<[string, Register]>([
    ['the plugin alone', plugin],
    ['the plugin twice', both(plugin, plugin)],
    ['a parser for anything before the plugin', both(otherParser('*'), plugin)],
    ['a parser for anything after the plugin', both(plugin, otherParser('*'))],
    ['a pattern before the plugin', both(otherParser(/^multipart\//), plugin)],
  ])('accepts an upload with %s', async (_what, register) => {
    expect(await sent(register)).toEqual({ status: 200, answer: { type: 'image/png', body: 'undefined' }, faults: [] });
  });

  it.each<[string, Register]>([
    ['before the plugin', both(otherParser('multipart/form-data'), plugin)],
    ['after the plugin', both(plugin, otherParser('multipart/form-data'))],
  ])('answers immediately if a parser for multipart/form-data wants the body, %s', async (_what, register) => {
    const { status, answer } = await sent(register);
    expect([status, answer.message]).toEqual([500, expect.stringMatching(/upload has read this body/)]);
    expect(await sent(register, '/other')).toMatchObject({ status: 200, answer: { body: String(body.length) } });
  });

  it.each<[string, Register]>([
    ['no parser', async () => undefined],
    ['a parser for anything', otherParser('*')],
  ])('answers immediately if the plugin is missing, with %s', async (_what, register) => {
    const { status, answer, faults } = await sent(register);
    expect([status, answer.code]).toEqual([500, 'internal-error']);
    expect(faults).toEqual([expect.stringMatching(/register the gatewarden plugin/)]);
  });

  it('does not support multipart on routes without upload', async () => {
    expect((await sent(plugin, '/other')).status).toBe(415);
  });
});
