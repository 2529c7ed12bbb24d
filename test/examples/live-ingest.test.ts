import { appendFile, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { createGateway } from '../../examples/live-ingest/gateway.js';
import { readSettings } from '../../examples/live-ingest/settings.js';
import { Streams } from '../../examples/live-ingest/streams.js';
import { textLogger } from '../../examples/text-logger.js';
import { rawRequest } from './raw-host.js';

const TOKEN = 'c4n4ry-secret-token-here';
const BET = {
  id: 'bet123',
  nonce: 1,
  amount: 1.5,
  payout: 3,
  difficulty: 'easy',
  roundTarget: 2,
  roundResult: 3.1,
  clientSeed: 'client',
  serverSeedHashed: 'hash',
};

let directory: string;
const open: (() => Promise<void>)[] = [];

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'gatewarden-live-'));
  vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined);
});
afterEach(async () => {
  for (const close of open.splice(0)) await close();
  await rm(directory, { recursive: true });
  vi.restoreAllMocks();
});

async function start(env: Readonly<Record<string, string>> = {}) {
  const settings = readSettings({ INGEST_TOKEN: TOKEN, DATA_FILE: join(directory, 'bets.jsonl'), ...env });
  const streams = await Streams.open(settings.dataFile);
  let printed = '';
  const logger = textLogger((line) => {
    printed += line;
  });
  const app = await createGateway(settings, streams, logger);
  const origin = await app.listen({ host: '127.0.0.1', port: 0 });
  const close = async () => {
    await app.close();
    await streams.close();
  };
  open.push(close);
  const ingest = (body: unknown, headers: Record<string, string> = { 'X-Ingest-Token': TOKEN }) =>
    fetch(`${origin}/live/ingest`, {
      method: 'POST',
      body: typeof body === 'string' ? body : JSON.stringify(body),
      headers: { 'Content-Type': 'application/json', ...headers },
    });
  const stop = async () => {
    open.splice(open.indexOf(close), 1);
    await close();
  };
  return { origin, ingest, stop, printed: () => printed };
}

const read = async (response: Response) => [response.status, await response.json()] as const;

