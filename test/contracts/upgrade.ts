import { once } from 'node:events';
import type { Server } from 'node:http';
import { describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import { createGuardUpgrade, guardUpgrade } from '../../src/adapters/upgrade.js';
import {
  authenticate,
  concurrency,
  type Exchange,
  type Guard,
  limit,
  memoryStore,
  type Outcome,
  problem,
  sharedSecret,
  slidingWindow,
} from '../../src/index.js';
import { Client } from '../raw-client.js';

/** A service with a WebSocket at `/ws` that sends back what it receives, and `{ ok: true }` at `/`. */
export interface UpgradeService {
  readonly server: Server;
  readonly port: number;
  /** The exchange of each connection that was upgraded, as the service reads it. */
  readonly connected: (Exchange | undefined)[];
  close(): Promise<void>;
}

/** Starts the service. `arm` is called with its server before anything listens for upgrades, or after that. */
export type StartUpgradeService = (arm: (server: Server) => void) => Promise<UpgradeService>;

const SECRET = 'upgrade-test-secret-0123456789-0123456789';
/** What a client sends to pass `secret()`. */
export const BEARER = { Authorization: `Bearer ${SECRET}` };
export const secret = (): Guard => authenticate(sharedSecret({ secrets: [SECRET] }));

/** The response to a handshake that was refused. */
interface Refusal {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: unknown;
}

/** A WebSocket that is open, or the refusal of its handshake. */
export async function handshake(
  port: number,
  headers: Record<string, string> = {},
  path = '/ws',
): Promise<WebSocket | Refusal> {
  const socket = new WebSocket(`ws://127.0.0.1:${port}${path}`, { headers });
  return new Promise((resolve, reject) => {
    socket.once('open', () => resolve(socket));
    socket.once('error', reject);
    socket.once('unexpected-response', (_request, response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('end', () => {
        // The server of Hono leaves it out.
        const body = Buffer.concat(chunks).toString();
        const isJson = body !== '' && String(response.headers['content-type']).endsWith('json');
        resolve({
          status: response.statusCode ?? 0,
          headers: response.headers,
          body: isJson ? JSON.parse(body) : body,
        });
      });
    });
  });
}

export async function opened(port: number, headers?: Record<string, string>): Promise<WebSocket> {
  const result = await handshake(port, headers);
  if (!(result instanceof WebSocket)) throw new Error(`refused with ${result.status}`);
  return result;
}

export async function refused(port: number, headers?: Record<string, string>, path?: string): Promise<Refusal> {
  const result = await handshake(port, headers, path);
  if (!(result instanceof WebSocket)) return result;
  result.terminate();
  throw new Error('the handshake was not refused');
}

async function closed(socket: WebSocket): Promise<void> {
  const gone = once(socket, 'close');
  socket.close();
  await gone;
}

/** Records how exchanges end. */
export function record(): { readonly watch: Guard; readonly exchanges: Exchange[]; readonly outcomes: Outcome[] } {
  const exchanges: Exchange[] = [];
  const outcomes: Outcome[] = [];
  const watch: Guard = (exchange) => {
    exchanges.push(exchange);
    exchange.onEnd((outcome) => outcomes.push(outcome));
    return undefined;
  };
  return { watch, exchanges, outcomes };
}

/** What `guardUpgrade` promises on every server, over real sockets and with real WebSocket clients. */
export function upgradeContract(name: string, start: StartUpgradeService): void {
  const promise = (text: string, arm: () => readonly Guard[], act: (service: UpgradeService) => Promise<void>) => {
    it(text, async () => {
      const service = await start((server) => guardUpgrade(server, ...arm()));
      try {
        await act(service);
      } finally {
        await service.close();
      }
    });
  };

  describe(`guardUpgrade on ${name}`, () => {
    const log = record();
    promise(
      'refuses a handshake without credentials with 401 before it is upgraded',
      () => [log.watch, secret()],
      async ({ port, connected }) => {
        const { status, headers, body } = await refused(port);
        expect(status).toBe(401);
        expect(body).toEqual({ ...problem('credentials-missing') });
        expect(headers).toMatchObject({
          'content-type': 'application/problem+json',
          'cache-control': 'no-store',
          'www-authenticate': expect.stringMatching(/^Bearer/),
          connection: 'close',
          'content-length': String(JSON.stringify(body).length),
        });
        expect((await refused(port, { Authorization: 'Bearer wrong-0123456789-0123456789-0123456789' })).body).toEqual({
          ...problem('credentials-invalid'),
        });
        expect(connected).toEqual([]);
        expect(log.outcomes).toEqual([
          { kind: 'refused', status: 401, code: 'credentials-missing' },
          { kind: 'refused', status: 401, code: 'credentials-invalid' },
        ]);
      },
    );

    promise(
      'refuses a handshake above the limit with 429',
      () => [
        secret(),
        limit({ by: 'principal', policies: slidingWindow({ limit: 2, window: '1h' }), store: memoryStore() }),
      ],
      async ({ port, connected }) => {
        for (let i = 0; i < 2; i++) await closed(await opened(port, BEARER));
        const { status, headers, body } = await refused(port, BEARER);
        expect([status, body]).toMatchObject([429, { code: 'quota-exceeded', limit: 2 }]);
        expect(Number(headers['retry-after'])).toBeGreaterThan(3000);
        expect(headers['ratelimit-policy']).toContain('q=2');
        expect(connected).toHaveLength(2);
      },
    );

    promise(
      'holds a slot for the life of the connection',
      () => [secret(), limit({ by: 'principal', policies: concurrency({ limit: 1 }), store: memoryStore() })],
      async ({ port }) => {
        const first = await opened(port, BEARER);
        first.send('hello');
        expect(String((await once(first, 'message'))[0])).toBe('hello');
        for (let i = 0; i < 3; i++) {
          expect(await refused(port, BEARER)).toMatchObject({ status: 429, body: { code: 'concurrency-exceeded' } });
        }
        await closed(first);
        await expect.poll(async () => (await handshake(port, BEARER)) instanceof WebSocket).toBe(true);
      },
    );

    const life = record();
    promise(
      'shows its exchange to the service, and ends it as completed when the connection closes',
      () => [life.watch, secret()],
      async ({ port, connected }) => {
        const socket = await opened(port, BEARER);
        await expect.poll(() => connected.length).toBe(1);
        const [exchange] = life.exchanges;
        expect(connected[0]).toBe(exchange);
        expect(exchange?.principal?.id).toBeDefined();
        expect([exchange?.outcome, exchange?.signal.aborted]).toEqual([undefined, false]);
        await closed(socket);
        await expect.poll(() => life.outcomes).toEqual([{ kind: 'completed', status: 101 }]);
        expect(exchange?.signal.aborted).toBe(true);
      },
    );

    promise(
      'refuses pages of other sites, and lets those of its own and other clients pass',
      () => [secret()],
      async ({ port, connected }) => {
        const foreign = await refused(port, { ...BEARER, Origin: 'https://evil.example' });
        expect([foreign.status, foreign.body]).toEqual([403, { ...problem('origin-untrusted') }]);
        expect((await refused(port, { ...BEARER, Origin: 'null' })).status).toBe(403);
        expect(connected).toEqual([]);
        await closed(await opened(port, { ...BEARER, Origin: `http://127.0.0.1:${port}` }));
        await closed(await opened(port, BEARER));
      },
    );

    promise(
      'serves ordinary requests as before',
      () => [secret()],
      async ({ port }) => {
        const response = await fetch(`http://127.0.0.1:${port}/`);
        expect([response.status, await response.json()]).toEqual([200, { ok: true }]);
      },
    );

    it('lets pages of listed origins pass, and no other', async () => {
      const service = await start((server) =>
        createGuardUpgrade({ origin: ['https://app.example', 'https://*.pages.example'] })(server, secret()),
      );
      try {
        for (const Origin of ['https://app.example', 'https://a.pages.example']) {
          await closed(await opened(service.port, { ...BEARER, Origin }));
        }
        for (const Origin of [
          `http://127.0.0.1:${service.port}`,
          'https://pages.example',
          'https://app.example.evil',
        ]) {
          expect((await refused(service.port, { ...BEARER, Origin })).body).toMatchObject({ code: 'origin-untrusted' });
        }
        expect((await refused(service.port, { Origin: 'https://app.example' })).status).toBe(401);
      } finally {
        await service.close();
      }
    });

    it('keeps every early byte while an asynchronous guard decides', async () => {
      const late: Guard = async () => {
        await new Promise((resolve) => setTimeout(resolve, 20));
        return undefined;
      };
      const service = await start((server) => guardUpgrade(server, late));
      const client = await Client.connect(service.port);
      try {
        const [first, second] = [masked('with the head'), masked('while waiting')];
        client.socket.write(Buffer.concat([Buffer.from(handshakeText()), first]));
        client.socket.write(second.subarray(0, 3));
        setTimeout(() => client.socket.write(second.subarray(3)), 5);
        let text = '';
        while (!text.includes('while waiting')) text += String((await once(client.socket, 'data'))[0]);
        expect(text).toMatch(/^HTTP\/1\.1 101 /);
        expect(text).toContain('with the head');
      } finally {
        client.socket.destroy();
        await service.close();
      }
    });
  });
}

/** A handshake of a WebSocket as it is sent. */
export function handshakeText(...fields: readonly string[]): string {
  return [
    'GET /ws HTTP/1.1',
    'Host: gatewarden.test',
    'Connection: Upgrade',
    'Upgrade: websocket',
    'Sec-WebSocket-Version: 13',
    'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
    ...fields,
    '',
    '',
  ].join('\r\n');
}

/** A text frame of a client (RFC 6455 section 5.2), with a mask of zeros. */
function masked(text: string): Buffer {
  return Buffer.concat([Buffer.from([0x81, 0x80 | text.length, 0, 0, 0, 0]), Buffer.from(text)]);
}
