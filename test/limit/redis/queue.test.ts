import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { type Cluster, Redis } from 'ioredis';
import { afterEach, describe, expect, it } from 'vitest';
import { OptionError } from '../../../src/core/option.js';
import { limit } from '../../../src/limit/limit.js';
import { concurrency, dailyQuota, gpuTime, slidingWindow } from '../../../src/limit/policy.js';
import type { Joined, JoinRequest, Ticket } from '../../../src/limit/queue/waiting-queue.js';
import { slotOf } from '../../../src/limit/redis/cluster-slot.js';
import { clientName, queueKey } from '../../../src/limit/redis/queue/queue-key.js';
import { redisStore } from '../../../src/limit/redis/redis-store.js';
import type { RedisStoreOptions } from '../../../src/limit/redis/redis-store-options.js';
import { StoreError } from '../../../src/limit/store.js';
import { testExchange } from '../../exchange-fixture.js';
import { describeRedis } from '../../redis/describe.js';
import { until } from '../../redis/processes.js';
import { prefixesOf, useCluster, useRedis } from '../../redis/suite.js';

const POLICY = concurrency({ limit: 1 });
const REQUEST: JoinRequest = {
  key: 'key',
  client: 'alice',
  weight: 1,
  maxWait: 60_000,
  estimate: undefined,
  onPlace: undefined,
};

/** The commands of a queue, and what ioredis needs. */
const BASICS = ['+evalsha', '+eval', '+get', '+set', '+time', '+info'];

const closing: (() => void)[] = [];
const newPrefix = prefixesOf('queue');

/** A store of its own, as a process has it. */
function open(client: Redis | Cluster, prefix: string, options: Partial<RedisStoreOptions> = {}) {
  const store = redisStore({ client, prefix, queueInterval: '50ms', timeout: '2s', ...options });
  const queue = store.queue({ policy: POLICY, maxWaiting: 10 });
  closing.push(() => store.close());
  return {
    store,
    join: async (name: string, request: Partial<JoinRequest> = {}): Promise<Joined> =>
      queue.join({ ...REQUEST, client: name, ...request }),
  };
}

function ticketOf(joined: Joined, kind: 'turn' | 'waiting'): Ticket {
  if (joined.kind !== kind) throw new Error(`expected ${kind}, but the queue answered ${joined.kind}`);
  return joined.ticket;
}

/** What became of a ticket, or undefined while it waits. */
function watch(ticket: Ticket): { result: string | undefined } {
  const watched: { result: string | undefined } = { result: undefined };
  ticket.turn().then(
    ({ kind }) => {
      watched.result = kind;
    },
    (error: unknown) => {
      watched.result = error instanceof StoreError ? error.code : String(error);
    },
  );
  return watched;
}

