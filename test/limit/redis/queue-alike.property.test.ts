import fc from 'fast-check';
import type { Redis } from 'ioredis';
import { beforeAll, expect, it } from 'vitest';
import { concurrency } from '../../../src/limit/policy.js';
import { FairQueue } from '../../../src/limit/queue/fair-queue.js';
import type { FairTicket } from '../../../src/limit/queue/queue-client.js';
import type { Ticket, TurnResult, WaitingQueue } from '../../../src/limit/queue/waiting-queue.js';
import { queueKey } from '../../../src/limit/redis/queue/queue-key.js';
import { redisStore } from '../../../src/limit/redis/redis-store.js';
import { ManualClock } from '../../contracts/limit-store.js';
import { describeRedis } from '../../redis/describe.js';
import { prefixesOf, useAnyRedis } from '../../redis/suite.js';
import { Subscriber } from './queue-simulation.js';

/** `npm run test:long` asks for more. */
const RUNS = Math.ceil(Number(process.env.PROPERTY_RUNS ?? 2000) / 20);
const START = Date.UTC(2025, 9, 25, 21);
const PROCESSES = 3;
const CLIENTS = [
  { client: 'a', weight: 1 },
  { client: 'b', weight: 1 },
  { client: 'c', weight: 3 },
  { client: 'd', weight: 0.5 },
];

type Step =
  | { readonly kind: 'wait'; readonly ms: number }
  | {
      readonly kind: 'join';
      readonly process: number;
      readonly client: number;
      readonly maxWait: number;
      readonly estimate: number | undefined;
    }
  | { readonly kind: 'start' | 'end' | 'leave' | 'aside'; readonly which: number };

const which = fc.nat(30);
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant('wait' as const),
      ms: fc.oneof(fc.nat(20), fc.nat(3000), fc.constantFrom(249, 250, 251)),
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant('join' as const),
      process: fc.nat(PROCESSES - 1),
      client: fc.nat(CLIENTS.length - 1),
      maxWait: fc.oneof(fc.integer({ min: 1, max: 5000 }), fc.constant(60_000)),
      estimate: fc.option(fc.nat(2000), { nil: undefined }),
    }),
  },
  {
    weight: 8,
    arbitrary: fc.record({ kind: fc.constantFrom('start' as const, 'end' as const), which }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constantFrom('leave' as const, 'aside' as const), which }) },
);

/** The client joins again while it is passed over and a slot is free, which random steps seldom do. */
const PASSED_OVER: Step[] = [
  { kind: 'join', process: 0, client: 1, maxWait: 60_000, estimate: undefined },
  { kind: 'join', process: 0, client: 1, maxWait: 60_000, estimate: undefined },
  { kind: 'aside', which: 0 },
  { kind: 'leave', which: 0 },
  { kind: 'start', which: 0 },
  { kind: 'join', process: 0, client: 1, maxWait: 60_000, estimate: undefined },
];

/** One ticket in both queues. */
interface Both {
  readonly fair: FairTicket;
  readonly redis: Ticket;
  result: TurnResult['kind'] | undefined;
  place: number | undefined;
}

const freshPrefix = prefixesOf('queue');

