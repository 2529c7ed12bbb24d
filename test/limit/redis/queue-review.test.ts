import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, expect, it } from 'vitest';
import { concurrency } from '../../../src/limit/policy.js';
import type { Joined, JoinRequest, Ticket } from '../../../src/limit/queue/waiting-queue.js';
import { redisKey } from '../../../src/limit/redis/layout.js';
import { queueKey } from '../../../src/limit/redis/queue/queue-key.js';
import { redisStore } from '../../../src/limit/redis/redis-store.js';
import type { RedisStoreOptions } from '../../../src/limit/redis/redis-store-options.js';
import { describeRedis } from '../../redis/describe.js';
import { until } from '../../redis/processes.js';
import { useRedis } from '../../redis/suite.js';

const POLICY = concurrency({ limit: 1 });
const REQUEST = { key: 'key', weight: 1, maxWait: 60_000, estimate: undefined, onPlace: undefined };

function ticketOf(joined: Joined, kind: 'turn' | 'waiting'): Ticket {
  if (joined.kind !== kind) throw new Error(`expected ${kind}, but the queue answered ${joined.kind}`);
  return joined.ticket;
}

describeRedis('a queue in Redis, attacked', () => {
  const server = useRedis();
  let prefixes = 0;
  const closing: (() => void)[] = [];
  afterEach(() => {
    for (const close of closing.splice(0)) close();
  });

  function open(prefix: string, options: Partial<RedisStoreOptions> = {}) {
    const client = server.client();
    const store = redisStore({ client, prefix, queueInterval: '50ms', timeout: '2s', ...options });
    const queue = store.queue({ policy: POLICY, maxWaiting: 20 });
    closing.push(() => store.close());
    const join = async (name: string, request: Partial<JoinRequest> = {}) =>
      queue.join({ ...REQUEST, client: name, ...request });
    return { store, client, join };
  }

  const calls = async (): Promise<number> => {
    const stats = await server.cli('INFO', 'commandstats');
    return Number(/cmdstat_evalsha:calls=(\d+)/.exec(stats)?.[1] ?? 0);
  };

  it('makes far fewer calls than there are requests of a flood, and answers each of them', async () => {
    const { join } = open(`review-${prefixes++}:`);
    ticketOf(await join('alice'), 'turn').started();
    for (let i = 0; i < 20; i++) ticketOf(await join(`client-${i}`), 'waiting');
    const before = await calls();
    const flood: Promise<Joined>[] = [];
    for (let i = 0; i < 300; i++) {
      flood.push(join('mallory'));
      await new Promise((done) => setImmediate(done));
    }
    const answers = await Promise.all(flood);
    expect(new Set(answers.map(({ kind }) => kind))).toEqual(new Set(['full']));
    expect((await calls()) - before).toBeLessThan(150);
  });

  it('passes over a dead process also after the clock of the server was set back', async () => {
    const prefix = `review-${prefixes++}:`;
    const [dead, live] = [open(prefix), open(prefix)];
    ticketOf(await dead.join('alice'), 'turn');
    let hasTurn = false;
    void ticketOf(await live.join('bob'), 'waiting')
      .turn()
      .then(({ kind }) => {
        hasTurn = kind === 'turn';
      });
    dead.client.disconnect();
    // As if the server's clock had been an hour ahead until now.
    await server.cli('EVAL', AN_HOUR_AHEAD, '1', queueKey(prefix, redisKey(prefix, 'key'), POLICY.id));
    await delay(100);
    await until('the next has its turn', () => hasTurn);
  });

  it('serves a client beside many others whose turns are always in vain', async () => {
    const prefix = `review-${prefixes++}:`;
    // Each turn takes until the next question of the other process.
    const processes = [1, 2].map(() => open(prefix, { queueInterval: '100ms' }));
    const join = async (name: string, process: number) => (processes[process] as ReturnType<typeof open>).join(name);
    const running = ticketOf(await join('alice', 0), 'turn');
    running.started();
    const blocked: Joined[] = [];
    for (let i = 0; i < 16; i++) blocked.push(await join(`tenant-${i}`, i % 2));
    const served = ticketOf(await join('bob', 0), 'waiting').turn();
    let isOver = false;
    const all = blocked.map(async (joined) => {
      const ticket = ticketOf(joined, 'waiting');
      while (!isOver) {
        await ticket.turn();
        ticket.setAside();
      }
    });
    for (const one of all) one.catch(() => undefined);
    running.ended();
    const result = await Promise.race([served, delay(8000)]);
    isOver = true;
    expect(result).toEqual({ kind: 'turn' });
  });

  it('serves the others when the queue is deleted', async () => {
    const prefix = `review-${prefixes++}:`;
    const { join } = open(prefix);
    const running = ticketOf(await join('alice'), 'turn');
    running.started();
    const waiting = [await join('bob'), await join('carol'), await join('bob')].map((one) => ticketOf(one, 'waiting'));
    await server.cli('DEL', queueKey(prefix, redisKey(prefix, 'key'), POLICY.id));
    const order: number[] = [];
    const all = waiting.map(async (ticket, i) => {
      expect(await ticket.turn()).toEqual({ kind: 'turn' });
      order.push(i);
      ticket.started();
      await delay(10);
      ticket.ended();
    });
    await delay(300);
    expect(order).toEqual([]);
    running.ended();
    await Promise.all(all);
    expect(order.filter((i) => i !== 1)).toEqual([0, 2]);
  });
});

/** Adds an hour to all times of a stored queue. */
const AN_HOUR_AHEAD = `
  local signature = 'gatewarden-queue-1:'
  local queue = cmsgpack.unpack(string.sub(redis.call('GET', KEYS[1]), #signature + 1))
  local function later(list, field)
    for _, one in pairs(list) do one[field] = one[field] + 3600000 end
  end
  for _, field in ipairs({ 'now', 'last' }) do queue[field] = queue[field] and queue[field] + 3600000 end
  later(queue.owners, 1)
  later(queue.clients, 4)
  later(queue.tickets, 8)
  redis.call('SET', KEYS[1], signature .. cmsgpack.pack(queue), 'KEEPTTL')`;
