import { mkdir, mkdtemp, readdir, rm, utimes } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { createImage2ModelStandIn } from '../../examples/workers/image2model-stand-in.js';
import {
  ENV,
  KEYS,
  nothing,
  photo,
  type Started,
  startForTest as start,
  startImage2Model,
} from './image2model-fixture.js';
import { rawRequest } from './raw-host.js';
import { readGlb } from './read-glb.js';

const MANY = { RATE_LIMIT_PER_MINUTE: '10000', RATE_LIMIT_PER_HOUR: '10000' };
const PRODUCTION = { ...ENV, ...MANY };
const NOT_FOUND = JSON.stringify({ error: true, error_code: 'JOB_NOT_FOUND', message: 'There is no such job.' });
/** An id that no job has. */
const GUESSED = 'AAAAAAAAAAAAAAAAAAAAAA';

const read = async (response: Response) => [response.status, await response.json()] as const;

beforeAll(() => {
  vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined);
});
afterAll(() => {
  vi.restoreAllMocks();
});

/** A stand-in whose jobs take some seconds. */
const slow = (seconds: number, slots = 1) => createImage2ModelStandIn({ seconds, slots, log: () => undefined });

async function jobOf(response: Response): Promise<string> {
  const body = (await response.json()) as { job_id: string };
  expect([response.status, body]).toEqual([202, expect.objectContaining({ job_id: expect.any(String) })]);
  return body.job_id;
}

async function submitOne(service: Started, key?: string): Promise<string> {
  return jobOf(await service.submit(key, [['chair.png', await photo()]]));
}