/** A proxy that delivers what a client sends, and on demand no reply. */
class DeafProxy {
  isDeaf = false;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  private constructor(target: { readonly host: string; readonly port: number }) {
    this.#server = createServer((client) => {
      const upstream = connect(target.port, target.host);
      for (const socket of [client, upstream]) {
        this.#sockets.add(socket);
        socket.on('error', () => {});
      }
      client.pipe(upstream);
      upstream.on('data', (reply) => void (this.isDeaf || client.write(reply)));
    });
  }

  static async start(target: { readonly host: string; readonly port: number }): Promise<DeafProxy> {
    const proxy = new DeafProxy(target);
    await new Promise<void>((listening) => proxy.#server.listen(0, '127.0.0.1', listening));
    return proxy;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  stop(): void {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
  }
}

afterEach(() => {
  for (const close of closing.splice(0)) close();
});

describeRedis('a queue in Redis', () => {
  const server = useRedis();

  it('hears of a turn at once over a second connection', async () => {
    const prefix = newPrefix();
    const rules = ['on', '>c4n4ry', `~${prefix}*`, 'resetchannels', `&${prefix}queue:*`, '-@all', ...BASICS];
    const listening = ['+publish', '+subscribe', '+unsubscribe'];
    expect(await server.cli('ACL', 'SETUSER', 'listener', ...rules, ...listening)).toBe('OK');
    const user = { username: 'listener', password: 'c4n4ry' };
    const [one, other] = [1, 2].map(() =>
      open(server.client(user), prefix, { subscriber: server.client(user), queueInterval: '10s' }),
    ) as [ReturnType<typeof open>, ReturnType<typeof open>];
    const running = ticketOf(await one.join('alice'), 'turn');
    running.started();
    const turn = ticketOf(await other.join('bob'), 'waiting').turn();
    // It listens since it has a ticket.
    await until('the other listens', async () => (await server.cli('PUBSUB', 'CHANNELS', `${prefix}*`)) !== '');
    await delay(300);
    const began = performance.now();
    running.ended();
    expect(await turn).toEqual({ kind: 'turn' });
    expect(performance.now() - began).toBeLessThan(3000);
  });

  it('asks at its interval if its user may not publish or subscribe', async () => {
    const rules = [
      'on',
      '>c4n4ry',
      '~*',
      'resetchannels',
      '-@all',
      '+evalsha',
      '+eval',
      '+get',
      '+set',
      '+time',
      '+info',
    ];
    expect(await server.cli('ACL', 'SETUSER', 'queue', ...rules)).toBe('OK');
    const user = { username: 'queue', password: 'c4n4ry' };
    const prefix = newPrefix();
    const [one, other] = [1, 2].map(() => open(server.client(user), prefix, { subscriber: server.client(user) })) as [
      ReturnType<typeof open>,
      ReturnType<typeof open>,
    ];
    const running = ticketOf(await one.join('alice'), 'turn');
    running.started();
    const turn = ticketOf(await other.join('bob'), 'waiting').turn();
    running.ended();
    expect(await turn).toEqual({ kind: 'turn' });
  });

  it('lets the requests of two processes share one slot', async () => {
    const prefix = newPrefix();
    const guards = [1, 2].map(() => {
      const { store } = open(server.client(), prefix);
      const policies = concurrency({ limit: 1, by: 'global' });
      return limit({ store, by: 'principal', policies, queue: { maxWait: '30s' } });
    });
    const running: { end(): void }[] = [];
    const passed: number[] = [];
    const sent = [0, 1, 0, 1, 1].map(async (process, i) => {
      const { exchange } = testExchange();
      exchange.principal = { id: `client-${i % 2}`, scheme: 'test', scopes: [], credentialId: 'first' };
      const reply = await guards[process]?.(exchange);
      if (reply === undefined) {
        passed.push(i);
        running.push({ end: () => exchange.end({ kind: 'completed', status: 200 }) });
      }
      return reply;
    });
    for (let i = 1; i <= sent.length; i++) {
      await until('another request passes', () => passed.length === i);
      await delay(20);
      // One at a time.
      expect(passed).toHaveLength(i);
      running[i - 1]?.end();
    }
    expect(await Promise.all(sent)).toEqual(Array(5).fill(undefined));
    const slots = await open(server.client(), prefix).store.peek([concurrency({ limit: 1, by: 'global' })], ['global']);
    expect(slots[0]?.remaining).toBe(1);
  });

  it('gives no turn while a request that did not queue holds the slot', async () => {
    const prefix = newPrefix();
    const { store, join } = open(server.client(), prefix);
    const others = [
      slidingWindow({ limit: 600, window: '1m' }),
      dailyQuota({ limit: 10 }),
      gpuTime({ limit: '1h', window: '1h', estimate: '1s' }),
    ];
    const decision = await store.admit([...others, POLICY], Array(4).fill('key'), [1, 1, 1000, 1]);
    if (decision.kind !== 'admitted') throw new Error('refused');
    const waiting = ticketOf(await join('alice'), 'waiting');
    const watched = watch(waiting);
    await delay(150);
    expect(watched.result).toBeUndefined();
    await store.release(decision.receipt);
    await until('it has its turn', () => watched.result === 'turn');
    waiting.leave();
  });

  it('takes back a turn that is not used, and gives it to the next', async () => {
    let now = 1_750_000_000_000;
    const prefix = newPrefix();
    const { join } = open(server.client(), prefix, { now: () => now });
    const unused = ticketOf(await join('alice'), 'turn');
    const next = watch(ticketOf(await join('bob'), 'waiting'));
    await delay(150);
    expect(next.result).toBeUndefined();
    now += 2000 + 4 * 2000 + 1;
    await until('the next has its turn', () => next.result === 'turn');
    // It is admitted all the same, if there is a slot.
    unused.started();
    unused.ended();
  });

  it('lets no ticket wait whose reply was lost, and gives its turn to the next', async () => {
    const proxy = await DeafProxy.start(server);
    closing.push(() => proxy.stop());
    const far = new Redis({ host: '127.0.0.1', port: proxy.port });
    far.on('error', () => {});
    closing.push(() => far.disconnect());
    const prefix = newPrefix();
    const { join } = open(far, prefix, { timeout: '200ms' });
    const near = open(server.client(), prefix);
    ticketOf(await join('alice'), 'turn').leave();
    proxy.isDeaf = true;
    const lost = await join('alice').catch((error: unknown) => error);
    expect(lost).toBeInstanceOf(StoreError);
    expect(String(lost)).toContain('Redis did not answer within 200 ms');
    const key = queueKey(prefix, `${prefix}key`, POLICY.id);
    const joined = await near.join('bob');
    if (joined.kind === 'waiting') expect(await joined.ticket.turn()).toEqual({ kind: 'turn' });
    else expect(joined.kind).toBe('turn');
    await until('Redis has forgotten it', async () => !(await server.cli('GET', key)).includes('=alice'));
  });

  it('gives up its places when the store is closed, and rejects those that wait', async () => {
    const prefix = newPrefix();
    const [one, other] = [open(server.client(), prefix), open(server.client(), prefix)];
    const running = ticketOf(await one.join('alice'), 'turn');
    running.started();
    const waiting = ticketOf(await one.join('bob'), 'waiting').turn();
    const next = ticketOf(await other.join('carol'), 'waiting').turn();
    const joining = one.join('dave');
    one.store.close();
    await expect(waiting).rejects.toThrow('gatewarden: the store was closed');
    await expect(joining).rejects.toThrow('gatewarden: the store was closed');
    await expect(one.join('bob')).rejects.toThrow('gatewarden: the store was closed');
    running.ended();
    // What still runs counts until its lease has ended: the other process does not know of its end.
    const settled = await Promise.race([next, delay(200)]);
    expect(settled).toBeUndefined();
  });

  it('names the key of a value that is not its own', async () => {
    const prefix = newPrefix();
    const { join } = open(server.client(), prefix);
    const key = queueKey(prefix, `${prefix}key`, POLICY.id);
    for (const [command, ...args] of [
      ['SET', 'x'],
      ['RPUSH', 'x'],
    ] as const) {
      await server.cli('DEL', key);
      await server.cli(command, key, ...args);
      const error = await join('alice').catch((reason: unknown) => reason);
      expect(error).toMatchObject({ code: 'GATEWARDEN_STORE_DATA' });
      expect(String(error)).toContain(key);
    }
  });

  it('leaves one key, which expires, and none that another key could be named like', async () => {
    const prefix = newPrefix();
    const { join } = open(server.client(), prefix);
    const first = ticketOf(await join('alice'), 'turn');
    const key = queueKey(prefix, `${prefix}key`, POLICY.id);
    expect(await server.cli('KEYS', `${prefix}*`)).toBe(key);
    first.started();
    first.ended();
    await until('the job is over', async () => (await server.cli('GET', key)).includes('alice'));
    // What is known of its length stays for ten minutes.
    const lives = Number(await server.cli('PTTL', key));
    expect(lives).toBeGreaterThan(500_000);
    expect(lives).toBeLessThanOrEqual(600_000 + POLICY.lease);
    // Partition keys have 135 characters at most.
    expect(key.length - prefix.length).toBeGreaterThan(135);
  });

  it('forgets a queue of which nothing is known', async () => {
    const prefix = newPrefix();
    const { join } = open(server.client(), prefix);
    ticketOf(await join('alice'), 'turn').leave();
    await until('the key is gone', async () => (await server.cli('KEYS', `${prefix}*`)) === '');
  });
});

describeRedis('a queue while Redis is away', () => {
  const server = useRedis();

  it('rejects who comes, and in the end who waits, and begins anew', async () => {
    const prefix = newPrefix();
    const { join } = open(server.client({ retryStrategy: () => 50 }), prefix, { timeout: '150ms' });
    const running = ticketOf(await join('alice'), 'turn');
    running.started();
    const waiting = watch(ticketOf(await join('bob'), 'waiting'));
    server.pause();
    const pausedAt = performance.now();
    for (let i = 0; i < 2; i++) {
      await expect(join('carol')).rejects.toMatchObject({ code: 'GATEWARDEN_STORE_UNAVAILABLE' });
    }
    expect(waiting.result).toBeUndefined();
    await until('it waits no longer', () => waiting.result !== undefined);
    expect(waiting.result).toBe('GATEWARDEN_STORE_UNAVAILABLE');
    expect(performance.now() - pausedAt).toBeGreaterThan(1500);
    server.resume();
    running.ended();
    let joined: Joined | undefined;
    await until('Redis is back', async () => {
      joined = await join('dave').catch(() => undefined);
      return joined !== undefined;
    });
    if (joined?.kind === 'waiting') expect(await joined.ticket.turn()).toEqual({ kind: 'turn' });
    else expect(joined?.kind).toBe('turn');
  });

  it('keeps the order of those that wait through a restart that forgets all', async () => {
    const prefix = newPrefix();
    const options = { retryStrategy: () => 20 };
    const [one, other] = [open(server.client(options), prefix), open(server.client(options), prefix)];
    const running = ticketOf(await one.join('alice'), 'turn');
    running.started();
    const waiting: Ticket[] = [];
    for (const [i, name] of ['bob', 'bob', 'bob', 'bob'].entries()) {
      waiting.push(ticketOf(await (i % 2 === 0 ? one : other).join(name), 'waiting'));
    }
    const order: number[] = [];
    waiting.forEach((ticket, i) => {
      ticket.turn().then(
        async () => {
          order.push(i);
          ticket.started();
          await delay(10);
          ticket.ended();
        },
        () => order.push(-1),
      );
    });
    await server.restart();
    await delay(300);
    running.ended();
    await until('all had their turns', () => order.length === 4);
    expect(order).toEqual([0, 1, 2, 3]);
  });
});

describeRedis('queues in a Cluster', () => {
  const cluster = useCluster();

  it('are in the slots of their counters, and serve in order', async () => {
    const prefix = newPrefix();
    const clients = [cluster.client(), cluster.client()] as const;
    const subscriber = cluster.client();
    const [one, other] = [open(clients[0], prefix), open(clients[1], prefix, { subscriber, queueInterval: '200ms' })];
    for (const key of ['a', 'b', 'c', '{d}', 'e{f}g', '}h']) {
      const counter = prefix + key;
      const queue = queueKey(prefix, counter, POLICY.id);
      if (key !== '}h') expect(slotOf(clients[0], queue)).toBe(slotOf(clients[0], counter));
      const running = ticketOf(await one.join('alice', { key }), 'turn');
      running.started();
      const waiting = [
        ticketOf(await other.join('bob', { key }), 'waiting'),
        ticketOf(await one.join('bob', { key }), 'waiting'),
      ] as const;
      running.ended();
      expect(await waiting[0].turn()).toEqual({ kind: 'turn' });
      waiting[0].started();
      waiting[0].ended();
      expect(await waiting[1].turn()).toEqual({ kind: 'turn' });
      waiting[1].leave();
    }
  });
});

describe('the name of a client in Redis', () => {
  it('is bounded, and different for different clients', () => {
    const long = 'x'.repeat(1000);
    const names = ['alice', '', long, `${long}y`, '\ud800', '\ud801', 'x'.repeat(64), clientName(long)].map(clientName);
    expect(new Set(names).size).toBe(names.length);
    for (const name of names) expect(Buffer.byteLength(name)).toBeLessThan(70);
  });
});

describe('the options of a queue in Redis', () => {
  const client = Object.assign(Object.create(null), {
    on: () => undefined,
    off: () => undefined,
    evalshaBuffer: () => undefined,
    evalBuffer: () => undefined,
    subscribe: () => undefined,
    unsubscribe: () => undefined,
  });

  it.each([
    [{ queueInterval: 100 }, 'gatewarden: redisStore "queueInterval" needs a unit'],
    [{ queueInterval: '5ms' }, 'gatewarden: redisStore "queueInterval" must be at least \'10ms\''],
    [{ queueInterval: '1m' }, 'gatewarden: redisStore "queueInterval" must be at most \'10s\''],
    [
      { subscriber: 'redis://:c4n4ry@host' },
      'gatewarden: redisStore "subscriber" must be a client of ioredis, redis 5 or @valkey/valkey-glide, and another',
    ],
    [
      { subscriber: {} },
      'gatewarden: redisStore "subscriber" must be a client of ioredis, redis 5 or @valkey/valkey-glide, and another',
    ],
    [
      { subscriber: client },
      'gatewarden: redisStore "subscriber" must be a client of ioredis, redis 5 or @valkey/valkey-glide, and another',
    ],
  ])('%o is refused', (options, said) => {
    expect(() => redisStore({ client, ...options } as never)).toThrow(OptionError);
    expect(() => redisStore({ client, ...options } as never)).toThrow(said);
  });
});
