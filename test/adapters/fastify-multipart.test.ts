import type { AddressInfo } from 'node:net';
import fastify, { type FastifyInstance, type FastifyRequest } from 'fastify';
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

  it.each<[string, Register]>([
    ['a parser for anything before the plugin', both(otherParser('*'), plugin)],
    ['a parser for anything after the plugin', both(plugin, otherParser('*'))],
    ['a pattern before the plugin', both(otherParser(/^multipart\//), plugin)],
    ['a pattern after the plugin', both(plugin, otherParser(/^multipart\//))],
    ['a parser for anything, and the plugin twice', both(both(plugin, otherParser('*')), plugin)],
  ])('leaves multipart on routes without upload to %s', async (_what, register) => {
    const answer = { body: String(body.length) };
    expect(await sent(register, '/other')).toEqual({ status: 200, answer, faults: [] });
    expect(await sent(register)).toEqual({ status: 200, answer: { type: 'image/png', body: 'undefined' }, faults: [] });
  });

  it.each<[string, Register]>([
    ['before the plugin', both(async (app) => proxied(app), plugin)],
    ['after the plugin', both(plugin, async (app) => proxied(app))],
  ])('leaves multipart to a proxy that is registered %s', async (_when, register) => {
    expect(await sent(register, '/proxied')).toMatchObject({ status: 200, answer: { bytes: body.length } });
    expect(await sent(register)).toMatchObject({ status: 200, answer: { type: 'image/png' } });
  });

  /** Passes bodies on as streams, in a context of its own, as @fastify/http-proxy does. */
  const proxied = (app: FastifyInstance): PromiseLike<unknown> =>
    app.register(async (proxy) => {
      proxy.addContentTypeParser('*', (_request, payload, done) => done(null, payload));
      proxy.post('/proxied', async (request) => {
        let bytes = 0;
        for await (const chunk of request.body as AsyncIterable<Buffer>) bytes += chunk.length;
        return { bytes };
      });
    });

  const readMediaType: Register = async (app) => {
    app.addHook('onRequest', async (request) => {
      expect(request.mediaType).toBe('multipart/form-data');
    });
  };

  it.each<[string, Register]>([
    ['no other parser', async () => undefined],
    ['no parser at all', async (app) => app.removeAllContentTypeParsers()],
    ['a hook that reads the media type', readMediaType],
  ])('shows an uploaded request with its own headers: %s', async (_what, more) => {
    const seen: unknown[] = [];
    const register = both(plugin, async (app) => {
      await more(app);
      const see = async ({ headers }: FastifyRequest): Promise<void> => {
        seen.push([headers['content-type'], headers['content-length'], headers['transfer-encoding']]);
      };
      app.addHook('preValidation', see).addHook('preHandler', see).addHook('onResponse', see);
    });
    expect(await sent(register)).toMatchObject({ status: 200, answer: { type: 'image/png', body: 'undefined' } });
    const type = `multipart/form-data; boundary=${BOUNDARY}`;
    await expect.poll(() => seen.length).toBe(3);
    expect(seen).toEqual(Array.from({ length: 3 }, () => [type, `${body.length}`, undefined]));
  });

  it('does not support multipart on routes without upload', async () => {
    expect((await sent(plugin, '/other')).status).toBe(415);
  });
});