describeRedis(
  'a queue in Redis and in memory',
  () => {
    const target = useAnyRedis();
    let client: Redis;
    /** Commands, without those that only wait for others. */
    let sent = 0;
    beforeAll(() => {
      client = target.client();
      const send = client.sendCommand.bind(client);
      client.sendCommand = (command, ...others) => {
        if (command.name !== 'ping') sent++;
        return send(command, ...others);
      };
    });

    /** Everything that was sent has been answered, also what was sent because of an answer. */
    async function settled(): Promise<void> {
      for (let quiet = 0; quiet < 3; ) {
        const before = sent;
        await new Promise(setImmediate);
        await client.ping();
        await new Promise(setImmediate);
        quiet = sent === before ? quiet + 1 : 0;
      }
    }

    async function compare(slots: number, maxWaiting: number, steps: readonly Step[]): Promise<void> {
      const clock = new ManualClock(START);
      const prefix = freshPrefix();
      const subscriber = new Subscriber();
      const stores = Array.from({ length: PROCESSES }, () =>
        redisStore({ client, subscriber, now: clock.now, prefix, timeout: '10s', queueInterval: '10s' }),
      );
      const queues = stores.map((store) => store.queue({ policy: concurrency({ limit: slots }), maxWaiting }));
      const fair = new FairQueue(slots, maxWaiting);
      const all: Both[] = [];
      const granted = new Set<FairTicket>();
      const grant = () => {
        for (let next = fair.next(clock.now()); next !== undefined; next = fair.next(clock.now())) granted.add(next);
      };
      const expire = () => {
        for (const ticket of fair.expired(clock.now())) {
          fair.leave(ticket, clock.now());
          grant();
        }
      };
      const live = (state: FairTicket['state']) => all.filter(({ fair: { state: own } }) => own === state);
      const watch = (both: Both) => {
        both.redis.turn().then(({ kind }) => {
          both.result = kind;
        });
      };
      const key = queueKey(prefix, `${prefix}key`, concurrency({ limit: slots }).id);
      for (const [i, step] of steps.entries()) {
        const at = `step ${i}: ${JSON.stringify(step)}`;
        const now = clock.now();
        switch (step.kind) {
          case 'wait': {
            clock.advance(step.ms);
            subscriber.wake(key);
            grant();
            expire();
            break;
          }
          case 'join': {
            const { client: id, weight } = CLIENTS[step.client] as (typeof CLIENTS)[number];
            // While no waiting client can use a free slot, a newcomer gets it in Redis. In memory, it may be refused.
            const maxWait = fair.hasSlot ? 86_400_000 : step.maxWait;
            const request = { client: id, weight, maxWait, estimate: step.estimate };
            const arrived = fair.join(request, now);
            grant();
            const place: { position?: number } = {};
            const queue = queues[step.process] as WaitingQueue;
            const joined = await queue.join({ ...request, key: 'key', onPlace: (told) => Object.assign(place, told) });
            if (arrived.ticket === undefined) {
              expect(joined.kind, at).toBe('full');
              if (joined.kind !== 'full') break;
              expect(joined.expectedWait, at).toBeCloseTo(arrived.expectedWait ?? maxWait, 3);
              break;
            }
            const isTurn = granted.has(arrived.ticket);
            expect(joined.kind, at).toBe(isTurn ? 'turn' : 'waiting');
            if (joined.kind === 'full') break;
            const both: Both = { fair: arrived.ticket, redis: joined.ticket, result: undefined, place: undefined };
            if (joined.kind === 'waiting') {
              const { position, expectedWait } = joined.place;
              // In memory, its place is that before it has pushed out another.
              if (arrived.pushedOut === undefined) {
                expect(position, at).toBe(arrived.position);
                if (arrived.expectedWait === undefined) expect(expectedWait, at).toBeUndefined();
                else expect(expectedWait, at).toBeCloseTo(arrived.expectedWait, 3);
              }
              watch(both);
            } else both.result = 'turn';
            all.push(both);
            break;
          }
          default: {
            const from = step.kind === 'end' ? live('running') : step.kind === 'leave' ? all : live('turn');
            const both = from[step.which % Math.max(1, from.length)];
            if (both === undefined) break;
            if (step.kind === 'start') {
              fair.start(both.fair, now);
              both.redis.started();
            } else if (step.kind === 'end') {
              fair.end(both.fair, now);
              both.redis.ended();
            } else if (step.kind === 'leave') {
              fair.leave(both.fair, now);
              both.redis.leave();
            } else {
              fair.setAside(both.fair, now);
              both.result = undefined;
              both.redis.setAside();
              watch(both);
            }
            grant();
            expire();
            break;
          }
        }
        await settled();
        subscriber.wake(key);
        await settled();
        for (const [n, { fair: ticket, result }] of all.entries()) {
          const hasTurn = ticket.state === 'turn';
          if (hasTurn) expect(result, `${at}: ticket ${n}`).toBe('turn');
          if (ticket.state === 'waiting') expect(result, `${at}: ticket ${n}`).toBeUndefined();
        }
      }
      // Nothing is left of them.
      for (const { redis } of all) {
        redis.leave();
        redis.ended();
      }
      await settled();
      for (const store of stores) store.close();
      await settled();
      expect(await client.exists(key)).toBeLessThanOrEqual(1);
    }

    it(
      'serve the same tickets in the same order',
      async () => {
        const property = fc.asyncProperty(
          fc.integer({ min: 1, max: 3 }),
          fc.integer({ min: 1, max: 6 }),
          fc.array(step, { minLength: 5, maxLength: 60 }),
          compare,
        );
        await fc.assert(property, { numRuns: RUNS, examples: [[2, 1, PASSED_OVER]] });
      },
      RUNS * 1000 + 30_000,
    );
  },
  { anyServer: true },
);
