import { describe, expect, it, onTestFinished } from 'vitest';
import {
  clientIp,
  cors,
  type Exchange,
  type Guard,
  problem,
  processTime,
  refuse,
  reportFaults,
  securityHeaders,
  trustedHosts,
} from '../../src/index.js';
import { FORWARDING_CASES } from '../client-ip/forwarding-cases.js';
import { CORS_CASES, CORS_OPTIONS } from '../edge/cors-cases.js';
import { HOST_CASES, SERVED_HOSTS } from '../edge/host-cases.js';
import { Client } from '../raw-client.js';
import type { Route, Serve } from './adapter/index.js';

const ANSWER: Route['handler'] = { does: 'answer', status: 200, body: {} };

async function served(serve: Serve, guards: readonly Guard[], more: readonly Route[] = []) {
  const faults: unknown[] = [];
  const entered: Exchange[] = [];
  const { port, close } = await serve({
    guards: [[reportFaults((error) => faults.push(error)), ...guards]],
    routes: [
      { method: 'GET', path: '/', guards: [], handler: ANSWER },
      { method: 'OPTIONS', path: '/', guards: [], handler: ANSWER },
      ...more,
    ],
    entered: (exchange) => {
      entered.push(exchange);
    },
  });
  onTestFinished(close);
  return { port, faults, entered };
}

async function ask(port: number, lines: readonly string[]) {
  const client = await Client.connect(port);
  onTestFinished(() => void client.socket.destroy());
  client.socket.write(Buffer.from([...lines, 'Connection: close', '', ''].join('\r\n'), 'latin1'));
  return client.answer();
}