describe('/live/ingest', () => {
  it('accepts a bet, and shows it in its stream', async () => {
    const { ingest, origin } = await start();
    const [status, { streamId }] = (await read(await ingest(BET))) as [number, { streamId: string }];
    expect(status).toBe(200);
    expect(await read(await fetch(`${origin}/live/streams`))).toEqual([
      200,
      {
        streams: [
          {
            id: streamId,
            serverSeedHashed: 'hash',
            clientSeed: 'client',
            totalBets: 1,
            createdAt: expect.any(String),
            lastSeenAt: expect.any(String),
          },
        ],
      },
    ]);
    const [, stream] = (await read(await fetch(`${origin}/live/streams/${streamId}`))) as [number, { bets: object[] }];
    expect(stream.bets).toEqual([{ ...BET, dateTime: expect.any(String), receivedAt: expect.any(String) }]);
    expect((await fetch(`${origin}/live/streams/none`)).status).toBe(404);
  });

  it('accepts a bet once, even if several copies arrive at the same time', async () => {
    const { ingest, origin } = await start();
    const answers = await Promise.all(Array.from({ length: 20 }, () => ingest(BET).then(read)));
    expect(answers.map(([status]) => status)).toEqual(Array.from({ length: 20 }, () => 200));
    expect(answers.filter(([, body]) => (body as { accepted: boolean }).accepted)).toHaveLength(1);
    expect(await (await ingest({ ...BET, id: 'bet124' })).json()).toMatchObject({ accepted: true });
    expect(await (await ingest({ ...BET, clientSeed: 'other' })).json()).toMatchObject({ accepted: true });
    const { streams } = (await (await fetch(`${origin}/live/streams`)).json()) as { streams: { totalBets: number }[] };
    expect(streams.map(({ totalBets }) => totalBets)).toEqual([2, 1]);
  });

  it('remembers its bets after a restart, and after a crash in the middle of a line', async () => {
    const first = await start();
    await first.ingest(BET);
    await first.stop();
    await appendFile(join(directory, 'bets.jsonl'), '{"id":"torn","nonce":1,"am');
    const second = await start();
    expect(await (await second.ingest(BET)).json()).toMatchObject({ accepted: false });
    expect(await (await second.ingest({ ...BET, id: 'bet124' })).json()).toMatchObject({ accepted: true });
    await second.stop();
    const lines = (await readFile(join(directory, 'bets.jsonl'), 'utf8')).trimEnd().split('\n');
    expect(lines.map((line) => (JSON.parse(line) as { id: string }).id)).toEqual(['bet123', 'bet124']);
  });

  it.each<[string, unknown, readonly string[]]>([
    [
      "the guide's incomplete bet",
      { id: 'test', nonce: 1 },
      ['amount', 'payout', 'difficulty', 'roundResult', 'clientSeed', 'serverSeedHashed'],
    ],
    ['an unknown field', { ...BET, currency: 'x' }, ['currency']],
    ['nonce 0', { ...BET, nonce: 0 }, ['nonce']],
    ['a nonce that is not a whole number', { ...BET, nonce: 1.5 }, ['nonce']],
    ['a negative amount', { ...BET, amount: -1 }, ['amount']],
    ['a negative payout', { ...BET, payout: -1 }, ['payout']],
    ['an unknown difficulty', { ...BET, difficulty: 'insane' }, ['difficulty']],
    ['a target of 0', { ...BET, roundTarget: 0 }, ['roundTarget']],
    ['a negative result', { ...BET, roundResult: -1 }, ['roundResult']],
    ['a time that is not a time', { ...BET, dateTime: 'yesterday' }, ['dateTime']],
    ['two mistakes', { ...BET, nonce: '1', amount: null }, ['nonce', 'amount']],
    ['incomplete JSON', '{"id":', []],
    ['an array', [], []],
    ['an empty body', '', []],
  ])('responds with 422 to %s, and names the fields', async (_what, body, fields) => {
    const { ingest, origin } = await start();
    const [status, { detail }] = (await read(await ingest(body))) as [
      number,
      { detail: { loc: string[]; msg: string }[] },
    ];
    expect(status).toBe(422);
    expect(detail.map(({ loc }) => loc.slice(1).join('.')).filter((path) => path !== '')).toEqual(fields);
    expect(detail[0]?.msg).toMatch(/\w/);
    expect(await (await fetch(`${origin}/live/streams`)).json()).toEqual({ streams: [] });
  });

  it('accepts a body with the Content-Type that curl sends by default, and a time of the sender', async () => {
    const { ingest } = await start();
    const headers = { 'X-Ingest-Token': TOKEN, 'Content-Type': 'application/x-www-form-urlencoded' };
    expect((await ingest({ ...BET, dateTime: '2026-01-01T00:00:00Z' }, headers)).status).toBe(200);
  });

  it.each<[string, Record<string, string>, number, string]>([
    ['no token', {}, 401, 'Missing X-Ingest-Token header'],
    ['a wrong token', { 'X-Ingest-Token': 'another-token-entirely' }, 401, 'Invalid ingest token'],
    ['a token in the Authorization header', { Authorization: `Bearer ${TOKEN}` }, 401, 'Missing X-Ingest-Token header'],
  ])('refuses %s', async (_what, headers, status, detail) => {
    const { ingest } = await start();
    expect(await read(await ingest(BET, headers))).toEqual([status, { detail }]);
  });

  it('accepts every caller if no token is set, and warns', async () => {
    const { ingest } = await start({ INGEST_TOKEN: '' });
    expect((await ingest(BET, {})).status).toBe(200);
    expect(process.emitWarning).toHaveBeenCalledWith(expect.stringContaining('everybody'), expect.anything());
  });

  it('accepts each of several tokens, separated by commas', async () => {
    const { ingest } = await start({ INGEST_TOKEN: `${TOKEN}, c4n4ry-of-another-sender` });
    const statuses: number[] = [];
    for (const token of [TOKEN, 'c4n4ry-of-another-sender', `${TOKEN},c4n4ry-of-another-sender`, 'c4n4ry', '']) {
      statuses.push((await ingest(BET, { 'X-Ingest-Token': token })).status);
    }
    expect(statuses).toEqual([200, 200, 401, 401, 401]);
  });

  it.each<[string, Record<string, string>]>([
    ['a page of another site', { Origin: 'http://evil.example' }],
    ['a page of another program on this machine', { Origin: 'http://localhost:9999' }],
    ['a page without an origin', { Origin: 'null' }],
    ['a page of the same host over another scheme', { Origin: 'https://localhost:5173' }],
    ['a form of another site', { Origin: 'http://evil.example', 'Content-Type': 'application/x-www-form-urlencoded' }],
    ['a script that sends text', { Origin: 'http://evil.example', 'Content-Type': 'text/plain' }],
    ['a request of another site without Origin', { 'Sec-Fetch-Site': 'cross-site' }],
    ['a request of another port without Origin', { 'Sec-Fetch-Site': 'same-site' }],
  ])('without a token, stores nothing for %s, and charges nobody for it', async (_what, headers) => {
    const { ingest, origin } = await start({ INGEST_TOKEN: '', INGEST_RATE_LIMIT: '1' });
    expect(await read(await ingest(BET, headers))).toEqual([
      403,
      { detail: 'Pages of this origin may not send bets while no token is set.' },
    ]);
    expect(await (await fetch(`${origin}/live/streams`)).json()).toEqual({ streams: [] });
    expect((await ingest(BET, {})).status).toBe(200);
  });

  it('without a token, accepts bets of programs and of pages of the listed origins', async () => {
    const { ingest } = await start({ INGEST_TOKEN: '', API_CORS_ORIGINS: 'http://localhost:5173' });
    for (const headers of [
      {},
      { Origin: 'http://localhost:5173' },
      { Origin: 'http://localhost:5173', 'Sec-Fetch-Site': 'same-site' },
      { 'Sec-Fetch-Site': 'none' },
    ] as Record<string, string>[]) {
      expect([headers, (await ingest(BET, headers)).status]).toEqual([headers, 200]);
    }
  });

  it.each(['evil.example', 'evil.example:8000', '127.0.0.1.evil.example', 'localhost.', '192.0.2.1'])(
    'serves the host %s only if it is localhost',
    async (host) => {
      const { origin } = await start({ INGEST_TOKEN: '' });
      const [method, body] = ['POST', JSON.stringify(BET)];
      const expected = host === 'localhost.' ? [200, 200] : [400, 400];
      expect([
        (await rawRequest(origin, '/live/ingest', host, { method, body })).status,
        (await rawRequest(origin, '/live/streams', host)).status,
      ]).toEqual(expected);
    },
  );

  it('serves the hosts that are set', async () => {
    const { origin } = await start({ TRUSTED_HOSTS: 'live.example' });
    const statuses: (number | undefined)[] = [];
    for (const host of ['live.example', 'localhost']) {
      statuses.push((await rawRequest(origin, '/live/streams', host)).status);
    }
    expect(statuses).toEqual([200, 400]);
  });

  it("counts by the client's address behind a tunnel of Cloudflare", async () => {
    const { ingest, printed } = await start({ INGEST_RATE_LIMIT: '1', TRUSTED_PROXIES: 'cloudflared' });
    const from = async (ip: string) =>
      (await ingest(BET, { 'X-Ingest-Token': TOKEN, 'CF-Connecting-IP': ip, 'X-Forwarded-For': '6.6.6.6' })).status;
    expect([await from('203.0.113.1'), await from('203.0.113.1'), await from('203.0.113.2')]).toEqual([200, 429, 200]);
    await expect.poll(printed).toContain('ip="203.0.113.2"');
  });

  it('refuses the 61st request within a minute with 429, even if the others were invalid', async () => {
    const { ingest } = await start();
    const statuses: number[] = [];
    let last: Response | undefined;
    for (let i = 1; i <= 70; i++) {
      last = await ingest(`{"id": "test${i}", "nonce": ${i}}`);
      statuses.push(last.status);
    }
    expect(statuses).toEqual([...Array.from({ length: 60 }, () => 422), ...Array.from({ length: 10 }, () => 429)]);
    expect(last?.headers.get('X-RateLimit-Limit')).toBe('60');
    expect(last?.headers.get('X-RateLimit-Remaining')).toBe('0');
    expect(Number(last?.headers.get('X-RateLimit-Reset'))).toBeGreaterThan(Date.now() / 1000);
    expect(Number(last?.headers.get('Retry-After'))).toBeGreaterThan(0);
    expect(await last?.json()).toEqual({ detail: 'Rate limit exceeded: 60 requests per minute' });
  });

  it('charges requests with a wrong token', async () => {
    const { ingest } = await start({ INGEST_RATE_LIMIT: '2' });
    const guess = { 'X-Ingest-Token': 'guess-guess-guess' };
    const statuses = [(await ingest(BET, guess)).status, (await ingest(BET, guess)).status, (await ingest(BET)).status];
    expect(statuses).toEqual([401, 401, 429]);
  });

  it('lets pages of the listed origins call it and read the limit', async () => {
    const { origin, ingest } = await start({ API_CORS_ORIGINS: 'http://localhost:5173,http://127.0.0.1:5173' });
    const preflight = await fetch(`${origin}/live/ingest`, {
      method: 'OPTIONS',
      headers: {
        Origin: 'http://localhost:5173',
        'Access-Control-Request-Method': 'POST',
        'Access-Control-Request-Headers': 'content-type,x-ingest-token',
      },
    });
    expect(preflight.status).toBe(204);
    const answer = await ingest(BET, { Origin: 'http://127.0.0.1:5173', 'X-Ingest-Token': TOKEN });
    expect(answer.headers.get('access-control-allow-origin')).toBe('http://127.0.0.1:5173');
    expect(answer.headers.get('access-control-expose-headers')).toContain('X-RateLimit-Remaining');
    const foreign = await ingest(BET, { Origin: 'http://evil.example', 'X-Ingest-Token': TOKEN });
    expect(foreign.headers.get('access-control-allow-origin')).toBeNull();
  });
});

