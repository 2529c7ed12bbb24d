import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { ENV, KEYS, photo, type Started, startForTest as start, startImage2Model } from './image2model-fixture.js';
import { readGlb } from './read-glb.js';

const MANY = { RATE_LIMIT_PER_MINUTE: '10000', RATE_LIMIT_PER_HOUR: '10000' };
const REQUIRED = { error: true, error_code: 'AUTHENTICATION_REQUIRED', message: 'API key required' };
const INVALID = { error: true, error_code: 'INVALID_API_KEY', message: 'Invalid API key' };
const NOT_ADMIN = { error: true, error_code: 'INSUFFICIENT_PERMISSIONS', message: 'Invalid admin API key' };
const NOT_FOUND = { error: true, error_code: 'JOB_NOT_FOUND', message: 'There is no such job.' };
const LIMITED = { files: [], download_urls: [], total_files: 0, limited: true, message: expect.any(String) };

const read = async (response: Response) => [response.status, await response.json()] as const;

/** Services that many tests share, none of which changes what another one sees. */
let production: Started;
let development: Started;
let closed: Started;
/** A job of Alice in production. */
let job: { readonly id: string; readonly file: string };

beforeAll(async () => {
  vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined);
  production = await startImage2Model({ env: { ...ENV, ...MANY } });
  development = await startImage2Model({
    env: { ...MANY, ENVIRONMENT: 'development', API_KEY: '', ADMIN_API_KEY: KEYS.admin },
  });
  closed = await startImage2Model({ env: { ENVIRONMENT: 'production', ADMIN_API_KEY: KEYS.admin } });
  job = await production.made(KEYS.alice);
});
afterAll(async () => {
  for (const service of [production, development, closed]) await service.close();
  vi.restoreAllMocks();
});

const get = async (path: string, key?: string, headers: Record<string, string> = {}) =>
  read(await production.send(path, key, { headers }));
const download = (key?: string, init: RequestInit = {}) =>
  production.send(`/download/${job.id}/${job.file}`, key, init);
const upload = async (service: Started, key?: string) => service.submit(key, [['chair.png', await photo()]]);