/** The tables of CORS requests, hosts and forwarding headers, sent over real sockets to an adapter. */
export function edgeCases(name: string, serve: Serve): void {
  describe(`cors through ${name}`, () => {
    it('allows and refuses the requests of the table', async () => {
      const { port, faults, entered } = await served(serve, [cors(CORS_OPTIONS)]);
      for (const { promise, method, headers, status, allowed, vary } of CORS_CASES) {
        entered.length = 0;
        const lines = [`${method} / HTTP/1.1`, 'Host: gatewarden.test'];
        const answer = await ask(port, [...lines, ...headers.map(([field, value]) => `${field}: ${value}`)]);
        const corsHeaders = [
          'allow-origin',
          'allow-credentials',
          'allow-methods',
          'allow-headers',
          'expose-headers',
          'max-age',
          'allow-private-network',
        ];
        const sent = corsHeaders.filter((field) => answer.field(`access-control-${field}`) !== undefined);
        expect({
          promise,
          status: answer.status,
          allowed: answer.field('access-control-allow-origin'),
          vary: answer.field('vary'),
          reached: entered.length,
          noHeadersUnlessAllowed: allowed !== undefined || sent.length === 0,
          credentials: answer.field('access-control-allow-credentials'),
          privateNetwork: answer.field('access-control-allow-private-network'),
        }).toEqual({
          promise,
          status,
          allowed,
          vary,
          reached: status === 200 ? 1 : 0,
          noHeadersUnlessAllowed: true,
          credentials: allowed === undefined ? undefined : 'true',
          privateNetwork: undefined,
        });
      }
      expect(faults).toEqual([]);
    });

    it('lets an allowed page read every refusal', async () => {
      const codes = [
        'credentials-missing',
        'content-too-large',
        'store-unavailable',
        'authentication-throttled',
      ] as const;
      const refusals = codes.map((code, i): Route => {
        const reply = refuse(problem(code), [['Retry-After', '5']]);
        return { method: 'GET', path: `/${i}`, guards: [[() => reply]], handler: ANSWER };
      });
      const { port } = await served(serve, [cors(CORS_OPTIONS)], refusals);
      for (const i of [...codes.keys(), 'nowhere']) {
        const answer = await ask(port, [`GET /${i} HTTP/1.1`, 'Host: gatewarden.test', 'Origin: https://a.com']);
        expect(answer.status).toBeGreaterThanOrEqual(400);
        expect(answer.field('access-control-allow-origin')).toBe('https://a.com');
        expect(answer.field('access-control-expose-headers')).toContain('Retry-After');
      }
    });
  });

  it(`trustedHosts serves and refuses the hosts of the table through ${name}`, async () => {
    const { port, faults, entered } = await served(serve, [trustedHosts({ hosts: SERVED_HOSTS })]);
    for (const { promise, hosts, target = '/', version = '1.1', served, unusual } of HOST_CASES) {
      // A runtime makes the URL of a request from such a target.
      if (serve.isWeb && !target.startsWith('/')) continue;
      entered.length = 0;
      const answer = await ask(port, [`GET ${target} HTTP/${version}`, ...hosts.map((host) => `Host: ${host}`)]);
      if (unusual === true && answer.status === 400) continue;
      expect({ promise, status: answer.status, reached: entered.length }).toEqual({
        promise,
        status: served ? 200 : 400,
        reached: served ? 1 : 0,
      });
    }
    expect(faults).toEqual([]);
  });

  it(`processTime adds its headers to every response through ${name}`, async () => {
    const refusal = refuse(problem('credentials-missing'));
    const { port } = await served(
      serve,
      [processTime({ serverTiming: true })],
      [
        { method: 'GET', path: '/refused', guards: [[() => refusal]], handler: ANSWER },
        { method: 'GET', path: '/broken', guards: [], handler: { does: 'throw', error: new Error('broken') } },
        {
          method: 'GET',
          path: '/by-hand',
          guards: [],
          handler: {
            does: 'write',
            write: (_request, response) => void response.writeHead(200, { 'Content-Length': 2 }).end('ok'),
            respond: () => new Response('ok'),
          },
        },
        {
          method: 'GET',
          path: '/implicit-head',
          guards: [],
          handler: {
            does: 'write',
            write: (_request, response) => {
              response.write('o');
              response.end('k');
            },
            respond: () => new Response('ok'),
          },
        },
      ],
    );
    const statuses: number[] = [];
    for (const path of ['/', '/refused', '/broken', '/nowhere', '/by-hand', '/implicit-head']) {
      const answer = await ask(port, [`GET ${path} HTTP/1.1`, 'Host: gatewarden.test']);
      statuses.push(answer.status);
      expect(answer.field('x-process-time'), path).toMatch(/^\d+\.\d{6}$/);
      expect(answer.field('server-timing'), path).toMatch(/^app;dur=\d+\.\d{3}$/);
    }
    expect(statuses).toEqual([200, 401, 500, 404, 200, 200]);
  });

  // A web request has every line.
  it.skipIf(serve.isWeb).each([
    [0, 999, 200],
    [0, 1000, 431],
    [0, 1001, 431],
    [0, 1023, 431],
    [0, 5000, 431],
    [0, 7000, 431],
    [999, 1000, 431],
    [1000, 1001, 431],
    [4999, 5000, 431],
  ])(
    `hides no client behind many header lines through ${name}: %d before X-Forwarded-For, %d in all`,
    async (before, count, status) => {
      const { port, faults, entered } = await served(serve, [securityHeaders(), clientIp({ trust: ['loopback'] })]);
      const filler = (lines: number) => Array.from({ length: lines }, () => 'a:');
      const rest = ['Host: gatewarden.test', ...filler(before), 'X-Forwarded-For: 1.2.3.4'];
      // `Connection: close` is added by `ask`.
      const answer = await ask(port, ['GET / HTTP/1.1', ...rest, ...filler(Math.max(0, count - rest.length - 1))]);
      if (status !== 200 && answer.body.length === 0) {
        // From version 24 on, Node refuses such a request itself.
        expect([answer.status, entered.length, faults]).toEqual([status, 0, []]);
        return;
      }
      const problem = JSON.parse(answer.body.toString());
      expect({
        status: answer.status,
        code: problem.code,
        detail: problem.detail,
        nosniff: answer.field('x-content-type-options'),
      }).toEqual({
        status,
        code: status === 200 ? undefined : 'headers-too-many',
        detail: status === 200 ? undefined : 'The request has too many header lines.',
        nosniff: 'nosniff',
      });
      expect(entered.map((exchange) => exchange.clientIp?.ip)).toEqual(status === 200 ? ['1.2.3.4'] : []);
      expect(faults).toEqual([]);
    },
  );

  it.each(['/%', '/%zz', '/%E0%A4%A'])(`guards the path %s, which cannot be decoded, through ${name}`, async (path) => {
    const { port, entered } = await served(serve, [securityHeaders(), clientIp({ trust: ['loopback'] })]);
    const answer = await ask(port, [`GET ${path} HTTP/1.1`, 'Host: gatewarden.test']);
    expect(answer.status).toBeGreaterThanOrEqual(400);
    expect([answer.field('x-content-type-options'), entered.length]).toEqual(['nosniff', 0]);
    const closed = await served(serve, [securityHeaders(), () => refuse(problem('credentials-missing'))]);
    const refused = await ask(closed.port, [`GET ${path} HTTP/1.1`, 'Host: gatewarden.test']);
    expect([refused.status, refused.field('x-content-type-options')]).toEqual([401, 'nosniff']);
    expect(JSON.parse(refused.body.toString()).code).toBe('credentials-missing');
  });

  it.skipIf(serve.isWeb)(`lets no request with dropped header lines pass any guard through ${name}`, async () => {
    const { port, entered } = await served(serve, [trustedHosts({ hosts: ['gatewarden.test'] })]);
    const filler = Array.from({ length: 1200 }, () => 'a:');
    const answer = await ask(port, ['GET / HTTP/1.1', 'Host: gatewarden.test', ...filler, 'Host: evil.example']);
    expect([answer.status, entered.length]).toEqual([431, 0]);
  });

  it(`clientIp determines the client of the table through ${name}`, async () => {
    const { port, faults, entered } = await served(serve, [clientIp({ trust: ['loopback'] })]);
    let refusedByParser = 0;
    for (const [promise, headers, expected] of FORWARDING_CASES) {
      entered.length = 0;
      const fields = headers.map(([field, value]) => `${field}: ${value}`);
      const answer = await ask(port, ['GET / HTTP/1.1', 'Host: gatewarden.test', ...fields]);
      // The HTTP parser of Node.js refuses a request with a control character.
      if (answer.status === 400 && entered.length === 0) refusedByParser++;
      else expect([promise, entered[0]?.clientIp]).toEqual([promise, expected]);
    }
    expect([faults, refusedByParser]).toEqual([[], 1]);
  });
}
