import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { clientIp } from '../../src/index.js';
import { DecodeQueue } from '../../src/upload/decode-queue.js';
import { imageInspector, type SharpFunction, upload } from '../../src/upload/index.js';
import { exchangeWith, filePart, noiseImage } from './fixture.js';
import { multipart } from './multipart.js';
import { sharpWith } from './sharp-stand-in.js';

const png = await noiseImage(40, 30).png().toBuffer();
const marked = (mark: number) => Buffer.concat([png, Buffer.of(mark)]);

/** A decoder that ends one image each time it is told to. */
function holding() {
  const started: (number | undefined)[] = [];
  const finish: (() => void)[] = [];
  const sharp: SharpFunction = (input, options) => {
    started.push(typeof input === 'string' ? undefined : input.at(-1));
    return sharpWith(() => new Promise<void>((resolve) => finish.push(resolve)))(input, options);
  };
  return { started, finish, sharp };
}

describe('the decoder', () => {
  it('serves a newcomer before the second image of another client waits', async () => {
    const { started, finish, sharp } = holding();
    const inspect = imageInspector({ types: ['image/png'], maxBytes: '1mb', decode: { sharp, concurrency: 1 } });
    const from = (ip: string) => exchangeWith([], ['X-Forwarded-For', ip]).exchange;
    const [a, b, c] = [from('192.0.2.1'), from('192.0.2.2'), from('192.0.2.3')];
    const guard = clientIp({ trust: ['loopback'] });
    for (const exchange of [a, b, c]) expect(guard(exchange)).toBeUndefined();
    const all = Promise.all([
      ...[1, 2, 3, 4].map((mark) => inspect(marked(mark), a)),
      ...[11, 12].map((mark) => inspect(marked(mark), b)),
      inspect(marked(21), c),
    ]);
    for (let i = 0; i < 7; i++) {
      await expect.poll(() => finish.length).toBe(i + 1);
      finish[i]?.();
    }
    expect((await all).map(({ kind }) => kind)).toEqual(Array.from({ length: 7 }, () => 'accepted'));
    expect(started).toEqual([1, 11, 21, 2, 12, 3, 4]);
  });

  it('knows clients by their principal, in upload as well', async () => {
    const { started, finish, sharp } = holding();
    const guard = upload({
      files: { types: ['image/png'], maxBytes: '1mb' },
      decode: { sharp, concurrency: 1 },
    });
    const send = (mark: number, id: string) => {
      const { exchange } = exchangeWith(multipart([filePart(marked(mark))]));
      exchange.principal = { id, scheme: 'test', scopes: [], credentialId: id };
      return guard(exchange);
    };
    const all = [send(1, 'one')];
    await expect.poll(() => finish.length).toBe(1);
    for (const mark of [2, 3, 4]) all.push(send(mark, 'one'));
    await new Promise((turn) => setTimeout(turn, 50));
    all.push(send(11, 'other'));
    await new Promise((turn) => setTimeout(turn, 50));
    for (let i = 0; i < 5; i++) {
      await expect.poll(() => finish.length).toBe(i + 1);
      finish[i]?.();
    }
    expect(await Promise.all(all)).toEqual(Array.from({ length: 5 }, () => undefined));
    expect(started.indexOf(11)).toBe(1);
  });
});

describe('the queue', () => {
  it('never has more running than allowed, and lets no client wait while another has two turns', () =>
    fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 3 }),
        fc.array(fc.oneof(fc.constantFrom('a', 'b', 'c', 'd', undefined), fc.constant('end' as const)), {
          maxLength: 60,
        }),
        async (concurrency, steps) => {
          const queue = new DecodeQueue(concurrency);
          const running: (string | undefined)[] = [];
          const waiting: (string | undefined)[] = [];
          /** How often others had a turn since a client began to wait. */
          const passed = new Map<string | undefined, Map<string | undefined, number>>();
          for (const step of [...steps, ...steps.map(() => 'end' as const)]) {
            if (step === 'end') {
              if (running.length > 0) queue.release({ signal: undefined, client: running.shift() });
            } else {
              waiting.push(step);
              if (!passed.has(step)) passed.set(step, new Map());
              void queue.acquire({ signal: undefined, client: step }).then(() => {
                waiting.splice(waiting.indexOf(step), 1);
                running.push(step);
                passed.delete(step);
                if (waiting.includes(step)) passed.set(step, new Map());
                for (const [client, turns] of passed) {
                  if (client === step) continue;
                  turns.set(step, (turns.get(step) ?? 0) + 1);
                  expect(turns.get(step)).toBeLessThanOrEqual(2);
                }
              });
            }
            await new Promise((turn) => setImmediate(turn));
            expect(running.length).toBeLessThanOrEqual(concurrency);
            if (waiting.length > 0) expect(running.length).toBe(concurrency);
          }
        },
      ),
      { numRuns: 200 },
    ));
});