describe('the log', () => {
  const foreign = { Origin: 'http://evil.example', 'X-Ingest-Token': TOKEN };

  it('reports a missing and a wrong token, and shows no token', async () => {
    const { ingest, printed } = await start();
    await ingest(BET, {});
    await ingest(BET, { 'X-Ingest-Token': 'c4n4ry-of-another-sender' });
    await expect.poll(printed).toContain('credentials-invalid');
    const line = (code: string) =>
      new RegExp(`WARNING - \\[[^\\]]+\\] POST /live/ingest 401 .*code="${code}".*ip="127\\.0\\.0\\.1"`);
    expect(printed()).toMatch(line('credentials-missing'));
    expect(printed()).toMatch(line('credentials-invalid'));
    expect(printed()).not.toContain('c4n4ry');
  });

  it('reports refused and admitted requests', async () => {
    const { ingest, printed } = await start({ INGEST_RATE_LIMIT: '1' });
    await ingest(BET);
    await ingest(BET);
    await expect.poll(printed).toMatch(/WARNING - .* POST \/live\/ingest 429 .*code="quota-exceeded"/);
    expect(printed()).toMatch(/INFO - .* POST \/live\/ingest 200 /);
    expect(printed()).not.toContain('c4n4ry');
  });

  it('reports requests from other origins as CORS violations', async () => {
    const { ingest, printed } = await start();
    expect((await ingest(BET, foreign)).status).toBe(200);
    await expect.poll(printed).toMatch(/WARNING - \[[^\]]+\] CORS violation: .*origin="http:\/\/evil\.example"/);
    expect(printed()).toMatch(/INFO - .* POST \/live\/ingest 200 /);
    expect(printed()).not.toContain('c4n4ry');
  });

  it('reports refused preflights', async () => {
    const { origin, printed } = await start();
    const preflight = {
      method: 'OPTIONS',
      headers: { Origin: 'http://evil.example', 'Access-Control-Request-Method': 'POST' },
    };
    expect((await fetch(`${origin}/live/ingest`, preflight)).status).toBe(403);
    await expect.poll(printed).toMatch(/WARNING - .* OPTIONS \/live\/ingest 403 .*code="preflight-refused"/);
    expect(printed()).toMatch(/CORS violation: .*origin="http:\/\/evil\.example"/);
  });

  it.each([
    ['an origin with a password', 'http://user:c4n4ry@evil.example', 'http://evil.example'],
    ['an opaque origin', 'null', 'null'],
    ['text that is not an origin', 'c4n4ry', 'malformed'],
    ['a control character', 'http://evil.example\u009b2J', 'malformed'],
  ])('shows no more than the origin of %s', async (_what, value, shown) => {
    const { ingest, printed } = await start();
    await ingest(BET, { ...foreign, Origin: value });
    await expect.poll(printed).toContain(`origin="${shown}"`);
    expect(printed()).not.toMatch(/c4n4ry|\u009b/);
  });

  it('reports no violation for an allowed origin or a request without one', async () => {
    const { ingest, printed } = await start();
    await ingest(BET);
    await ingest(BET, { Origin: 'http://localhost:5173', 'X-Ingest-Token': TOKEN });
    await expect.poll(() => printed().match(/POST \/live\/ingest 200/g)?.length).toBe(2);
    expect(printed()).not.toContain('CORS');
  });
});

