import { access, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import fc from 'fast-check';
import { afterAll, afterEach, describe, expect, it } from 'vitest';
import type { Principal } from '../../src/index.js';
import { folder, type JobQueue, jobs, memoryJobStore, type ResultFiles } from '../../src/jobs/index.js';
import { isSafeName } from '../../src/jobs/result-files.js';
import { ManualClock } from '../contracts/limit-store.js';
import { testExchange } from '../exchange-fixture.js';
import { controlled, FRAMEWORKS, keyOf } from './scene.js';

const alice: Principal = { id: 'alice', scheme: 'test', scopes: [], credentialId: 'c' };
const root = await mkdtemp(join(tmpdir(), 'gatewarden-results-'));
afterAll(() => rm(root, { recursive: true, force: true }));
let folders = 0;

const open: JobQueue[] = [];
afterEach(async () => {
  for (const queue of open.splice(0)) await queue.close();
});

function scene(options: Partial<Parameters<typeof jobs>[0]> = {}) {
  const directory = join(root, String(folders++), 'deep');
  const clock = new ManualClock(Date.now());
  const queue = jobs({ store: memoryJobStore({ now: clock.now }), results: folder({ directory }), ...options });
  open.push(queue);
  const submit = async (run: Parameters<JobQueue['submit']>[1] & { run: unknown }) => {
    const request = testExchange({ method: 'POST', principal: alice });
    const answer = await queue.submit(request.exchange, run);
    if (answer.kind !== 'accepted') throw new Error('refused');
    return { ...answer.job, faults: request.faults };
  };
  return { directory, queue, submit, clock };
}

async function collected<T>(items: AsyncIterable<T>): Promise<readonly T[]> {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
}

const exists = (path: string) =>
  access(path).then(
    () => true,
    () => false,
  );

describe('a file of a job', () => {
  it.each([
    ['a text', 'café', 5],
    ['bytes', Buffer.from('abc').subarray(1), 2],
    ['a stream of Node', () => Readable.from([Buffer.from('ab'), Buffer.from('cd')]), 4],
    ['a web stream', () => new Response('abcdef').body, 6],
    ['nothing', '', 0],
  ] as const)('can be made of %s', async (_what, body, bytes) => {
    const { submit, directory } = scene();
    const job = await submit({
      run: (running) =>
        running.file('mesh.glb', 'model/gltf-binary', (typeof body === 'function' ? body() : body) as never),
    });
    const record = await job.ended;
    expect(record?.files).toEqual([{ name: 'mesh.glb', type: 'model/gltf-binary', bytes }]);
    const path = join(directory, job.id, 'mesh.glb');
    expect((await stat(path)).size).toBe(bytes);
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    expect(await readdir(join(directory, job.id))).toEqual(['mesh.glb']);
  });

  it('is waited for, even if the job does not wait for it', async () => {
    const { submit } = scene();
    const source = new Readable({ read: () => undefined });
    const job = await submit({
      run: ({ file }) => {
        void file('slow.bin', 'application/octet-stream', source);
        return 'done';
      },
    });
    source.push('half');
    setTimeout(() => {
      source.push('half');
      source.push(null);
    }, 20);
    expect(await job.ended).toMatchObject({ state: 'succeeded', files: [{ bytes: 8 }], result: '"done"' });
  });

  it('that breaks off fails the job, and leaves nothing behind', async () => {
    const { submit, directory } = scene();
    const source = new Readable({ read: () => undefined });
    const job = await submit({
      run: ({ file }) => {
        void file('first.txt', 'text/plain', 'whole');
        void file('mesh.glb', 'model/gltf-binary', source);
      },
    });
    source.push('half');
    source.destroy(new Error('connection lost'));
    expect(await job.ended).toMatchObject({ state: 'failed', files: [] });
    expect(job.faults).toEqual([new Error('connection lost')]);
    await expect.poll(() => exists(join(directory, job.id))).toBe(false);
  });

  it('that is too large fails the job, whatever it is read from, and is not read to its end', async () => {
    const { submit, directory } = scene({ maxBytes: 100_000 });
    let read = 0;
    const endless = new Readable({
      read() {
        read += 10_000;
        this.push(Buffer.alloc(10_000));
      },
    });
    const job = await submit({ run: ({ file }) => file('big.bin', 'application/octet-stream', endless) });
    expect(await job.ended).toMatchObject({ state: 'failed', problem: { code: 'internal-error' } });
    expect(String(job.faults[0])).toContain('the files of a job are larger than 100000 bytes ("maxBytes")');
    expect(read).toBeLessThan(1_000_000);
    await expect.poll(() => endless.destroyed).toBe(true);
    await expect.poll(() => exists(join(directory, job.id))).toBe(false);
  });

  it('counts with the others of its job', async () => {
    const { submit } = scene({ maxBytes: 10, maxFiles: 2 });
    const sizes = await submit({
      run: async ({ file }) => {
        await file('a', 'text/plain', '123456');
        await file('b', 'text/plain', '123456');
      },
    });
    expect(await sizes.ended).toMatchObject({ state: 'failed' });
    const count = await submit({ run: ({ file }) => ['a', 'b', 'c'].map((name) => file(name, 'text/plain', '')) });
    expect(await count.ended).toMatchObject({ state: 'failed' });
    expect(String(count.faults[0])).toContain('job.file was called for more than 2 files ("maxFiles")');
  });

  it('of a job that is cancelled is removed, and what makes it is stopped', async () => {
    const { submit, queue, directory } = scene();
    const source = new Readable({ read: () => undefined });
    const work = controlled();
    const job = await submit({ run: work.run });
    await work.running;
    await work.job.file('first.txt', 'text/plain', 'whole');
    const saving = work.job.file('mesh.glb', 'model/gltf-binary', source);
    source.push('half');
    const rejected = expect(saving).rejects.toThrow('the job was stopped');
    const request = testExchange({ principal: alice });
    Object.defineProperty(request.exchange.request, 'param', { value: () => job.id });
    await queue.cancel()(request.exchange);
    await rejected;
    expect(source.destroyed).toBe(true);
    await expect(work.job.file('late.txt', 'text/plain', 'late')).rejects.toThrow('the job was stopped');
    work.finish();
    expect(await job.ended).toMatchObject({ state: 'cancelled' });
    await expect.poll(() => exists(join(directory, job.id))).toBe(false);
  });

  it('needs a place', async () => {
    const { submit } = scene({ results: undefined });
    const job = await submit({ run: ({ file }) => file('a.txt', 'text/plain', 'a') });
    expect(await job.ended).toMatchObject({ state: 'failed' });
    expect(String(job.faults[0])).toContain('jobs({ results: folder({ directory }) })');
  });

  it.each([
    '',
    '.',
    '..',
    '../x',
    'a/b',
    'a\\b',
    '/etc/passwd',
    'C:\\x',
    'a\0.glb',
    'a\nb',
    '.hidden',
    'con',
    'CON.txt',
    'lpt1.glb',
    'trailing.',
    'trailing ',
    'a:b',
    'a*',
    'a?',
    '\u202egpj.exe',
    '\ud800',
    'x'.repeat(201),
    'é'.repeat(101),
    7,
    undefined,
  ])('cannot have the name %j', async (name) => {
    const { submit, directory } = scene();
    const job = await submit({ run: ({ file }) => file(name as string, 'text/plain', 'x') });
    expect(await job.ended).toMatchObject({ state: 'failed' });
    expect(String(job.faults[0])).toContain('not safe as a file name');
    expect(await exists(join(directory, job.id))).toBe(false);
  });

  it.each([
    ['mesh.glb', 'MESH.glb'],
    ['café', 'cafe\u0301'],
    ['ﬁle', 'file'],
  ])('cannot have the name %s beside %s', async (first, second) => {
    const { submit } = scene();
    const job = await submit({
      run: async ({ file }) => {
        await file(first, 'text/plain', '1');
        await file(second, 'text/plain', '2');
      },
    });
    expect(await job.ended).toMatchObject({ state: 'failed' });
    expect(String(job.faults[0])).toContain('twice');
  });

  it.each(['', 'text', 'text/html\r\nX: y', 'a/b; c', 7])('cannot have the type %j', async (type) => {
    const { submit } = scene();
    const job = await submit({ run: ({ file }) => file('a', type as string, 'x') });
    expect(await job.ended).toMatchObject({ state: 'failed' });
    expect(String(job.faults[0])).toContain('job.file takes a media type');
  });

  it('never leaves its directory, whatever its name', () => {
    fc.assert(
      fc.property(
        fc.oneof(fc.string({ unit: 'binary' }), fc.string({ unit: fc.constantFrom('.', '/', '\\', 'a', '\0') })),
        (name) => {
          if (!isSafeName(name)) return;
          expect(join('/root', name)).toBe(`/root/${name}`);
          expect(name).not.toMatch(/[/\\\0]/);
        },
      ),
      { numRuns: Number(process.env.PROPERTY_RUNS ?? 1000) },
    );
  });
});

describe('folder', () => {
  const ID = 'AAAAAAAAAAAAAAAAAAAAAA';

  it('takes nothing but ids of jobs and safe names', async () => {
    const results = folder({ directory: join(root, 'strict') });
    const body = () => Readable.from(['x']);
    await expect(results.save('../AAAAAAAAAAAAAAAAAAA', 'a', body())).rejects.toThrow('the id of a job');
    await expect(results.save(ID, '../a', body())).rejects.toThrow('not safe');
    await expect(results.open(ID, '../a')).rejects.toThrow('not safe');
    await expect(results.remove('..')).rejects.toThrow('the id of a job');
    await expect(results.remove('')).rejects.toThrow('the id of a job');
    await results.remove(ID);
    expect(await collected(results.list())).toEqual([]);
  });

  it('lists nothing but directories of jobs', async () => {
    const directory = join(root, 'mixed');
    const results = folder({ directory });
    await results.save(ID, 'a', Readable.from(['x']));
    await mkdir(join(directory, 'other'));
    await writeFile(join(directory, 'BBBBBBBBBBBBBBBBBBBBBA'), 'no directory');
    expect(await collected(results.list())).toEqual([ID]);
  });

  it('removes, at the start, what an earlier process has left, and nothing else', async () => {
    const { directory, submit, queue } = scene();
    const job = await submit({ run: ({ file }) => file('a', 'text/plain', 'x') });
    await job.ended;
    await mkdir(join(directory, 'other'));
    await queue.close();
    expect(await readFile(join(directory, job.id, 'a'), 'utf8')).toBe('x');
    scene({ results: folder({ directory }) });
    await expect.poll(() => exists(join(directory, job.id))).toBe(false);
    expect(await readdir(directory)).toEqual(['other']);
  });

  it('keeps the files of a job that is known, and removes them at the end of its time', async () => {
    const clock = new ManualClock(Date.now());
    const store = memoryJobStore({ now: clock.now });
    const { directory, submit } = scene({ store, ttl: '10s' });
    const job = await submit({ run: ({ file }) => file('a', 'text/plain', 'x') });
    await job.ended;
    const restarted = () => scene({ store, results: folder({ directory }), ttl: '10s' });
    restarted();
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(await exists(join(directory, job.id))).toBe(true);
    clock.advance(10_000);
    await expect.poll(() => exists(join(directory, job.id)), { timeout: 5000 }).toBe(false);
  });

  it('removes nothing while the store does not answer', async () => {
    const { directory, submit } = scene();
    const job = await submit({ run: ({ file }) => file('a', 'text/plain', 'x') });
    await job.ended;
    const faults: unknown[] = [];
    const broken = {
      ...memoryJobStore(),
      ...Object.fromEntries(['create', 'change', 'renew', 'cancel', 'watch'].map((v) => [v, () => undefined])),
      read: async () => Promise.reject(new Error('down')),
    };
    scene({ store: broken as never, results: folder({ directory }), onFault: (error) => faults.push(error) });
    await expect.poll(() => faults).toEqual([new Error('down')]);
    expect(await exists(join(directory, job.id))).toBe(true);
  });
});

const BODY = 'abcdefghijklmnopqrstuvwxyz';
const RANGES = [
  ['bytes=0-0', 206, 'a', 'bytes 0-0/26'],
  ['bytes=0-25', 206, BODY, 'bytes 0-25/26'],
  ['bytes=24-', 206, 'yz', 'bytes 24-25/26'],
  ['bytes=24-99', 206, 'yz', 'bytes 24-25/26'],
  ['bytes=-3', 206, 'xyz', 'bytes 23-25/26'],
  ['bytes=-99', 206, BODY, 'bytes 0-25/26'],
  ['BYTES=1-2', 206, 'bc', 'bytes 1-2/26'],
  ['bytes=26-', 416, undefined, 'bytes */26'],
  ['bytes=-0', 416, undefined, 'bytes */26'],
  ['bytes=99999999999999999999-', 416, undefined, 'bytes */26'],
  ['bytes=5-2', 200, BODY, null],
  ['bytes=0-1,3-4', 200, BODY, null],
  ['bytes=', 200, BODY, null],
  ['bytes=-', 200, BODY, null],
  ['items=0-1', 200, BODY, null],
  ['bytes=a-b', 200, BODY, null],
  ['bytes=0x1-', 200, BODY, null],
] as const;

describe.each(FRAMEWORKS)('a result behind %s', (_name, serve) => {
  async function served(run: Parameters<JobQueue['submit']>[1]) {
    const { queue } = scene();
    const faults: unknown[] = [];
    const url = await serve(queue, (exchange) => queue.respond(exchange, run), faults);
    const response = await fetch(`${url}/jobs`, { method: 'POST', headers: keyOf('alice') });
    const { id } = (await response.json()) as { id: string };
    const ask = (path: string, headers = {}, method = 'GET') =>
      fetch(`${url}/jobs/${id}${path}`, { method, headers: { ...keyOf('alice'), ...headers } });
    await expect.poll(async () => ((await (await ask('')).json()) as { status: string }).status).toBe('succeeded');
    return { ask, faults };
  }

  const oneFile: Parameters<JobQueue['submit']>[1] = {
    run: ({ file }) => file('letters.txt', 'text/plain', BODY),
  };

  it('is a file, with its length, name and type', async () => {
    const { ask } = await served({ run: ({ file }) => file('letters %é.txt', 'text/plain; charset=utf-8', BODY) });
    const response = await ask('/result');
    expect(response.status).toBe(200);
    expect(Object.fromEntries(response.headers)).toMatchObject({
      'accept-ranges': 'bytes',
      'cache-control': 'private, no-cache',
      'content-disposition': `attachment; filename="letters __.txt"; filename*=UTF-8''letters%20%25%C3%A9.txt`,
      'content-length': '26',
      'content-type': 'text/plain; charset=utf-8',
      'content-security-policy': "default-src 'none'; sandbox",
      etag: expect.stringMatching(/^"[\w-]{22}"$/),
      'x-content-type-options': 'nosniff',
    });
    expect(await response.text()).toBe(BODY);
    const { headers, status } = await ask('/result', {}, 'HEAD');
    expect([status, headers.get('content-length'), headers.get('etag')]).toEqual([
      200,
      '26',
      response.headers.get('etag'),
    ]);
  });

  it('is sent in the part that is asked for', async () => {
    const { ask } = await served({ run: ({ file }) => file('a.txt', 'text/plain', BODY) });
    for (const [range, status, body, contentRange] of RANGES) {
      const response = await ask('/result', { range });
      expect([range, response.status, response.headers.get('content-range')]).toEqual([range, status, contentRange]);
      const text = await response.text();
      if (body === undefined) expect(JSON.parse(text)).toMatchObject({ code: 'range-not-satisfiable' });
      else expect([text, response.headers.get('content-length')]).toEqual([body, String(body.length)]);
    }
  });

  it('can be continued and compared by its tag', async () => {
    const { ask } = await served({ run: ({ file }) => file('a.txt', 'text/plain', BODY) });
    const etag = (await ask('/result')).headers.get('etag') ?? '';
    const same = await ask('/result', { range: 'bytes=20-', 'if-range': etag });
    expect([same.status, await same.text()]).toEqual([206, 'uvwxyz']);
    const other = await ask('/result', { range: 'bytes=20-', 'if-range': '"other"' });
    expect([other.status, await other.text()]).toEqual([200, BODY]);
    for (const tags of [etag, `W/${etag}`, `"x", ${etag}`, '*']) {
      const response = await ask('/result', { 'if-none-match': tags });
      expect([response.status, await response.text()]).toEqual([304, '']);
    }
    expect((await ask('/result', { 'if-none-match': '"x"' })).status).toBe(200);
  });

  it('of several files names them, and each has its URL', async () => {
    const { ask } = await served({
      run: async ({ file }) => {
        await file('a.txt', 'text/plain', 'A');
        await file('b ü.txt', 'text/plain', 'B');
      },
    });
    const status = (await (await ask('')).json()) as { id: string; files: { name: string; url: string }[] };
    expect(status.files.map(({ name }) => name)).toEqual(['a.txt', 'b ü.txt']);
    expect(status.files[1]?.url).toBe(`/jobs/${status.id}/result?file=b%20%C3%BC.txt`);
    expect(await (await ask('/result?file=b%20%C3%BC.txt')).text()).toBe('B');
    expect(await (await ask('/files/a.txt')).text()).toBe('A');
    expect(await (await ask('/result')).json()).toEqual({
      files: [
        { name: 'a.txt', type: 'text/plain', bytes: 1 },
        { name: 'b ü.txt', type: 'text/plain', bytes: 1 },
      ],
    });
    for (const path of [
      '/result?file=c.txt',
      '/result?file=',
      '/files/c.txt',
      '/files/..%2Fa.txt',
      '/result?file=..',
    ]) {
      expect((await ask(path)).status, path).toBe(404);
    }
  });

  it.each([
    ['an object', { faces: 9 }],
    ['null', null],
    ['nothing', undefined],
  ])('is %s, as JSON', async (_what, value) => {
    const { ask } = await served({ run: () => value });
    const response = await ask('/result');
    expect(response.headers.get('content-type')).toBe('application/json');
    expect([response.status, await response.json()]).toEqual([200, value ?? null]);
  });

  it('whose file has vanished is 503, and a fault', async () => {
    const gone: ResultFiles = {
      ...folder({ directory: join(root, 'gone') }),
      open: () => Promise.reject(new Error('ENOENT')),
    };
    const { queue } = scene({ results: gone });
    const faults: unknown[] = [];
    const url = await serve(queue, (exchange) => queue.respond(exchange, oneFile), faults);
    const response = await fetch(`${url}/jobs`, { method: 'POST', headers: keyOf('alice') });
    const { id } = (await response.json()) as { id: string };
    await expect
      .poll(async () => (await fetch(`${url}/jobs/${id}/result`, { headers: keyOf('alice') })).status)
      .toBe(503);
    expect(faults.at(-1)).toEqual(new Error('ENOENT'));
  });
});
