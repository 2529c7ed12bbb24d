import { once } from 'node:events';
import type { Server, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import sharp from 'sharp';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { createGateway } from '../../examples/sam-service/gateway.js';
import { readSettings } from '../../examples/sam-service/settings.js';
import { textLogger } from '../../examples/text-logger.js';
import { createSamStandIn } from '../../examples/workers/sam-stand-in.js';
import { components, otsu } from '../../examples/workers/segmentation.js';
import { wasIssued } from '../canary.js';
import { describeRedis } from '../redis/describe.js';
import { startRedis } from '../redis/server.js';
import { contractWorker } from './contract-worker.js';
import { rawRequest } from './raw-host.js';

const KEY = 'c4n4ry-key-of-client-one';
const ENV = {
  API_KEYS: `${KEY}:client1:100, c4n4ry-key-of-client-two:client2:2`,
  ADMIN_API_KEY: 'c4n4ry-key-of-the-admin',
  JWT_SECRET: 'c4n4ry-jwt-secret-0123456789-0123456789',
  AUTH_USERS: 'alice:wonderland',
};

/** Three bright squares on a dark, noisy background. One touches the edge. */
let photograph: Buffer;
beforeAll(async () => {
  const [width, height] = [120, 80];
  const pixels = Buffer.alloc(width * height * 3);
  const square = (left: number, top: number, size: number, value: number) => {
    for (let y = top; y < top + size; y++) {
      for (let x = left; x < left + size; x++) pixels.fill(value, (y * width + x) * 3, (y * width + x) * 3 + 3);
    }
  };
  for (let i = 0; i < pixels.length; i++) pixels[i] = 20 + ((i * 7) % 15);
  square(10, 10, 20, 200);
  square(50, 20, 30, 240);
  square(100, 0, 20, 180);
  photograph = await sharp(pixels, { raw: { width, height, channels: 3 } })
    .png()
    .toBuffer();
});

const closers: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

async function start(
  env: Readonly<Record<string, string>> = {},
  worker: Server = createSamStandIn({ log: () => undefined }),
  now?: () => number,
) {
  let printed = '';
  worker.listen(0, '127.0.0.1');
  await once(worker, 'listening');
  closers.push(async () => {
    worker.closeAllConnections();
    await new Promise((closed) => worker.close(closed));
  });
  const app = await createGateway(
    readSettings({ ...ENV, ...env }),
    `http://127.0.0.1:${(worker.address() as AddressInfo).port}`,
    textLogger((line) => {
      printed += line;
    }),
    now,
  );
  const origin = await app.listen({ host: '127.0.0.1', port: 0 });
  closers.push(() => app.close());
  return {
    origin,
    printed: () => printed,
    async admin(path: string, headers: Record<string, string> = { 'X-API-Key': ENV.ADMIN_API_KEY }) {
      return read(await fetch(`${origin}/admin/${path}`, { headers }));
    },
    file(
      body: Buffer | undefined,
      fields: Readonly<Record<string, string>> = {},
      headers: Record<string, string> = { 'X-API-Key': KEY },
    ) {
      const form = new FormData();
      if (body !== undefined) form.append('file', new Blob([new Uint8Array(body)]), 'photo.jpg');
      for (const [name, value] of Object.entries(fields)) form.append(name, value);
      return fetch(`${origin}/segment_file`, { method: 'POST', body: form, headers });
    },
    json(path: string, body: object, headers: Record<string, string> = { 'X-API-Key': KEY }) {
      return fetch(`${origin}${path}`, {
        method: 'POST',
        body: JSON.stringify(body),
        headers: { 'Content-Type': 'application/json', ...headers },
      });
    },
  };
}

const read = async (response: Response) => [response.status, await response.json()] as const;

describe('the stand-in worker', () => {
  it('separates dark from bright', () => {
    expect(otsu(Uint8Array.from([10, 12, 11, 200, 210, 205]))).toBe(12);
  });

  it('finds connected regions, but does not connect opposite edges', () => {
    const [width, height] = [4, 3];
    const image = Uint8Array.from([9, 0, 0, 9, 0, 0, 0, 9, 9, 9, 0, 0]);
    const found = components(image, width, height, 5).map(({ pixels }) => [...pixels].sort((a, b) => a - b));
    expect(found).toEqual([[0], [3, 7], [8, 9]]);
  });
});

describe('/segment_file', () => {
  it('finds the masks of an image', async () => {
    const { file } = await start();
    const [status, body] = (await read(await file(photograph))) as [
      number,
      Record<string, unknown> & { masks: { image: string }[] },
    ];
    expect(status).toBe(200);
    expect(body).toMatchObject({
      success: true,
      num_masks: 3,
      original_count: 3,
      filters_applied: {},
      processing_time: expect.any(Number),
      summary_statistics: { total_area: 900 + 400 + 400 },
    });
    expect(body.masks[0]).toMatchObject({
      id: 1,
      area: 900,
      bbox: [50, 20, 30, 30],
      stability_score: 1,
      pixel_stats: { mean: 240, std: 0, min: 240, max: 240 },
    });
    const png = Buffer.from(body.masks[0]?.image.replace('data:image/png;base64,', '') ?? '', 'base64');
    const { data, info } = await sharp(png).extractChannel(0).raw().toBuffer({ resolveWithObject: true });
    expect([info.width, info.height, data.filter((value) => value === 255).length]).toEqual([120, 80, 900]);
  });

  it.each<[string, object, number]>([
    ['mean_min', { mean_min: 190 }, 2],
    ['mean_max', { mean_max: 190 }, 1],
    ['area_min', { area_min: 500 }, 1],
    ['area_max', { area_max: 500 }, 2],
    ['std_max', { std_max: 0 }, 3],
    ['std_min', { std_min: 1 }, 0],
    ['exclude_edge_touching', { exclude_edge_touching: true }, 2],
    ['min_edge_distance', { min_edge_distance: 15 }, 1],
    ['several filters', { mean_min: 190, area_max: 500, exclude_edge_touching: true }, 1],
  ])('applies the filter %s', async (_name, filters, count) => {
    const { file } = await start();
    const answer = (await (await file(photograph, { filters: JSON.stringify(filters) })).json()) as object;
    expect(answer).toMatchObject({ num_masks: count, original_count: 3, filters_applied: filters });
  });

  it('applies the requested preprocessing', async () => {
    const { file } = await start();
    const answer = (await (await file(photograph, { preprocessing: '{"blur": 3}' })).json()) as {
      masks: { pixel_stats: { std: number } }[];
    };
    expect(answer.masks[0]?.pixel_stats.std).toBeGreaterThan(0);
  });

  it.each<[string, () => Buffer | undefined, Record<string, string>, number, string | RegExp]>([
    ['no file', () => undefined, { filters: '{}' }, 400, 'No file provided'],
    ['text instead of an image', () => Buffer.from('no image'), {}, 400, 'Invalid file type: unknown'],
    [
      'a GIF',
      () => Buffer.from('GIF89a\x01\0\x01\0\0\0\0,\0\0\0\0\x01\0\x01\0\0\x02\x01\0\0;', 'latin1'),
      {},
      400,
      'Invalid file type: image/gif',
    ],
    ['an incomplete image', () => photograph.subarray(0, photograph.length - 60), {}, 400, 'Invalid image file'],
    [
      'a file that is too large',
      () => Buffer.concat([photograph, Buffer.alloc(1_100_000)]),
      {},
      400,
      'File too large (max 1MB)',
    ],
    ['filters that are not JSON', () => photograph, { filters: '{' }, 400, /^Invalid filters/],
    ['an unknown filter', () => photograph, { filters: '{"colour":"red"}' }, 400, /^Invalid filters.*colour/],
    [
      'a filter with a value of the wrong type',
      () => photograph,
      { filters: '{"mean_min":"high"}' },
      400,
      /^Invalid filters: mean_min/,
    ],
  ])('refuses %s', async (_what, body, fields, status, error) => {
    const { file } = await start({ MAX_FILE_SIZE_MB: '1' });
    const [got, answer] = (await read(await file(body(), fields))) as [number, { error: string }];
    expect(got).toBe(status);
    expect(answer.error).toMatch(error);
  });

  it.each<[string, () => FormData | string | undefined]>([
    ['no body', () => undefined],
    ['a form without files', () => new URLSearchParams({ a: '1' }).toString()],
    ['JSON', () => '{"file": "a.jpg"}'],
    [
      'a file in another field',
      () => {
        const form = new FormData();
        form.append('image', new Blob([new Uint8Array(photograph)]), 'a.png');
        return form;
      },
    ],
  ])('reports a missing file for %s', async (_what, body) => {
    const { origin } = await start();
    const request = { method: 'POST', headers: { 'X-API-Key': KEY }, body: body() ?? null } as RequestInit;
    expect(await read(await fetch(`${origin}/segment_file`, request))).toEqual([400, { error: 'No file provided' }]);
  });

  it.each<[string, Record<string, string>, number, string]>([
    ['no key', {}, 401, 'API key required'],
    ['an unknown key', { 'X-API-Key': 'c4n4ry-of-an-unknown-client' }, 401, 'Invalid API key'],
    ['a bad token', { Authorization: 'Bearer eyJhbGciOiJIUzI1NiJ9.e30.AAAA' }, 401, 'Invalid token'],
    ['a header for a token that is empty', { Authorization: '' }, 401, 'Token required'],
    ['another scheme than Bearer', { Authorization: 'Basic YTpi' }, 401, 'Token required'],
    ['Bearer without a token', { Authorization: 'Bearer' }, 401, 'Invalid token'],
    [
      'an unknown key next to another scheme',
      { Authorization: 'Basic YTpi', 'X-API-Key': 'c4n4ry-1' },
      401,
      'Invalid API key',
    ],
  ])('refuses %s before it reads the file', async (_what, headers, status, error) => {
    const { file } = await start();
    expect(await read(await file(photograph, {}, headers))).toEqual([status, { error }]);
  });

  it('limits each key by its own number of requests per hour, and refunds a refused upload', async () => {
    const { file } = await start();
    const two = { 'X-API-Key': 'c4n4ry-key-of-client-two' };
    for (let i = 0; i < 2; i++) expect((await file(Buffer.from('no image'), {}, two)).status).toBe(400);
    expect([(await file(photograph, {}, two)).status, (await file(photograph, {}, two)).status]).toEqual([200, 200]);
    const refused = await file(photograph, {}, two);
    expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(3000);
    expect(await read(refused)).toEqual([429, { error: 'Rate limit exceeded: 2 per 1 hour' }]);
    expect((await file(photograph)).headers.get('x-ratelimit-limit')).toBe('100');
  });

  it('admits anonymous callers if they are allowed, up to the default limit', async () => {
    const { file } = await start({ ALLOW_ANONYMOUS: 'true', DEFAULT_RATE_LIMIT: '1' });
    expect([(await file(photograph, {}, {})).status, (await file(photograph, {}, {})).status]).toEqual([200, 429]);
    expect((await file(photograph)).status).toBe(200);
  });

  it('responds with 503 while the worker fails, and refunds the charge', async () => {
    const { file } = await start(
      {},
      contractWorker((_request, response) => void response.writeHead(500).end()),
    );
    const answer = await file(photograph);
    expect([answer.status, answer.headers.get('retry-after')]).toEqual([503, '5']);
    expect((await file(photograph)).headers.get('x-ratelimit-remaining')).toBe('99');
  });

  it.each<[string, (response: ServerResponse) => void]>([
    ['never responds', () => {}],
    ['starts a response but never ends it', (response) => void response.writeHead(200).write('{"masks": [')],
  ])('responds with 503 if the worker %s within its time', async (_what, answer) => {
    const { file } = await start(
      { MAX_GPU_TIME_SECONDS: '1' },
      contractWorker((_request, response) => answer(response)),
    );
    const late = await file(photograph);
    expect([late.headers.get('retry-after'), ...(await read(late))]).toEqual([
      '5',
      503,
      { error: 'Segmentation is not available' },
    ]);
  });

  it('limits the GPU seconds of a client in a day, and the jobs at the same time', async () => {
    const { file } = await start(
      { GPU_SECONDS_PER_DAY: '3', MAX_WAIT_SECONDS: '0' },
      createSamStandIn({ seconds: 1, log: () => undefined }),
    );
    const [first, busy] = await Promise.all([file(photograph), file(photograph)]);
    expect([first?.status, busy?.status].sort()).toEqual([200, 503]);
    expect((await file(photograph)).status).toBe(200);
    const spent = await file(photograph);
    expect(await read(spent)).toEqual([429, { error: 'Rate limit exceeded: 3 GPU seconds per day' }]);
    expect((await file(photograph, {}, { 'X-API-Key': 'c4n4ry-key-of-client-two' })).status).toBe(200);
  });
});

describe('a service whose worker is busy', () => {
  it('lets images wait, and answers in its own words if that takes too long', async () => {
    const { file } = await start(
      { MAX_WAIT_SECONDS: '2', MAX_WAITING: '1' },
      createSamStandIn({ seconds: 0.5, log: () => undefined }),
    );
    const answers = await Promise.all([file(photograph), file(photograph), file(photograph)]);
    expect(answers.map(({ status }) => status).sort()).toEqual([200, 200, 503]);
    const refused = answers.find(({ status }) => status === 503) as Response;
    expect(await refused.json()).toEqual({ error: 'Segmentation is not available' });
    expect(Number(refused.headers.get('Retry-After'))).toBeGreaterThan(0);
  });
});

describe('/segment', () => {
  it.each([
    ['base64', () => photograph.toString('base64')],
    ['a data URL', () => `data:image/png;base64,${photograph.toString('base64')}`],
  ])('accepts an image as %s', async (_how, image) => {
    const { json } = await start();
    const [status, body] = await read(await json('/segment', { image: image(), filters: { area_min: 500 } }));
    expect([status, body]).toMatchObject([
      200,
      { num_masks: 1, original_count: 3, filters_applied: { area_min: 500 } },
    ]);
  });

  it.each<[string, object, string | RegExp]>([
    ['no image', {}, /^Invalid body: image/],
    ['text that is not base64', { image: 'a photograph' }, 'Invalid upload: the image is not valid base64'],
    ['base64 of text', { image: Buffer.from('no image').toString('base64') }, 'Invalid file type: unknown'],
    ['an unknown field', { image: '', more: 1 }, /^Invalid body/],
  ])('refuses %s', async (_what, body, error) => {
    const { json } = await start();
    const [status, answer] = (await read(await json('/segment', body))) as [number, { error: string }];
    expect(status).toBe(400);
    expect(answer.error).toMatch(error);
  });

  it('refunds a refused image', async () => {
    const { json } = await start();
    const two = { 'X-API-Key': 'c4n4ry-key-of-client-two' };
    for (let i = 0; i < 2; i++) expect((await json('/segment', { image: 'AAAA' }, two)).status).toBe(400);
    expect((await json('/segment', { image: photograph.toString('base64') }, two)).status).toBe(200);
  });
});

describe('/admin', () => {
  const NO_MASKS = JSON.stringify({ width: 120, height: 80, masks: [] });
  const two = { 'X-API-Key': 'c4n4ry-key-of-client-two' };
  const image = () => ({ image: photograph.toString('base64') });

  it('reports the usage of each client by name, with failed requests but without refused ones', async () => {
    let time = 0;
    // Each request takes some time, and every second response is a failure.
    let answers = 0;
    const worker = contractWorker((request, response) => {
      request.resume().once('end', () => {
        time += 1250.25;
        answers++;
        response.writeHead(answers % 2 === 0 ? 500 : 200, { 'X-GPU-Seconds': '1.25025' }).end(NO_MASKS);
      });
    });
    const { file, json, admin } = await start({ ALLOW_ANONYMOUS: 'true' }, worker, () => time);
    const { token } = (await (await json('/auth/token', { username: 'alice', password: 'wonderland' }, {})).json()) as {
      token: string;
    };
    wasIssued(token);
    const statuses: number[] = [];
    for (const response of [
      () => file(photograph),
      () => json('/segment', image()),
      () => file(Buffer.from('no image')),
      () => json('/segment', image(), two),
      () => json('/segment', { image: 1 }, two),
      () => json('/segment', image(), two),
      () => file(photograph, {}, { 'X-API-Key': 'c4n4ry-of-an-unknown-client' }),
      () => file(photograph, {}, {}),
      () => file(photograph, {}, { Authorization: `Bearer ${token}` }),
    ]) {
      statuses.push((await response()).status);
    }
    expect(statuses).toEqual([200, 503, 400, 200, 400, 429, 401, 503, 200]);
    expect(await admin('usage')).toEqual([
      200,
      {
        // Each job is rounded up to milliseconds.
        client1: { requests: 3, gpu_time: 2.502 },
        client2: { requests: 2, gpu_time: 1.251 },
        anonymous: { requests: 1, gpu_time: 1.251 },
        alice: { requests: 1, gpu_time: 1.251 },
      },
    ]);
  });

  it('accepts __proto__ as the name of a client', async () => {
    const { file, origin } = await start({ API_KEYS: `${KEY}:__proto__:100` });
    expect((await file(photograph)).status).toBe(200);
    const usage = await fetch(`${origin}/admin/usage`, { headers: { 'X-API-Key': ENV.ADMIN_API_KEY } });
    expect(await usage.text()).toMatch(/^\{"__proto__":\{"requests":1,"gpu_time":[\d.]+\}\}$/);
  });

  it('reports the traffic of the last minute', async () => {
    let time = 0;
    const waiting: ServerResponse[] = [];
    const { file, admin } = await start(
      { GPU_SLOTS: '3' },
      contractWorker((_request, response) => void waiting.push(response)),
      () => time,
    );
    const gpu = (percent: number) => ({ memory_used: null, memory_total: null, utilization_percent: percent });
    const idle = { active_connections: 0, gpu_utilization: gpu(0), request_rate: 0, error_rate: 0, top_users: [] };
    expect(await admin('metrics')).toEqual([200, idle]);

    const answers = [file(photograph), file(photograph), file(photograph, {}, two)];
    await expect.poll(() => waiting.length).toBe(3);
    expect(await admin('metrics')).toMatchObject([200, { active_connections: 3, request_rate: 3 / 60, error_rate: 0 }]);

    time = 2000;
    const used = { 'X-GPU-Seconds': '2' };
    waiting.forEach((response, i) => void response.writeHead(i === 0 ? 500 : 200, used).end(NO_MASKS));
    await Promise.all(answers);
    const top_users = [
      { id: 'client1', requests: 2, gpu_time: 4 },
      { id: 'client2', requests: 1, gpu_time: 2 },
    ];
    await expect
      .poll(() => admin('metrics'))
      // Three slots of three were used for two of sixty seconds.
      .toEqual([200, { ...idle, gpu_utilization: gpu(3.3), request_rate: 3 / 60, error_rate: 1 / 3, top_users }]);

    time = 62_000;
    expect(await admin('metrics')).toEqual([200, { ...idle, top_users }]);
  });

  it('serves metrics to Prometheus, with the key of the admin only', async () => {
    const { origin } = await start();
    const scrape = (headers: Record<string, string>) => fetch(`${origin}/metrics`, { headers });
    expect((await scrape({})).status).toBe(401);
    expect((await scrape({ 'X-API-Key': KEY })).status).toBe(403);
    const answer = await scrape({ Authorization: `Bearer ${ENV.ADMIN_API_KEY}` });
    expect([answer.status, answer.headers.get('content-type')]).toEqual([200, expect.stringContaining('text/plain')]);
    const text = await answer.text();
    expect(text).toContain('gatewarden_requests_total{route="/metrics",outcome="refused",status="403"} 1');
    expect(text).toContain('gatewarden_requests_in_flight 1');
    expect(text).not.toContain('client1');
  });

  it('does not count a disconnected client as active, or as a response', async () => {
    const waiting: ServerResponse[] = [];
    const { origin, admin } = await start(
      {},
      contractWorker((_request, response) => void waiting.push(response)),
    );
    const leaving = new AbortController();
    const gone = fetch(`${origin}/segment`, {
      method: 'POST',
      body: JSON.stringify(image()),
      headers: { 'Content-Type': 'application/json', 'X-API-Key': KEY },
      signal: leaving.signal,
    }).catch(() => 'gone');
    await expect.poll(() => waiting.length).toBe(1);
    expect(await admin('metrics')).toMatchObject([200, { active_connections: 1 }]);
    leaving.abort();
    expect(await gone).toBe('gone');
    await expect.poll(() => admin('metrics')).toMatchObject([200, { active_connections: 0, error_rate: 0 }]);
  });

  describe.each(['usage', 'metrics'])('%s', (path) => {
    it.each<[string, Record<string, string>, number, string | RegExp]>([
      ['no key', {}, 401, 'API key required'],
      ['an unknown key', { 'X-API-Key': 'c4n4ry-of-an-unknown-client' }, 401, 'Invalid API key'],
      ["a client's key", { 'X-API-Key': KEY }, 403, /./],
    ])('refuses %s', async (_what, headers, status, error) => {
      const { admin, origin } = await start({ ALLOW_ANONYMOUS: 'true' });
      expect(await admin(path, headers)).toEqual([status, { error: expect.stringMatching(error) }]);
      expect((await fetch(`${origin}/admin/${path}`, { method: 'HEAD', headers })).status).toBe(status);
    });

    it("refuses a client's token", async () => {
      const { admin, json } = await start({ AUTH_USERS: 'admin:wonderland' });
      const { token } = (await (
        await json('/auth/token', { username: 'admin', password: 'wonderland' }, {})
      ).json()) as { token: string };
      wasIssued(token);
      expect(await admin(path, { Authorization: `Bearer ${token}` })).toEqual([401, { error: 'Invalid token' }]);
    });

    it.each<[string, Record<string, string>, string]>([
      ['no key', {}, 'API key required'],
      ["a client's key", { 'X-API-Key': KEY }, 'Invalid API key'],
      ['any other key', { 'X-API-Key': ENV.ADMIN_API_KEY }, 'Invalid API key'],
    ])('refuses %s if there is no admin key', async (_what, headers, error) => {
      const { admin } = await start({ ADMIN_API_KEY: '' });
      expect(await admin(path, headers)).toEqual([401, { error }]);
    });
  });

  it('tracks no usage if tracking is off', async () => {
    const { admin, file } = await start({ ENABLE_USAGE_TRACKING: 'false' });
    expect((await file(photograph)).status).toBe(200);
    expect(await admin('usage')).toEqual([404, { error: 'Not found' }]);
    expect(await admin('metrics')).toMatchObject([200, { request_rate: 1 / 60, top_users: [] }]);
  });
});

describe('the rest of the SAM service', () => {
  it('issues a token for name and password, and accepts it', async () => {
    const { json, file } = await start({ AUTH_USERS: 'alice:wonderland, bob:builder' });
    const [status, { token }] = (await read(
      await json('/auth/token', { username: 'bob', password: 'builder' }, {}),
    )) as [number, { token: string }];
    expect(status).toBe(200);
    wasIssued(token);
    const answer = await file(photograph, {}, { Authorization: `Bearer ${token}` });
    expect([answer.status, answer.headers.get('x-ratelimit-limit')]).toEqual([200, '100']);
  });

  it.each([
    ['a wrong password', { username: 'alice', password: 'x' }],
    ['an unknown name', { username: 'eve', password: 'wonderland' }],
    ['an unknown name with an empty password', { username: 'eve', password: '' }],
    ['an empty body', {}],
  ])('issues no token for %s', async (_what, credentials) => {
    const { json } = await start();
    expect(await read(await json('/auth/token', credentials, {}))).toEqual([401, { error: 'Invalid credentials' }]);
  });

  it('accepts at most twenty logins in ten minutes', async () => {
    const { json } = await start();
    for (let i = 0; i < 20; i++) expect((await json('/auth/token', {}, {})).status).toBe(401);
    expect(await read(await json('/auth/token', {}, {}))).toEqual([
      429,
      { error: 'Rate limit exceeded: 20 per 10 minutes' },
    ]);
  });

  it('says on / what it is', async () => {
    const { origin } = await start();
    expect(await read(await fetch(origin))).toEqual([
      200,
      expect.objectContaining({ service: 'SAM service', endpoints: expect.arrayContaining(['POST /segment_file']) }),
    ]);
  });

  it('serves the hosts of this machine, or those that are set', async () => {
    const first = await start();
    const second = await start({ TRUSTED_HOSTS: 'sam.example' });
    const statuses: (number | undefined)[] = [];
    for (const [{ origin }, host] of [
      [first, 'localhost:5000'],
      [first, 'evil.example'],
      [second, 'sam.example'],
      [second, 'localhost'],
    ] as const) {
      statuses.push((await rawRequest(origin, '/health', host)).status);
    }
    expect(statuses).toEqual([200, 400, 200, 400]);
    const hosts = (env: Record<string, string>) => readSettings({ ...ENV, ...env }).trustedHosts;
    expect(hosts({ HOST: '0.0.0.0' })).toEqual([]);
    expect(hosts({ HOST: '0.0.0.0', TRUSTED_HOSTS: 'sam.example' })).toEqual(['sam.example']);
    expect(() => hosts({ TRUSTED_HOSTS: '*' })).toThrow(/TRUSTED_HOSTS/);
  });

  it("limits anonymous callers by the client's address behind a tunnel of Cloudflare", async () => {
    const env = { ALLOW_ANONYMOUS: 'true', DEFAULT_RATE_LIMIT: '1', TRUSTED_PROXIES: 'cloudflared' };
    const { file } = await start(env);
    const from = async (ip: string) => (await file(photograph, {}, { 'CF-Connecting-IP': ip })).status;
    expect([await from('203.0.113.1'), await from('203.0.113.1'), await from('203.0.113.2')]).toEqual([200, 429, 200]);
  });

  it('is healthy without a key', async () => {
    const { origin } = await start();
    expect(await read(await fetch(`${origin}/health`))).toEqual([200, { status: 'healthy' }]);
  });

  it('reads the settings of its guide', () => {
    const settings = readSettings({ ...ENV, MAX_FILE_SIZE_MB: '50', DEFAULT_RATE_LIMIT: '10' });
    expect(settings).toMatchObject({ maxFileBytes: 52_428_800, defaultRateLimit: 10, host: '127.0.0.1', port: 5000 });
    expect(settings).toMatchObject({
      usageTracking: true,
      logLevel: 'INFO',
      maxGpuTime: '300s',
      gpuSlots: 1,
      gpuSecondsPerDay: undefined,
    });
    expect(settings.apiKeys.map(({ clientId, limits }) => [clientId, limits])).toEqual([
      ['client1', { perHour: 100 }],
      ['client2', { perHour: 2 }],
      ['admin', undefined],
    ]);
    expect(() => readSettings({ API_KEYS: 'c4n4ry', JWT_SECRET: 'c4n4ry', PORT: 'x' })).toThrow(
      /API_KEYS.*JWT_SECRET.*PORT/s,
    );
    expect(() => readSettings({ HOST: '0.0.0.0' })).toThrow(/API_KEYS.*JWT_SECRET/s);
    expect(() => readSettings({ NODE_ENV: 'production' })).toThrow(/API_KEYS.*JWT_SECRET/s);
    expect(() => readSettings({ ENVIRONMENT: 'production' })).toThrow(/API_KEYS.*JWT_SECRET/s);
    expect(readSettings({ LOG_LEVEL: 'warning', MAX_GPU_TIME_SECONDS: '20' })).toMatchObject({
      logLevel: 'WARNING',
      maxGpuTime: '20s',
    });
    expect(() =>
      readSettings({ LOG_LEVEL: 'loud', MAX_GPU_TIME_SECONDS: '301', ENABLE_USAGE_TRACKING: 'maybe' }),
    ).toThrow(/MAX_GPU_TIME_SECONDS.*ENABLE_USAGE_TRACKING.*LOG_LEVEL/s);
    expect(readSettings({}).generatedKey).toMatch(/^sam-[0-9a-f]{32}$/);
  });

  it.each<[string, Record<string, string>, RegExp]>([
    ['a JWT_SECRET that is too short', { JWT_SECRET: 'c4n4ry-of-31-characters-01234567'.slice(0, 31) }, /at least 32/],
    ['API_KEYS without a limit', { API_KEYS: 'c4n4ry:client' }, /keys\[0\]" must have three parts, key:client:limit/],
    ['API_KEYS with a limit in words', { API_KEYS: 'c4n4ry:client:many' }, /a positive whole number as its limit/],
    ['API_KEYS with only a comma', { API_KEYS: ',' }, /keys\[0\]" is empty/],
    ['API_KEYS with a client that is its key', { API_KEYS: 'c4n4ry:c4n4ry:5' }, /must not have the key as its client/],
    ['an ADMIN_API_KEY with a space', { ADMIN_API_KEY: 'c4n4ry of the admin' }, /"ADMIN_API_KEY" is not accepted: \w/],
    ['AUTH_USERS without a password', { AUTH_USERS: 'alice:wonderland,c4n4ry' }, /must be name:password pairs/],
    ['AUTH_USERS with an empty password', { AUTH_USERS: 'c4n4ry:' }, /must be name:password pairs/],
    [
      'a WORKER_URL with a password',
      { WORKER_URL: 'http://a:c4n4ry@worker' },
      /must not contain a user name or password/,
    ],
    ['a REDIS_URL with another protocol', { REDIS_URL: 'http://:c4n4ry@localhost' }, /redis:\/\/ or rediss:\/\//],
    ['a REDIS_URL that is not a URL', { REDIS_URL: 'c4n4ry' }, /redis:\/\/ or rediss:\/\//],
  ])('states the rule for %s, but not the value', (_what, env, rule) => {
    const act = () => readSettings({ ...ENV, ...env });
    const [name = ''] = Object.keys(env);
    expect(act).toThrow(name);
    expect(act).toThrow(rule);
    expect(act).not.toThrow(/c4n4ry/);
  });

  it.each([
    ['that is one of API_KEYS', { ADMIN_API_KEY: KEY }, /"keys\[2\]" has the same key as keys\[0\]/],
    ['next to a client named admin', { API_KEYS: `${KEY}:admin:5` }, /keys\[1\]\.id" must not be the id of keys\[0\]/],
  ])('refuses an ADMIN_API_KEY %s, and shows neither', (_what, env, rule) => {
    const act = () => readSettings({ ...ENV, ...env });
    expect(act).toThrow(/"ADMIN_API_KEY" is not accepted next to "API_KEYS": apiKeys/);
    expect(act).toThrow(rule);
    expect(act).not.toThrow(/c4n4ry/);
  });

  it('reports bad users with all other mistakes', () => {
    const act = () => readSettings({ ...ENV, AUTH_USERS: 'alice', PORT: 'x' });
    expect(act).toThrow(/"AUTH_USERS" must be name:password.*"PORT"/s);
  });

  it.each(['', '  '])('treats variables that are %j as not set', (empty) => {
    const names = ['API_KEYS', 'ADMIN_API_KEY', 'JWT_SECRET', 'AUTH_USERS', 'ALLOW_ANONYMOUS', 'DEFAULT_RATE_LIMIT'];
    const gpu = ['MAX_GPU_TIME_SECONDS', 'GPU_SLOTS', 'GPU_SECONDS_PER_DAY'];
    const more = ['AUTHENTICATED_RATE_LIMIT', 'REDIS_URL', 'DATA_DIRECTORY', 'MAX_FILE_SIZE_MB', 'LOG_LEVEL', ...gpu];
    const rest = ['ENABLE_USAGE_TRACKING', 'TRUSTED_PROXIES', 'TRUSTED_HOSTS', 'WORKER_URL', 'HOST', 'PORT'];
    const all = [...names, ...more, ...rest, 'NODE_ENV', 'ENVIRONMENT'];
    expect(readSettings(Object.fromEntries(all.map((name) => [name, empty])))).toEqual({
      ...readSettings({}),
      apiKeys: [expect.objectContaining({ clientId: 'local' })],
      deskKey: expect.stringMatching(/^desk-[0-9a-f]{32}$/),
      generatedKey: expect.stringMatching(/^sam-/),
      jwtSecret: expect.any(String),
    });
  });

  it('shows only that REDIS_URL is set', () => {
    const { redisUrl, described } = readSettings({ ...ENV, REDIS_URL: 'rediss://user:c4n4ry@localhost:6379/0' });
    expect(redisUrl).toBe('rediss://user:c4n4ry@localhost:6379/0');
    expect(described).toContainEqual({ name: 'REDIS_URL', value: 'set', source: 'environment' });
    expect(readSettings({ ...ENV, REDIS_URL: '' }).redisUrl).toBeUndefined();
  });
});

describeRedis('with REDIS_URL', () => {
  const two = { 'X-API-Key': 'c4n4ry-key-of-client-two' };
  const image = () => ({ image: photograph.toString('base64') });

  it('shares one limit between two gateways', async () => {
    const server = await startRedis();
    closers.push(() => server.stop());
    const first = await start({ REDIS_URL: server.url });
    const second = await start({ REDIS_URL: server.url });
    const statuses: number[] = [];
    for (const { json } of [first, second, first, second]) {
      statuses.push((await json('/segment', image(), two)).status);
    }
    expect(statuses).toEqual([200, 200, 429, 429]);
  });

  it('leaves no connection behind', async () => {
    const server = await startRedis();
    closers.push(() => server.stop());
    const { json } = await start({ REDIS_URL: server.url });
    expect((await json('/segment', image(), two)).status).toBe(200);
    const clients = async () => (await server.cli('CLIENT', 'LIST')).trim().split('\n').length;
    // The connection of this command, and the gateway's.
    expect(await clients()).toBe(2);
    await closers.pop()?.();
    await expect.poll(clients).toBe(1);
  });

  it('refuses requests while Redis is unavailable, and logs the outage and its end', async () => {
    const server = await startRedis();
    closers.push(() => server.stop());
    const url = server.url.replace('://', '://default:c4n4ry@');
    await server.cli('ACL', 'SETUSER', 'default', '>c4n4ry');
    const { json, printed } = await start({ REDIS_URL: url });
    expect((await json('/segment', image())).status).toBe(200);
    await server.kill();
    // The store reports an outage after several failures, not after one.
    const refused = async () => [(await json('/segment', image())).status, printed()];
    await expect
      .poll(refused, { timeout: 10_000 })
      .toEqual([503, expect.stringMatching(/ERROR - Redis is unavailable/)]);
    await server.restart();
    await server.cli('ACL', 'SETUSER', 'default', '>c4n4ry');
    await expect.poll(async () => (await json('/segment', image())).status, { timeout: 10_000 }).toBe(200);
    await expect.poll(printed).toMatch(/INFO - Redis is available again/);
    expect(printed()).not.toContain('c4n4ry');
  });

  it('closes in time while Redis is unavailable', async () => {
    const server = await startRedis();
    closers.push(() => server.stop());
    const { json } = await start({ REDIS_URL: server.url });
    expect((await json('/segment', image())).status).toBe(200);
    server.pause();
    const before = performance.now();
    await closers.pop()?.();
    expect(performance.now() - before).toBeLessThan(3000);
    server.resume();
  });
});

it('logs requests and responses as the guide shows, with a short hash of the key', async () => {
  const { file, origin, printed } = await start();
  await file(photograph);
  await fetch(`${origin}/segment_file?key=${KEY}`, { method: 'POST' });
  await fetch(`${origin}/health`);
  const lines = () => printed().match(/(?:INFO|WARNING) - \[.*/g) ?? [];
  await expect.poll(() => lines().length).toBe(6);
  const id = '\\[[^ \\]]+\\] ';
  const expected = [
    `INFO - ${id}Request: POST /segment_file - API Key: [0-9a-f]{12}\\.\\.\\.`,
    `INFO - ${id}Response: 200 outcome="completed" .*principal="client1"`,
    `INFO - ${id}Request: POST /segment_file - API Key: None\\.\\.\\.`,
    `WARNING - ${id}Response: 401 outcome="refused" code="credentials-missing"`,
    `INFO - ${id}Request: GET /health - API Key: None\\.\\.\\.`,
    `INFO - ${id}Response: 200`,
  ];
  expected.forEach((line, i) => {
    expect(lines()[i]).toMatch(new RegExp(line));
  });
  expect(printed()).not.toContain('c4n4ry');
});
