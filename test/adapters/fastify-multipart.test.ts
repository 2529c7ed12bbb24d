import type { AddressInfo } from 'node:net';
import fastify, { type FastifyInstance } from 'fastify';
import { beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { gatewarden, guard } from '../../src/adapters/fastify.js';
import { reportFaults } from '../../src/index.js';
import { upload } from '../../src/upload/index.js';
import { BOUNDARY } from '../upload/multipart.js';
import { uploadCases } from '../upload/upload-cases.js';

describe('Fastify, where others look for the body of an upload', () => {
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

  const ours = async (app: FastifyInstance) => void (await app.register(gatewarden, { guards: [] }));
  const foreign = (type: string | RegExp) => async (app: FastifyInstance) => {
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
    ['ours alone', ours],
    ['ours twice', both(ours, ours)],
    ['a parser for anything before ours', both(foreign('*'), ours)],
    ['a parser for anything after ours', both(ours, foreign('*'))],
    ['a pattern before ours', both(foreign(/^multipart\//), ours)],
  ])('takes it with %s', async (_what, register) => {
    expect(await sent(register)).toEqual({ status: 200, answer: { type: 'image/png', body: 'undefined' }, faults: [] });
  });

  it.each<[string, Register]>([
    ['before ours', both(foreign('multipart/form-data'), ours)],
    ['after ours', both(ours, foreign('multipart/form-data'))],
  ])('answers at once where a parser of the very type reads it, %s', async (_what, register) => {
    const { status, answer } = await sent(register);
    expect([status, answer.message]).toEqual([500, expect.stringMatching(/upload has read this body/)]);
    expect(await sent(register, '/other')).toMatchObject({ status: 200, answer: { body: String(body.length) } });
  });

  it.each<[string, Register]>([
    ['no parser', async () => undefined],
    ['a parser for anything', foreign('*')],
  ])('answers at once where the plugin is missing, with %s', async (_what, register) => {
    const { status, answer, faults } = await sent(register);
    expect([status, answer.code]).toEqual([500, 'internal-error']);
    expect(faults).toEqual([expect.stringMatching(/register the gatewarden plugin/)]);
  });

  it('leaves multipart for routes without upload unsupported', async () => {
    expect((await sent(ours, '/other')).status).toBe(415);
  });
});
