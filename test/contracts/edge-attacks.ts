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
  trustedHosts,
} from '../../src/index.js';
import { FORWARDING_ATTACKS } from '../client-ip/forwarding-attacks.js';
import { ATTACKED_CORS, CORS_ATTACKS } from '../edge/cors-attacks.js';
import { ATTACKED_HOSTS, HOST_ATTACKS } from '../edge/host-attacks.js';
import { Client } from '../raw-client.js';
import type { Route, Serve } from './adapter.js';

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

/** The tables of attacks on CORS and on hosts, over real sockets, through an adapter. */
export function edgeAttacks(name: string, serve: Serve): void {
  describe(`cross-origin requests, through ${name}`, () => {
    it('are allowed and refused as the table has it', async () => {
      const { port, faults, entered } = await served(serve, [cors(ATTACKED_CORS)]);
      for (const { what, method, headers, status, allowed, vary } of CORS_ATTACKS) {
        entered.length = 0;
        const lines = [`${method} / HTTP/1.1`, 'Host: gatewarden.test'];
        const answer = await ask(port, [...lines, ...headers.map(([field, value]) => `${field}: ${value}`)]);
        const own = [
          'allow-origin',
          'allow-credentials',
          'allow-methods',
          'allow-headers',
          'expose-headers',
          'max-age',
          'allow-private-network',
        ];
        const sent = own.filter((field) => answer.field(`access-control-${field}`) !== undefined);
        expect({
          what,
          status: answer.status,
          allowed: answer.field('access-control-allow-origin'),
          vary: answer.field('vary'),
          reached: entered.length,
          nothing: allowed !== undefined || sent.length === 0,
          credentials: answer.field('access-control-allow-credentials'),
          privateNetwork: answer.field('access-control-allow-private-network'),
        }).toEqual({
          what,
          status,
          allowed,
          vary,
          reached: status === 200 ? 1 : 0,
          nothing: true,
          credentials: allowed === undefined ? undefined : 'true',
          privateNetwork: undefined,
        });
      }
      expect(faults).toEqual([]);
    });

    it('can read whatever refuses them', async () => {
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
      const { port } = await served(serve, [cors(ATTACKED_CORS)], refusals);
      for (const i of [...codes.keys(), 'nowhere']) {
        const answer = await ask(port, [`GET /${i} HTTP/1.1`, 'Host: gatewarden.test', 'Origin: https://a.com']);
        expect(answer.status).toBeGreaterThanOrEqual(400);
        expect(answer.field('access-control-allow-origin')).toBe('https://a.com');
        expect(answer.field('access-control-expose-headers')).toContain('Retry-After');
      }
    });
  });

  it(`hosts are served and refused as the table has it, through ${name}`, async () => {
    const { port, faults, entered } = await served(serve, [trustedHosts({ hosts: ATTACKED_HOSTS })]);
    for (const { what, hosts, target = '/', version = '1.1', served, unusual } of HOST_ATTACKS) {
      entered.length = 0;
      const answer = await ask(port, [`GET ${target} HTTP/${version}`, ...hosts.map((host) => `Host: ${host}`)]);
      if (unusual === true && answer.status === 400) continue;
      expect({ what, status: answer.status, reached: entered.length }).toEqual({
        what,
        status: served ? 200 : 400,
        reached: served ? 1 : 0,
      });
    }
    expect(faults).toEqual([]);
  });

  it(`every answer says how long it took, through ${name}`, async () => {
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
          },
        },
        {
          method: 'GET',
          path: '/unsaid',
          guards: [],
          handler: {
            does: 'write',
            write: (_request, response) => {
              response.write('o');
              response.end('k');
            },
          },
        },
      ],
    );
    const statuses: number[] = [];
    for (const path of ['/', '/refused', '/broken', '/nowhere', '/by-hand', '/unsaid']) {
      const answer = await ask(port, [`GET ${path} HTTP/1.1`, 'Host: gatewarden.test']);
      statuses.push(answer.status);
      expect(answer.field('x-process-time'), path).toMatch(/^\d+\.\d{6}$/);
      expect(answer.field('server-timing'), path).toMatch(/^app;dur=\d+\.\d{3}$/);
    }
    expect(statuses).toEqual([200, 401, 500, 404, 200, 200]);
  });

  it(`forwarding headers come to the same client through ${name}`, async () => {
    const { port, faults, entered } = await served(serve, [clientIp({ trust: ['loopback'] })]);
    let beforeNode = 0;
    for (const [what, headers, expected] of FORWARDING_ATTACKS) {
      entered.length = 0;
      const fields = headers.map(([field, value]) => `${field}: ${value}`);
      const answer = await ask(port, ['GET / HTTP/1.1', 'Host: gatewarden.test', ...fields]);
      // A control character: the parser of node:http refuses the request whole.
      if (answer.status === 400 && entered.length === 0) beforeNode++;
      else expect([what, entered[0]?.clientIp]).toEqual([what, expected]);
    }
    expect([faults, beforeNode]).toEqual([[], 1]);
  });
}
