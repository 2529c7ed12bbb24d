import fc from 'fast-check';
import { beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import type { Exchange } from '../../src/core/exchange.js';
import type { Guard } from '../../src/core/guard.js';
import { problem } from '../../src/core/problem.js';
import { refuse } from '../../src/core/reply.js';
import { reportFaults } from '../../src/core/report-faults.js';
import { leaseKeeperOf } from '../../src/limit/lease-keeper.js';
import { type LimitOptions, limit } from '../../src/limit/limit.js';
import { memoryStore } from '../../src/limit/memory/memory-store.js';
import { concurrency, dailyQuota, gpuTime, slidingWindow } from '../../src/limit/policy.js';
import { upload } from '../../src/upload/upload.js';
import { Client } from '../raw-client.js';
import { MULTIPART, multipart } from '../upload/multipart.js';
import type { Handler, Route, Serve } from './adapter/index.js';
import { ManualClock } from './limit-store.js';

const NOON = Date.UTC(2025, 5, 15, 12);
const WINDOW = 1000;
/** `npm run test:long` asks for more. */
const RUNS = Math.ceil(Number(process.env.PROPERTY_RUNS ?? 150) / 10);

const png = {
  name: 'a',
  filename: 'a.png',
  body: Buffer.from(
    'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR4nGNgYGD4DwABBAEAX+XDSwAAAABJRU5ErkJggg==',
    'base64',
  ),
};
const text = { name: 'b', filename: 'b.png', body: 'not an image' };
const GOOD = multipart([png]);
/** Refused on its last part. */
const BAD = multipart([png, { ...png, name: 'c' }, text]);

const OK: Handler = { does: 'answer', status: 200, body: {} };
const answer = (status: number): Handler => ({ does: 'answer', status, body: {} });
const refusing: Guard = () => refuse(problem('scope-insufficient'));
const uploads = upload({ files: { types: ['image/png'], maxBytes: '1mb', maxCount: 5 } });

/** Reads the whole body, and then refuses. */
const readsAndRefuses: Guard = async ({ request }) => {
  await request.readBody?.(100);
  return refuse(problem('credentials-invalid'));
};

/** What stands behind the limit, by path. */
const BEHIND: Readonly<Record<string, readonly [guards: readonly Guard[], handler: Handler]>> = {
  '/ok': [[], OK],
  '/error': [[], answer(503)],
  '/throw': [[], { does: 'throw', error: new Error('broken') }],
  '/hang': [[], { does: 'write', write: () => undefined, respond: () => new Promise(() => undefined) }],
  '/refused': [[refusing], OK],
  '/read': [[readsAndRefuses], OK],
  '/upload': [[uploads], OK],
  '/upload-error': [[uploads], answer(500)],
};

/**
 * What `limit` gives back, over sockets. A client must not be able to provoke refunds without end: in every window, at most
 * twice the limit of work is started, whatever the client does.
 */
export function refundCases(name: string, serve: Serve): void {
  describe(`refunds, through ${name}`, () => {
    let port: number;
    let guard: Guard & Pick<ReturnType<typeof limit>, 'peek'>;
    const clock = new ManualClock(NOON);
    /** The exchanges that the limit has admitted. */
    let admitted: { readonly exchange: Exchange; readonly at: number }[];
    let ended: Promise<unknown>;
    let entered: () => void;
    let onAdmitted: (exchange: Exchange) => void;

    function limited(units: number, options: Partial<LimitOptions> = {}): void {
      clock.set(NOON);
      admitted = [];
      guard = limit({
        store: memoryStore({ now: clock.now }),
        by: 'client-ip',
        policies: [slidingWindow({ limit: units, window: `${WINDOW}ms` }), dailyQuota({ limit: 100_000 })],
        ...options,
      });
    }

    beforeEach(async () => {
      const serving = await serve({
        guards: [[reportFaults(() => undefined)]],
        routes: Object.entries(BEHIND).map(
          ([path, [behind, handler]]): Route => ({
            method: 'POST',
            path,
            guards: [
              [
                (exchange) => {
                  ended = new Promise((resolve) => exchange.onEnd(resolve));
                  return guard(exchange);
                },
                (exchange) => {
                  admitted.push({ exchange, at: clock.now() });
                  onAdmitted(exchange);
                  return undefined;
                },
                ...behind,
              ],
            ],
            handler,
          }),
        ),
        entered: () => entered(),
      });
      port = serving.port;
      ended = Promise.resolve();
      entered = () => undefined;
      onAdmitted = () => undefined;
      limited(5);
      onTestFinished(serving.close);
    });

    interface Sent {
      readonly path: string;
      readonly body?: Buffer;
      readonly type?: string;
      /** Bytes of the body that are sent before the client leaves. */
      readonly leavesAfter?: number;
      readonly by?: 'end' | 'reset';
    }

    /** Sends one request on its own connection. Returns its status, once its exchange has ended. */
    async function send({ path, body = Buffer.alloc(0), type = MULTIPART, leavesAfter, by = 'end' }: Sent) {
      const client = await Client.connect(port);
      let started = false;
      const start = new Promise<void>((resolve) => {
        entered = () => {
          started = true;
          resolve();
        };
      });
      const before = ended;
      const typeLine = body.length === 0 ? '' : `Content-Type: ${type}\r\n`;
      client.socket.write(`POST ${path} HTTP/1.1\r\nHost: gatewarden.test\r\n${typeLine}`);
      client.socket.write(`Content-Length: ${body.length}\r\n\r\n`);
      client.socket.write(body.subarray(0, leavesAfter ?? body.length));
      if (leavesAfter === undefined && path !== '/hang') {
        const { status } = await client.answer();
        await ended;
        client.socket.destroy();
        return status;
      }
      // It leaves while its body is read, or while its handler runs.
      await expect.poll(() => ended !== before, { interval: 2 }).toBe(true);
      if (path === '/hang' && admitted.at(-1)?.exchange.outcome === undefined) await Promise.race([start, ended]);
      if (by === 'reset') client.socket.resetAndDestroy();
      else client.socket.destroy();
      await ended;
      return started ? 'left its handler' : 'left';
    }

    const left = async () => (await guard.peek('127.0.0.1'))[0]?.remaining;

    it.each<[what: string, sent: Sent, status: number, left: number]>([
      ['a guard refuses and there is no body', { path: '/refused' }, 403, 5],
      ['a guard refuses and does not read the body', { path: '/refused', body: BAD }, 403, 5],
      ['the body is no multipart', { path: '/upload', body: BAD, type: 'text/plain' }, 400, 5],
      ['the body announces too much', { path: '/upload', body: Buffer.alloc(8_000_000) }, 413, 5],
      ['a guard finds that the body announces too much', { path: '/read', body: Buffer.alloc(101) }, 401, 5],
      ['the handler answers 503', { path: '/error' }, 503, 5],
      ['the handler throws', { path: '/throw' }, 500, 5],
      ['the handler fails after an upload', { path: '/upload-error', body: GOOD }, 500, 5],
    ])('are made if %s', async (_, sent, status, expected) => {
      expect([await send(sent), await left()]).toEqual([status, expected]);
    });

    it.each<[what: string, sent: Sent, status: number | string]>([
      ['the handler answers', { path: '/ok' }, 200],
      ['an upload is refused on its last part', { path: '/upload', body: BAD }, 415],
      ['an upload is refused on its first part', { path: '/upload', body: multipart([text]) }, 415],
      ['an upload is incomplete', { path: '/upload', body: GOOD.subarray(0, -20) }, 400],
      ['a guard refuses after it has read the body', { path: '/read', body: Buffer.from('x') }, 401],
      ['the client leaves while its upload is read', { path: '/upload', body: GOOD, leavesAfter: 100 }, 'left'],
      ['the client leaves while the handler runs', { path: '/hang' }, 'left its handler'],
      ['the client resets the connection', { path: '/hang', by: 'reset' }, 'left its handler'],
    ])('are not made if %s', async (_, sent, status) => {
      expect([await send(sent), await left()]).toEqual([status, 4]);
    });

    it('are made for refusals after the body if they are asked for', async () => {
      limited(5, { refundOn: ['refused-after-body'] });
      await send({ path: '/upload', body: BAD });
      expect(await left()).toBe(5);
      await send({ path: '/refused' });
      expect(await left()).toBe(4);
    });

    const MISDEEDS: readonly Sent[] = [
      { path: '/ok' },
      { path: '/error' },
      { path: '/throw' },
      { path: '/hang' },
      { path: '/hang', by: 'reset' },
      { path: '/refused' },
      { path: '/refused', body: BAD },
      { path: '/read', body: Buffer.from('x') },
      { path: '/upload', body: GOOD },
      { path: '/upload', body: BAD },
      { path: '/upload', body: BAD, type: 'text/plain' },
      { path: '/upload', body: GOOD, leavesAfter: 100 },
      { path: '/upload', body: GOOD, leavesAfter: 100, by: 'reset' },
      { path: '/upload-error', body: GOOD },
    ];

    it('leave no slot held and no lease renewed, whatever the client does', async () => {
      const store = memoryStore();
      const slot = concurrency({ limit: 1, lease: '24h' });
      limited(5, { store, policies: [slot, gpuTime({ limit: '1h', window: '24h', estimate: '20m', lease: '24h' })] });
      for (const misdeed of MISDEEDS) {
        const before = admitted.length;
        await send(misdeed);
        expect(admitted.length, misdeed.path).toBe(before + 1);
        expect(leaseKeeperOf(store).size, misdeed.path).toBe(0);
        expect(await left(), misdeed.path).toBe(1);
      }
      // Nothing was estimated at 20 minutes any more, and little was used.
      expect((await guard.peek('127.0.0.1'))[1]?.remaining).toBeGreaterThan(3_500_000);
    });

    it.each(['end', 'reset'] as const)(
      'leave a slot held until the work has ended, if the client leaves by %s',
      async (by) => {
        const store = memoryStore();
        limited(5, { store, policies: concurrency({ limit: 1 }) });
        let finish: () => void = () => undefined;
        onAdmitted = ({ admission }) => admission?.holdUntil(new Promise<void>((done) => (finish = done)));
        expect(await send({ path: '/hang', by })).toBe('left its handler');
        expect([await left(), leaseKeeperOf(store).size]).toEqual([0, 1]);
        expect(await send({ path: '/ok' })).toBe(429);
        finish();
        await expect.poll(left, { interval: 2 }).toBe(1);
        expect(leaseKeeperOf(store).size).toBe(0);
      },
    );

    it(
      'never let a client start more than twice its limit in any window, whatever it does',
      async () => {
        const step = fc.record({
          misdeed: fc.nat({ max: MISDEEDS.length - 1 }),
          times: fc.integer({ min: 1, max: 6 }),
          passes: fc.oneof(fc.constant(0), fc.nat({ max: 150 }), fc.nat({ max: WINDOW + 1 })),
        });
        const world = fc.record({
          units: fc.integer({ min: 1, max: 3 }),
          // Also with every refund that there is.
          all: fc.boolean(),
          steps: fc.array(step, { minLength: 4, maxLength: 12, size: 'max' }),
        });
        await fc.assert(
          fc.asyncProperty(world, async ({ units, all, steps }) => {
            limited(units, all ? { refundOn: ['refused', 'refused-after-body', 'server-error', 'aborted'] } : {});
            for (const { misdeed, times, passes } of steps) {
              for (let i = 0; i < times; i++) await send(MISDEEDS[misdeed] as Sent);
              clock.advance(passes);
            }
            const inWindow = admitted.map(
              (first) => admitted.filter(({ at }) => at >= first.at && at < first.at + WINDOW).length,
            );
            expect(Math.max(0, ...inWindow)).toBeLessThanOrEqual(2 * units);
          }),
          { numRuns: RUNS },
        );
      },
      RUNS * 2000 + 30_000,
    );
  });
}