/** Waits until the job has this state. */
async function untilState(service: Started, job: string, key: string, state: string): Promise<Record<string, unknown>> {
  for (;;) {
    const [, status] = (await read(await service.send(`/status/${job}`, key))) as [number, Record<string, unknown>];
    if (status.status === state) return status;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

describe('an upload', () => {
  it('is answered at once, with everything that a client needs', async () => {
    const { submit } = await start({ env: PRODUCTION });
    const images = [
      ['chair.png', await photo()],
      ['../CHAIR.jpg', await photo(1)],
    ] as const;
    const response = await submit(KEYS.alice, images, { face_limit: '500' });
    expect(response.headers.get('Location')).toMatch(/^\/api\/v1\/status\/[\w-]{22}$/);
    const body = (await response.json()) as Record<string, string>;
    expect([response.status, body]).toEqual([
      202,
      {
        id: body.job_id,
        batch_id: expect.stringMatching(/^[0-9a-f-]{36}$/),
        job_id: expect.stringMatching(/^[\w-]{22}$/),
        task_id: body.job_id,
        session_id: body.batch_id,
        uploaded_files: [
          expect.objectContaining({ filename: 'chair.png', content_type: 'image/png', model: 'chair.glb' }),
          expect.objectContaining({ filename: 'CHAIR.jpg', content_type: 'image/png', model: 'CHAIR-2.glb' }),
        ],
        face_limit: 500,
        total_files: 2,
        status: 'queued',
        message: 'Files uploaded successfully, processing started',
        status_url: `/api/v1/status/${body.job_id}`,
        events_url: `/api/v1/status/${body.job_id}/events`,
        result_url: `/api/v1/status/${body.job_id}/result`,
        cancel_url: `/api/v1/status/${body.job_id}`,
      },
    ]);
  });

  it.each([
    ['no file', [], {}, 400, 'VALIDATION_ERROR'],
    ['26 files', Array(26).fill('image'), {}, 400, 'VALIDATION_ERROR'],
    ['a file that is no image', ['text'], {}, 415, 'VALIDATION_ERROR'],
    ['half an image', ['half'], {}, 422, 'VALIDATION_ERROR'],
    ['a file of more than 10 MB', ['large'], {}, 413, 'FILE_TOO_LARGE'],
    ['a face_limit of 0', ['image'], { face_limit: '0' }, 400, 'VALIDATION_ERROR'],
    ['a face_limit that is no number', ['image'], { face_limit: '1e3' }, 400, 'VALIDATION_ERROR'],
  ] as const)('is refused with %s, and leaves nothing behind', async (_what, files, fields, status, code) => {
    const { submit, directory } = await start({ env: PRODUCTION });
    const image = await photo();
    const contents: Readonly<Record<string, Buffer>> = {
      image,
      half: image.subarray(0, image.length / 2),
      text: Buffer.from('a text, and no image'),
      large: Buffer.concat([image, Buffer.alloc(10 * 1_048_576)]),
    };
    const sent = files.map((kind: string, i: number) => [`${i}.png`, contents[kind] ?? image] as const);
    const response = await submit(KEYS.alice, sent, fields);
    expect(await read(response)).toEqual([
      status,
      expect.objectContaining({ error: true, error_code: code, message: expect.any(String) }),
    ]);
    expect(await readdir(join(directory, 'images'))).toEqual([]);
  });

  it('of 25 images results in 25 models, of as many faces as it asked for, and its images are removed', async () => {
    const { submit, ended, send, directory } = await start({ env: PRODUCTION });
    const images = await Promise.all(
      [...Array(25).keys()].map(async (i) => [`photo ${i}.png`, await photo(i)] as const),
    );
    const job = await jobOf(await submit(KEYS.alice, images, { face_limit: '60' }));
    expect(await ended(job, KEYS.alice)).toMatchObject({ status: 'succeeded', progress: 1 });
    const [, { download_urls }] = (await read(await send(`/download/${job}/all`, KEYS.alice))) as [
      number,
      { download_urls: string[] },
    ];
    expect(download_urls.map((url) => url.split('/').at(-1))).toEqual(images.map((_, i) => `photo-${i}.glb`));
    for (const url of download_urls.slice(-2)) {
      const glb = await send(url.replace('/api/v1', ''), KEYS.alice);
      expect(readGlb(Buffer.from(await glb.arrayBuffer())).indices.length / 3).toBeLessThanOrEqual(60);
    }
    await vi.waitFor(async () => expect(await readdir(join(directory, 'images'))).toEqual([]));
  });

  it('may have names of any length and characters, which become no paths', async () => {
    const { submit, ended } = await start({ env: PRODUCTION });
    const names = ['..%2f..%2fetc', '\u{1f600}'.repeat(60), 'a\u202eb.png', 'CON', '%00', '\'"<b>$(id)'];
    const image = await photo();
    const job = await jobOf(
      await submit(
        KEYS.alice,
        [...Array(25).keys()].map((i) => [names[i % 6] ?? '', image]),
      ),
    );
    const { files } = (await ended(job, KEYS.alice)) as { files: { name: string }[] };
    expect(files).toHaveLength(25);
    expect(files.every(({ name }) => /^[A-Za-z0-9_-]+\.glb$/.test(name))).toBe(true);
  });

  it('that is repeated with its Idempotency-Key starts no second job', async () => {
    const { submit, ended, send } = await start({ env: PRODUCTION });
    const images = [['chair.png', await photo()]] as const;
    const headers = { 'Idempotency-Key': '"one-upload"' };
    const answers = await Promise.all([1, 2, 3].map(() => submit(KEYS.alice, images, {}, headers)));
    const jobs = await Promise.all(answers.map(jobOf));
    expect(new Set(jobs).size).toBe(1);
    await ended(jobs[0] ?? '', KEYS.alice);
    const later = await submit(KEYS.alice, images, {}, headers);
    expect([await jobOf(later), later.headers.get('Idempotency-Replayed')]).toEqual([jobs[0], 'true']);
    expect((await submit(KEYS.alice, [['chair.png', await photo(9)]], {}, headers)).status).toBe(422);
    const others = await jobOf(await submit(KEYS.bob, images, {}, headers));
    expect(others).not.toBe(jobs[0]);
    await ended(others, KEYS.bob);
    const [, { jobs: counts }] = (await read(await send('/admin/system-info', KEYS.admin))) as [
      number,
      { jobs: object },
    ];
    expect(counts).toMatchObject({ submitted: 2, succeeded: 2 });
  });
});

describe('a job', () => {
  it('goes on when its client has left', async () => {
    const service = await start({ env: PRODUCTION, worker: slow(0.3) });
    const job = await submitOne(service, KEYS.alice);
    service.server.closeAllConnections();
    expect(await service.ended(job, KEYS.alice)).toMatchObject({ status: 'succeeded' });
  });

  it('makes the models that can be made, and says why the others failed', async () => {
    const { submit, ended, send } = await start({ env: PRODUCTION });
    const images = [
      ['grey.png', await nothing()],
      ['chair.png', await photo()],
    ] as const;
    const job = await jobOf(await submit(KEYS.alice, images));
    expect(await ended(job, KEYS.alice)).toMatchObject({ status: 'succeeded', files: [{ name: 'chair.glb' }] });
    expect(await read(await send(`/status/${job}/result`, KEYS.alice))).toEqual([
      200,
      {
        total_files: 2,
        successful_files: 1,
        failed_files: 1,
        face_limit: null,
        files: [
          { filename: 'grey.png', status: 'failed', error: 'No object was found in this image.' },
          { filename: 'chair.png', status: 'completed', model: 'chair.glb', faces: expect.any(Number) },
        ],
      },
    ]);
  });

  it('fails if no model can be made', async () => {
    const { submit, ended, send } = await start({ env: PRODUCTION });
    const job = await jobOf(await submit(KEYS.alice, [['grey.png', await nothing()]]));
    expect(await ended(job, KEYS.alice)).toMatchObject({
      status: 'failed',
      problem: { code: 'worker-failed', detail: 'No object was found in this image.' },
    });
    expect((await send(`/download/${job}/grey.glb`, KEYS.alice)).status).toBe(502);
  });

  it('waits for the worker, says where, and other clients have their turns between its images', async () => {
    const service = await start({ env: { ...PRODUCTION, GPU_SLOTS: '1' }, worker: slow(0.5) });
    const images = await Promise.all([0, 1, 2, 3, 4, 5].map(async (i) => [`${i}.png`, await photo(i)] as const));
    const long = await jobOf(await service.submit(KEYS.alice, images));
    await untilState(service, long, KEYS.alice, 'running');
    const short = await submitOne(service, KEYS.bob);
    expect(await untilState(service, short, KEYS.bob, 'queued')).toMatchObject({ position: 1 });
    expect(await service.ended(short, KEYS.bob)).toMatchObject({ status: 'succeeded' });
    expect(await untilState(service, long, KEYS.alice, 'running')).toMatchObject({
      progress: expect.any(Number),
      message: expect.stringMatching(/^model [2-6] of 6$/),
    });
    expect(await service.ended(long, KEYS.alice)).toMatchObject({ status: 'succeeded' });
  });

  it('is one of a bounded number for each client, whose images are not even read beyond it', async () => {
    const env = { ...PRODUCTION, GPU_SLOTS: '1', MAX_JOBS_PER_CLIENT: '2' };
    const service = await start({ env, worker: slow(20) });
    const [first] = [await submitOne(service, KEYS.alice), await submitOne(service, KEYS.alice)];
    const third = await service.submit(KEYS.alice, [['chair.png', await photo()]]);
    expect(await read(third)).toEqual([
      429,
      { error: true, error_code: 'RATE_LIMIT_EXCEEDED', message: 'Too many jobs are under way: at most 2' },
    ]);
    await submitOne(service, KEYS.bob);
    await service.send(`/status/${first}`, KEYS.alice, { method: 'DELETE' });
    await vi.waitFor(() => submitOne(service, KEYS.alice), 5000);
    expect(await readdir(join(service.directory, 'images'))).toHaveLength(3);
  });

  it('is cancelled in the queue and while it runs, again and again', async () => {
    const service = await start({ env: { ...PRODUCTION, GPU_SLOTS: '1' }, worker: slow(20) });
    const running = await submitOne(service, KEYS.alice);
    await untilState(service, running, KEYS.alice, 'running');
    const queued = await submitOne(service, KEYS.alice);
    for (const job of [queued, running, queued]) {
      const cancelled = await service.send(`/status/${job}`, KEYS.alice, { method: 'DELETE' });
      expect([cancelled.status, ((await cancelled.json()) as { job_id: string }).job_id]).toEqual([200, job]);
      expect(await service.ended(job, KEYS.alice)).toMatchObject({ status: 'cancelled' });
    }
    await vi.waitFor(async () => expect(await readdir(join(service.directory, 'images'))).toEqual([]));
  });

  it('tells its progress as server-sent events, and goes on after the last one that was seen', async () => {
    const service = await start({ env: PRODUCTION, worker: slow(0.6) });
    const images = await Promise.all([0, 1].map(async (i) => [`${i}.png`, await photo(i)] as const));
    const job = await jobOf(await service.submit(KEYS.alice, images));
    const stream = await service.send(`/status/tasks/${job}/stream`, KEYS.alice);
    expect(stream.headers.get('Content-Type')).toBe('text/event-stream; charset=utf-8');
    const events = (await stream.text()).split('\n\n').filter((event) => event.startsWith('event:'));
    const seen = events.map((event) => JSON.parse(/^data: (.*)$/m.exec(event)?.[1] ?? '') as Record<string, unknown>);
    expect(seen.map(({ message }) => message)).toContain('model 2 of 2');
    expect(seen.at(-1)).toMatchObject({ id: job, status: 'succeeded', progress: 1 });
    const last = /^id: (\d+)$/m.exec(events.at(-1) ?? '')?.[1] ?? '';
    const again = (id: string) =>
      service.send(`/status/${job}/events`, KEYS.alice, { headers: { 'Last-Event-ID': id } });
    expect((await again(last)).status).toBe(204);
    expect(await (await again(String(Number(last) - 1))).text()).toContain(`id: ${last}\n`);
  });

  it('is gone, with its models, at the end of its lifetime', async () => {
    const service = await start({ env: { ...PRODUCTION, JOB_LIFETIME: '2s' } });
    const { id, file } = await service.made(KEYS.alice);
    await vi.waitFor(async () => expect((await service.send(`/status/${id}`, KEYS.alice)).status).toBe(404), 9000);
    for (const path of [`/download/${id}/${file}`, `/download/${id}/all`, `/status/${id}/result`]) {
      for (const key of [KEYS.alice, KEYS.admin]) {
        expect(await (await service.send(path, key)).text()).toBe(NOT_FOUND);
      }
    }
    await vi.waitFor(async () => expect(await readdir(join(service.directory, 'models'))).toEqual([]), 9000);
  }, 30_000);
});

describe('a job of another client', () => {
  let service: Started;
  let job: { readonly id: string; readonly file: string };
  let running: string;
  beforeAll(async () => {
    service = await startImage2Model({ env: PRODUCTION, worker: slow(0.5, 2) });
    job = await service.made(KEYS.alice);
    running = await submitOne(service, KEYS.alice);
  });
  afterAll(() => service.close());

  /** Every way to a job, with its id in place of `:id`. */
  const ROUTES: readonly (readonly [method: string, route: string, headers: Record<string, string>])[] = [
    ['GET', '/status/:id', {}],
    ['HEAD', '/status/:id', {}],
    ['GET', '/status/:id/result', {}],
    ['GET', '/status/:id/result?file=chair.glb', {}],
    ['GET', '/status/:id/events', {}],
    ['GET', '/status/tasks/:id/stream', {}],
    ['DELETE', '/status/:id', {}],
    ['GET', '/download/:id/all', {}],
    ['HEAD', '/download/:id/all', {}],
    ['GET', '/download/:id/chair.glb', {}],
    ['HEAD', '/download/:id/chair.glb', {}],
    ['GET', '/download/:id/chair.glb', { Range: 'bytes=0-3' }],
    ['GET', '/download/:id/chair.glb', { 'If-None-Match': '*' }],
    ['GET', '/download/:id/chair.glb', { 'Job-Token': GUESSED }],
    ['GET', '/download/:id/CHAIR.GLB', {}],
    ['GET', '/download/:id/..%2f..%2fimages', {}],
    ['GET', '/status/:id/events', { 'Last-Event-ID': '99' }],
  ];

  /** What a client sees of an answer, but for what differs by nature: the time, the id of the request and the quota. */
  async function seen(method: string, path: string, key: string | undefined, headers: Record<string, string> = {}) {
    const response = await service.send(path, key, { method, headers });
    const shown = [...response.headers].filter(
      ([name]) => !/^(date|x-request-id|ratelimit|x-ratelimit-.*)$/.test(name),
    );
    return { status: response.status, headers: shown, body: await response.text() };
  }

  it.each(ROUTES)('is missing: %s %s', async (method, route, headers) => {
    for (const id of [job.id, running]) {
      const foreign = await seen(method, route.replace(':id', id), KEYS.bob, headers);
      expect(foreign).toEqual(await seen(method, route.replace(':id', GUESSED), KEYS.bob, headers));
      expect([foreign.status, foreign.body]).toEqual([404, method === 'HEAD' ? '' : NOT_FOUND]);
    }
  });

  it.each(ROUTES)('says nothing to a caller without a key: %s %s', async (method, route, headers) => {
    const foreign = await seen(method, route.replace(':id', job.id), undefined, headers);
    const missing = await seen(method, route.replace(':id', GUESSED), undefined, headers);
    expect(foreign).toEqual(missing);
    expect(foreign.status).toBe(route === '/download/:id/all' ? 200 : 401);
  });

  it.each(ROUTES)('says nothing to a caller with a wrong key: %s %s', async (method, route, headers) => {
    // Each from an address of its own, since failed attempts are counted.
    for (const id of [job.id, GUESSED]) {
      const from = { ...headers, 'X-Forwarded-For': `198.51.100.${ROUTES.findIndex(([, path]) => path === route)}` };
      const { status, body } = await seen(method, route.replace(':id', id), KEYS.unknown, from);
      expect([status, body === '' || body.includes('INVALID_API_KEY')]).toEqual([403, true]);
    }
  });

  it.each([
    '/download/:id/..%2F..%2Fimages',
    '/download/:id/%2e%2e',
    '/download/:id/.',
    '/download/:id/chair.glb%00',
    '/download/:id/chair.glb%2F',
    '/download/../status/:id',
    '/status/%2e%2e/download/:id/all',
  ])('is not reached by a path such as %s', async (path) => {
    const headers = { Authorization: `Bearer ${KEYS.bob}` };
    const raw = await rawRequest(service.origin, `/api/v1${path.replace(':id', job.id)}`, 'localhost', { headers });
    expect([400, 404]).toContain(raw.status);
    expect(raw.body).not.toContain('glTF');
  });

  it('was not cancelled by any of this', async () => {
    expect(await service.ended(running, KEYS.alice)).toMatchObject({ status: 'succeeded' });
  });

  it.each([
    ['the key that replaces the first one', KEYS.aliceNext],
    ['the administrator', KEYS.admin],
  ])('is there for %s', async (_who, key) => {
    const whole = await service.send(`/download/${job.id}/${job.file}`, key);
    const bytes = Buffer.from(await whole.arrayBuffer());
    expect([whole.status, bytes.toString('latin1', 0, 4)]).toEqual([200, 'glTF']);
    const head = await service.send(`/download/${job.id}/${job.file}`, key, { method: 'HEAD' });
    expect([head.status, head.headers.get('Content-Length'), await head.text()]).toEqual([200, `${bytes.length}`, '']);
    const part = await service.send(`/download/${job.id}/${job.file}`, key, { headers: { Range: 'bytes=4-7' } });
    expect([part.status, part.headers.get('Content-Range')]).toEqual([206, `bytes 4-7/${bytes.length}`]);
    expect(Buffer.from(await part.arrayBuffer())).toEqual(bytes.subarray(4, 8));
  });

  it('is found by a guess no faster than 60 times a minute', async () => {
    const { send } = await start();
    const statuses = [];
    for (let i = 0; i < 62; i++) statuses.push((await send(`/status/${GUESSED}`, KEYS.bob)).status);
    expect(statuses.slice(-3)).toEqual([404, 429, 429]);
  });
});

describe('development mode', () => {
  const env = { ...MANY, ENVIRONMENT: 'development' };

  it('refuses pages of other origins, which could start jobs', async () => {
    const { origin, send } = await start({ env });
    const upload = (headers: Record<string, string>) => send('/upload', undefined, { method: 'POST', headers });
    const refused = await upload({ Origin: 'https://evil.example' });
    expect(await read(refused)).toMatchObject([403, { error_code: 'PAGE_FOREIGN' }]);
    expect((await upload({ 'Sec-Fetch-Site': 'cross-site' })).status).toBe(403);
    // It has no body, so it gets further.
    expect((await upload({ Origin: origin, 'Sec-Fetch-Site': 'same-origin' })).status).toBe(400);
  });

  it('serves a page that may call nothing but this service', async () => {
    const { origin } = await start({ env });
    const page = await fetch(`${origin}/page`);
    expect([page.status, page.headers.get('Content-Security-Policy')]).toEqual([
      200,
      "default-src 'none'; script-src 'self'; connect-src 'self'; form-action 'none'; frame-ancestors 'none'",
    ]);
    expect(await page.text()).toContain('<script src="/page/page-script.js" type="module">');
    expect((await fetch(`${origin}/page/page-script.js`)).headers.get('Content-Type')).toMatch(/^text\/javascript/);
  });
});

describe('images of a process that has died', () => {
  it('are removed after a week', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'image2model-left-'));
    try {
      const first = await startImage2Model({ env: PRODUCTION, directory, worker: slow(20) });
      await submitOne(first, KEYS.alice);
      expect(await readdir(join(directory, 'images'))).toHaveLength(1);
      await first.close();
      const [left = ''] = await readdir(join(directory, 'images'));
      await mkdir(join(directory, 'images', 'of-today'));
      const lastWeek = Date.now() / 1000 - 8 * 86_400;
      await utimes(join(directory, 'images', left), lastWeek, lastWeek);
      await start({ env: PRODUCTION, directory });
      expect(await readdir(join(directory, 'images'))).toEqual(['of-today']);
    } finally {
      await rm(directory, { recursive: true });
    }
  });
});