describe('settings', () => {
  it('listen on loopback by default, and follow HOST and PORT', () => {
    expect(readSettings({})).toMatchObject({ host: '127.0.0.1', port: 8000 });
    expect(readSettings({ API_HOST: '0.0.0.0', API_PORT: '9000' })).toMatchObject({ host: '0.0.0.0', port: 9000 });
    expect(readSettings({ API_PORT: '9000', HOST: '::1', PORT: '9001' })).toMatchObject({ host: '::1', port: 9000 });
    expect(readSettings({ API_HOST: '127.0.0.1', HOST: '0.0.0.0' })).toMatchObject({ host: '127.0.0.1', port: 8000 });
    expect(readSettings({ PORT: '9001' })).toMatchObject({ host: '127.0.0.1', port: 9001 });
  });

  it.each(['', '  ', undefined])('treat variables that are %j as not set', (empty) => {
    const names = ['INGEST_TOKEN', 'API_HOST', 'API_PORT', 'HOST', 'PORT', 'INGEST_RATE_LIMIT', 'API_CORS_ORIGINS'];
    const more = ['TRUSTED_PROXIES', 'TRUSTED_HOSTS', 'DATA_FILE', 'NODE_ENV', 'ENVIRONMENT'];
    const environment = Object.fromEntries([...names, ...more].map((name) => [name, empty]));
    expect(readSettings(environment)).toEqual(readSettings({}));
  });

  it.each<[string, string, RegExp]>([
    ['a short token', 'c4n4ry', /tokens\[0\]" must be a string of at least 16 characters/],
    ['a short token among others', `${TOKEN},c4n4ry`, /tokens\[1\]" must be a string of at least 16 characters/],
    ['only a comma', ',', /INGEST_TOKEN" is not accepted/],
    ['a comma at the end', `${TOKEN},`, /tokens\[1\]" is empty/],
    ['a token with a space', 'c4n4ry of a sender 0123', /tokens\[0\]" must have only visible ASCII/],
    ['a repeated token', `${TOKEN}, ${TOKEN}`, /must not list a secret twice/],
  ])('refuse %s, and show none', (_what, INGEST_TOKEN, rule) => {
    expect(() => readSettings({ INGEST_TOKEN })).toThrow(rule);
    expect(() => readSettings({ INGEST_TOKEN })).not.toThrow(/c4n4ry/);
  });

  it('are described without the token', () => {
    const shown = readSettings({ INGEST_TOKEN: TOKEN }).described;
    expect(shown).toContainEqual({ name: 'INGEST_TOKEN', value: 'set', source: 'environment' });
    expect(JSON.stringify(shown)).not.toContain(TOKEN);
  });

  it('report all mistakes at once, and show no token', () => {
    const act = () =>
      readSettings({ INGEST_TOKEN: 'c4n4ry', INGEST_RATE_LIMIT: '0', API_CORS_ORIGINS: '*', API_PORT: 'x' });
    expect(act).toThrow(/INGEST_TOKEN.*API_PORT.*INGEST_RATE_LIMIT.*API_CORS_ORIGINS/s);
    expect(act).toThrow(/"INGEST_TOKEN" is not accepted: ingestToken "tokens\[0\]" must be .*at least 16 characters/);
    expect(act).not.toThrow(/c4n4ry/);
  });

  it('require a token in production if other machines can call', () => {
    expect(() => readSettings({ NODE_ENV: 'production', API_HOST: '0.0.0.0' })).toThrow(/INGEST_TOKEN/);
    expect(() => readSettings({ ENVIRONMENT: 'production', API_HOST: '0.0.0.0' })).toThrow(/INGEST_TOKEN/);
    expect(() => readSettings({ NODE_ENV: 'production' })).not.toThrow();
    expect(() => readSettings({ API_HOST: '0.0.0.0' })).not.toThrow();
  });
});