describe('the guide says that', () => {
  const behaviours: readonly (readonly [what: string, holds: () => Promise<unknown>])[] = [
    // Authentication methods
    ['a key is sent as a bearer token', async () => expect((await get(`/status/${job.id}`, KEYS.alice))[0]).toBe(200)],
    [
      'a key is sent in no other header',
      async () =>
        expect(await get(`/status/${job.id}`, undefined, { 'X-API-Key': KEYS.alice })).toEqual([401, REQUIRED]),
    ],
    [
      'the status of a job is asked for with a key',
      async () =>
        expect(await get(`/status/${job.id}`, KEYS.alice)).toEqual([
          200,
          expect.objectContaining({ job_id: job.id, status: 'succeeded', progress: 1 }),
        ]),
    ],
    // Access levels
    [
      'a regular key is for uploads',
      async () => {
        const [status, body] = await read(await upload(production, KEYS.bob));
        expect(status).toBe(202);
        expect(body).toMatchObject({ message: 'Files uploaded successfully, processing started' });
      },
    ],
    ['a regular key is for status', async () => expect((await get(`/status/${job.id}`, KEYS.alice))[0]).toBe(200)],
    [
      'a regular key is for downloads',
      async () => {
        const glb = readGlb(Buffer.from(await (await download(KEYS.alice)).arrayBuffer()));
        expect(glb.indices.length / 3).toBe(192);
      },
    ],
    [
      'API_KEY sets the regular keys, of several clients',
      async () => {
        const statuses = [];
        for (const key of [KEYS.alice, KEYS.bob]) statuses.push((await production.send('/status/x', key)).status);
        expect(statuses).toEqual([404, 404]);
      },
    ],
    [
      'the key of an administrator is for /admin/*',
      async () => expect((await get('/admin/system-info', KEYS.admin))[0]).toBe(200),
    ],
    [
      'the key of an administrator is for /logs/*',
      async () => {
        for (const path of ['/logs', '/logs/recent', '/logs/audit']) expect((await get(path, KEYS.admin))[0]).toBe(200);
      },
    ],
    [
      'ADMIN_API_KEY sets it',
      async () => {
        const { send } = await start({ env: { ...ENV, ADMIN_API_KEY: KEYS.unknown } });
        expect((await send('/admin/system-info', KEYS.unknown)).status).toBe(200);
        expect((await send('/admin/system-info', KEYS.admin)).status).toBe(403);
      },
    ],
    [
      'it is for system monitoring',
      async () =>
        expect((await get('/admin/system-info', KEYS.admin))[1]).toMatchObject({
          system: { cpu_count: expect.any(Number), memory: { total: expect.any(Number) } },
          worker: { state: 'ready', ready: true },
          jobs: { submitted: expect.any(Number), succeeded: expect.any(Number), failed: 0, cancelled: 0 },
        }),
    ],
    [
      'it is for log access',
      async () => {
        const [, { logs, total_lines }] = (await get('/logs/recent?lines=3&level=INFO', KEYS.admin)) as [
          number,
          { logs: { level: string }[]; total_lines: number },
        ];
        expect([logs.map(({ level }) => level), total_lines]).toEqual([['INFO', 'INFO', 'INFO'], 3]);
      },
    ],
    // Optional authentication
    [
      'a key that is given for a download is verified',
      async () => expect(await get(`/download/${job.id}/${job.file}`, KEYS.unknown)).toEqual([403, INVALID]),
    ],
    [
      'a key that is given for a download must own the job',
      async () => expect(await get(`/download/${job.id}/${job.file}`, KEYS.bob)).toEqual([404, NOT_FOUND]),
    ],
    [
      'the owner gets the file',
      async () => {
        const response = await download(KEYS.alice);
        expect([response.status, response.headers.get('Content-Type')]).toEqual([200, 'model/gltf-binary']);
        expect(response.headers.get('Content-Disposition')).toContain('filename="chair.glb"');
      },
    ],
    [
      'the owner gets a list of all files',
      async () =>
        expect(await get(`/download/${job.id}/all`, KEYS.alice)).toEqual([
          200,
          {
            job_id: job.id,
            files: [
              {
                filename: 'chair.glb',
                size: expect.any(Number),
                mime_type: 'model/gltf-binary',
                created_time: expect.any(Number),
              },
            ],
            download_urls: [`/api/v1/download/${job.id}/chair.glb`],
            total_files: 1,
          },
        ]),
    ],
    [
      'without a key, the list is limited: it says nothing of the job',
      async () => expect(await get(`/download/${job.id}/all`)).toEqual([200, LIMITED]),
    ],
    [
      'without a key, there is no file',
      async () => expect(await get(`/download/${job.id}/${job.file}`)).toEqual([401, REQUIRED]),
    ],
    // Session management
    [
      'a job belongs to the key that has submitted it',
      async () => {
        expect((await get(`/status/${job.id}`, KEYS.alice))[0]).toBe(200);
        expect(await get(`/status/${job.id}`, KEYS.bob)).toEqual([404, NOT_FOUND]);
      },
    ],
    [
      'a job and its owner are kept for 24 hours',
      async () => {
        const [, status] = (await get(`/status/${job.id}`, KEYS.alice)) as [number, Record<string, string>];
        expect(Date.parse(status.expires_at ?? '') - Date.parse(status.ended_at ?? '')).toBe(24 * 3_600_000);
      },
    ],
    [
      'ownership is checked on each later request',
      async () => {
        for (const path of ['', '/result', '/events']) {
          expect(await get(`/status/${job.id}${path}`, KEYS.bob)).toEqual([404, NOT_FOUND]);
        }
      },
    ],
    [
      'an upload returns a job_id and a session_id',
      async () => {
        const [, body] = await read(await upload(production, KEYS.bob));
        expect(body).toMatchObject({ job_id: expect.stringMatching(/^[\w-]{22}$/), session_id: expect.any(String) });
      },
    ],
    // Development mode
    [
      'in development, regular endpoints need no key',
      async () => {
        const response = await upload(development);
        const { job_id } = (await response.json()) as { job_id: string };
        expect([response.status, (await development.ended(job_id)).status]).toEqual([202, 'succeeded']);
        expect((await development.send(`/download/${job_id}/chair.glb`)).status).toBe(200);
      },
    ],
    [
      'in development, keys are not looked at',
      async () => expect((await upload(development, KEYS.unknown)).status).toBe(202),
    ],
    [
      'in development, administration still needs a key',
      async () => expect(await read(await development.send('/admin/system-info'))).toEqual([401, REQUIRED]),
    ],
    [
      'in development, the key of an administrator is checked',
      async () => {
        expect((await development.send('/admin/system-info', KEYS.admin)).status).toBe(200);
        expect(await read(await development.send('/admin/system-info', KEYS.unknown))).toEqual([403, NOT_ADMIN]);
      },
    ],
    ['an empty API_KEY is none', async () => expect((await development.send('/status/x')).status).toBe(404)],
    [
      'with an API_KEY, development needs keys too',
      async () => {
        const { send } = await start({ env: { ...ENV, ENVIRONMENT: 'development' } });
        expect(await read(await send('/status/x'))).toEqual([401, REQUIRED]);
      },
    ],
    // Security considerations
    [
      'keys are sent over https in production, which answers over https say',
      async () => {
        const headers = { 'X-Forwarded-Proto': 'https', 'X-Forwarded-For': '192.0.2.1' };
        const https = await production.send('/health', undefined, { headers });
        expect(https.headers.get('Strict-Transport-Security')).toBe('max-age=31536000');
      },
    ],
    [
      'a key is replaced without an interruption',
      async () => {
        expect((await get(`/status/${job.id}`, KEYS.aliceNext))[0]).toBe(200);
        expect((await download(KEYS.aliceNext)).status).toBe(200);
      },
    ],
    [
      'a key has 60 requests a minute',
      async () => {
        const { send } = await start();
        const statuses = [];
        for (let i = 0; i < 61; i++) statuses.push((await send('/status/x', KEYS.alice)).status);
        expect(statuses).toEqual([...Array(60).fill(404), 429]);
        const refused = await send('/status/x', KEYS.alice);
        expect(await refused.json()).toEqual({
          error: true,
          error_code: 'RATE_LIMIT_EXCEEDED',
          message: 'Rate limit exceeded: 60 requests per minute',
        });
        expect(Number(refused.headers.get('Retry-After'))).toBeGreaterThan(0);
        // Another key, and the same client with its next key.
        expect((await send('/status/x', KEYS.bob)).status).toBe(404);
        expect((await send('/status/x', KEYS.aliceNext)).status).toBe(429);
      },
    ],
    [
      'a key has 1000 requests an hour',
      async () => {
        const { headers } = await (await start()).send('/status/x', KEYS.alice);
        expect(headers.get('RateLimit-Policy')).toBe('"minute";q=60;w=60, "hour";q=1000;w=3600');
      },
    ],
    [
      'both are charged, or none is',
      async () => {
        const { send } = await start({ env: { ...ENV, RATE_LIMIT_PER_MINUTE: '2', RATE_LIMIT_PER_HOUR: '3' } });
        const left = [];
        for (let i = 0; i < 4; i++) {
          const { headers } = await send('/status/x', KEYS.alice);
          left.push([...(headers.get('RateLimit') ?? '').matchAll(/r=(\d+)/g)].map(([, r]) => Number(r)));
        }
        expect(left).toEqual([
          [1, 2],
          [0, 1],
          [0, 1],
          [0, 1],
        ]);
      },
    ],
    // Error responses
    ['a missing key is named', async () => expect(await get('/status/job_123')).toEqual([401, REQUIRED])],
    [
      'in production without API_KEY, every regular endpoint answers 500',
      async () => {
        for (const key of [undefined, KEYS.alice, KEYS.admin]) {
          for (const path of ['/status/x', '/download/x/all', '/download/x/y.glb', '/status/x/events']) {
            expect(await read(await closed.send(path, key))).toEqual([500, REQUIRED]);
          }
          expect(await read(await upload(closed, key))).toEqual([500, REQUIRED]);
        }
        expect((await closed.send('/admin/system-info', KEYS.admin)).status).toBe(200);
      },
    ],
    ['a wrong key is a 403', async () => expect(await get('/status/job_123', KEYS.unknown)).toEqual([403, INVALID])],
    [
      'a regular key is not enough for an administrator',
      async () => expect(await get('/admin/system-info', KEYS.alice)).toEqual([403, NOT_ADMIN]),
    ],
    [
      'a wrong key on an administrator’s endpoint is answered in the same way',
      async () => {
        for (const path of ['/admin/system-info', '/logs/recent', '/logs/nothing', '/admin/nothing']) {
          expect(await get(path, KEYS.unknown)).toEqual([403, NOT_ADMIN]);
        }
      },
    ],
    // Request signing is a future enhancement.
    [
      'a signature takes no key’s place',
      async () => {
        const headers = { 'X-Timestamp': String(Math.floor(Date.now() / 1000)), 'X-Signature': '0'.repeat(64) };
        expect(await get('/status/job_123', undefined, headers)).toEqual([401, REQUIRED]);
      },
    ],
    // Testing authentication
    [
      'readiness can be asked for with a key, and without',
      async () => {
        const ready = [200, { status: 'ready', checks: { worker: 'ready' } }];
        for (const path of ['/health/ready', '/ready']) {
          expect(await get(path, KEYS.alice)).toEqual(ready);
          expect(await get(path)).toEqual(ready);
        }
        expect(await get('/health')).toEqual([200, { status: 'healthy' }]);
      },
    ],
    // Monitoring and auditing
    [
      'each authenticated request is logged with a hash of its key, the time, the endpoint and the status',
      async () => {
        await get('/status/one-to-find', KEYS.alice);
        const [, { logs }] = (await get('/logs/audit', KEYS.admin)) as [number, { logs: Record<string, unknown>[] }];
        const entry = logs.find(({ message }) => message === 'GET /api/v1/status/one-to-find');
        expect(entry).toMatchObject({
          timestamp: expect.stringMatching(/^20\d\d-.*Z$/),
          level: 'INFO',
          keyHash: expect.stringMatching(/^[0-9a-f]{12}$/),
          clientId: 'alice',
          reason: 'verified',
          status: 404,
        });
        expect(JSON.stringify(logs) + production.printed()).not.toContain('c4n4ry');
      },
    ],
    [
      'failed attempts are counted, and then refused; an alert is logged',
      async () => {
        const { send, printed } = await start();
        const statuses = [];
        for (let i = 0; i < 22; i++) statuses.push((await send('/status/x', `${KEYS.unknown}${i}`)).status);
        expect(statuses).toEqual([...Array(20).fill(403), 429, 429]);
        expect(await read(await send('/admin/system-info', KEYS.unknown))).toEqual([
          429,
          { error: true, error_code: 'RATE_LIMIT_EXCEEDED', message: expect.stringContaining('failed') },
        ]);
        expect(printed()).toContain('Suspicious activity: keys of this address keep failing');
        expect(printed()).not.toContain('c4n4ry');
      },
    ],
  ];

  it.each(behaviours)('%s', async (_what, holds) => {
    await holds();
  });

  it('42 things', () => {
    expect(behaviours).toHaveLength(42);
  });
});
