import { describe, expect } from 'vitest';
import { type Guard, securityHeaders } from '../../../src/index.js';
import { get, OK, refusing, streaming } from './routes.js';
import { type Promised, turns } from './stage.js';

/** Headers of guards and headers of the handler in one response. */
export function responseHeaders(promise: Promised): void {
  describe('the headers of a handler', () => {
    const setting: Guard = (exchange) => {
      exchange.set('X-Both', 'guard');
      exchange.set('X-Guard', 'guard');
      return undefined;
    };
    const own = { 'x-both': 'handler' };

    promise('replace those of guards if the framework sends them', async (stage) => {
      await stage.serve([get({ does: 'answer', status: 200, body: {}, headers: own }, [setting])]);
      const answer = await stage.ask('GET /');
      expect([answer.field('x-both'), answer.field('x-guard')]).toEqual(['handler', 'guard']);
      await stage.outcomes(1);
    });

    promise('replace those of guards if the handler calls writeHead', async (stage) => {
      await stage.serve([get(streaming(turns, own), [setting])]);
      const answer = await stage.ask('GET /');
      expect([answer.field('x-both'), answer.field('x-guard')]).toEqual(['handler', 'guard']);
      expect(answer.body.toString()).toBe('one\ntwo\n');
      await stage.outcomes(1);
    });
  });

  promise('a later guard removes a header that an earlier guard has set', async (stage) => {
    const page = securityHeaders({ xFrameOptions: 'SAMEORIGIN', contentSecurityPolicy: false });
    const [first, ...more] = [securityHeaders(), page];
    await stage.serve([
      get(OK, [first], more),
      { ...get(OK, [first], [...more, refusing]), path: '/refused' },
      { ...get(OK, [first, ...more]), path: '/one' },
    ]);
    const client = await stage.connect();
    for (const path of ['/', '/refused', '/one']) {
      client.send(`GET ${path}`);
      const answer = await client.answer();
      const fields = ['x-frame-options', 'content-security-policy', 'referrer-policy'];
      expect([path, ...fields.map((name) => answer.field(name))]).toEqual([
        path,
        'SAMEORIGIN',
        undefined,
        'no-referrer',
      ]);
    }
  });

  promise('Vary holds the values of guards and of the handler', async (stage) => {
    const marking: Guard = (exchange) => {
      exchange.append('Vary', 'Origin');
      return undefined;
    };
    const own = { Vary: 'Accept-Encoding, origin' };
    await stage.serve([
      get({ does: 'answer', status: 200, body: {}, headers: own }, [marking]),
      { ...get({ does: 'answer', status: 200, body: {} }, [marking]), path: '/plain' },
      {
        ...get({ does: 'write', write: (_request, response) => void response.writeHead(200, own).end() }, [marking]),
        path: '/written',
      },
    ]);
    const client = await stage.connect();
    for (const [path, vary] of [
      ['/', ['accept-encoding', 'origin']],
      ['/plain', ['origin']],
      ['/written', ['accept-encoding', 'origin']],
    ] as const) {
      client.send(`GET ${path}`);
      const said = (await client.answer()).field('vary') ?? '';
      expect([
        path,
        said
          .toLowerCase()
          .split(/\s*,\s*/)
          .sort(),
      ]).toEqual([path, vary]);
    }
  });

  promise('Vary is merged whatever form the headers of writeHead have, and once only', async (stage) => {
    const marking: Guard = (exchange) => {
      exchange.append('Vary', 'Origin');
      exchange.onHead(() => exchange.append('Vary', 'Accept'));
      return undefined;
    };
    const heads: readonly (readonly [path: string, head: unknown])[] = [
      ['/object', { 'X-Own': 'yes', VARY: 'Cookie' }],
      ['/inherited', Object.create({ vary: 'none' }, { Vary: { value: 'Cookie', enumerable: true } })],
      ['/list', ['X-Own', 'Vary', 'vary', 'Cookie']],
    ];
    await stage.serve(
      heads.map(([path, head]) => ({
        ...get({ does: 'write', write: (_request, response) => void response.writeHead(200, head as never).end() }, [
          marking,
        ]),
        path,
      })),
    );
    const client = await stage.connect();
    for (const [path] of heads) {
      client.send(`GET ${path}`);
      const answer = await client.answer();
      expect([path, answer.field('vary')]).toEqual([path, 'Origin, Accept, Cookie']);
    }
  });

  promise('the hooks before the head run in reverse order, each once', async (stage) => {
    const order: string[] = [];
    const hooking =
      (name: string): Guard =>
      (exchange) => {
        exchange.onHead(() => {
          order.push(name);
          exchange.append('X-Order', name);
        });
        return undefined;
      };
    await stage.serve([get(streaming(turns), [hooking('first'), hooking('second')], [hooking('third')])]);
    const answer = await stage.ask('GET /');
    expect([answer.field('x-order'), order]).toEqual(['third, second, first', ['third', 'second', 'first']]);
    await stage.outcomes(1);
  });

  promise('the names of the headers of guards are sent in lower case', async (stage) => {
    const setting: Guard = (exchange) => {
      exchange.set('X-Guard-Says', 'Yes');
      return undefined;
    };
    await stage.serve([
      get(OK, [setting, securityHeaders()]),
      { ...get(OK, [setting, securityHeaders(), refusing]), path: '/refused' },
    ]);
    for (const [path, names] of [
      ['/', ['x-guard-says', 'x-frame-options']],
      ['/refused', ['x-guard-says', 'x-frame-options', 'www-authenticate', 'cache-control', 'content-type']],
    ] as const) {
      const client = await stage.connect();
      client.send(`GET ${path}`, 'Connection: close');
      const [head = ''] = (await client.rest()).split('\r\n\r\n');
      for (const name of names) expect(head).toContain(`\r\n${name}: `);
    }
  });
}
