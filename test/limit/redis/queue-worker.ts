/** A process whose jobs wait for one slot, which all processes share over a queue in Redis. */
import { Redis } from 'ioredis';
import { concurrency } from '../../../src/limit/policy.js';
import type { Ticket, WaitingQueue } from '../../../src/limit/queue/waiting-queue.js';
import { type RedisStore, redisStore } from '../../../src/limit/redis/redis-store.js';

/**
 * - `open`: a store with this prefix, which asks for news at this interval, with a second connection or without.
 * - `join`: a job that holds its slot for so long, or until it is told to end.
 */
export type Order =
  | { readonly kind: 'open'; readonly prefix: string; readonly interval: number; readonly subscribes: boolean }
  | { readonly kind: 'join'; readonly id: number; readonly client: string; readonly holds: number | null }
  | { readonly kind: 'end'; readonly id: number };

/** `at` is the time of day, in milliseconds. */
export interface News {
  readonly kind: 'open' | 'waiting' | 'full' | 'started' | 'ended' | 'in vain' | 'failed';
  readonly id: number;
  readonly at: number;
}

const url = process.env.WORKER_REDIS_URL ?? '';
const client = new Redis(url);
const policy = concurrency({ limit: 1, lease: '1s' });
let store: RedisStore;
let queue: WaitingQueue;
const ends = new Map<number, () => void>();

const tell = (kind: News['kind'], id: number): void => {
  process.send?.({ kind, id, at: Date.now() } satisfies News);
};

function open({ prefix, interval, subscribes }: Extract<Order, { kind: 'open' }>): void {
  const subscriber = subscribes ? new Redis(url) : undefined;
  store = redisStore({ client, subscriber, prefix, queueInterval: `${interval}ms`, timeout: '10s' });
  queue = store.queue({ policy, maxWaiting: 100 });
  tell('open', 0);
}

async function serve(ticket: Ticket, id: number, holds: number | null): Promise<void> {
  for (;;) {
    const decision = await store.admit([policy], ['key'], [1]);
    if (decision.kind === 'admitted') {
      ticket.started();
      tell('started', id);
      await new Promise<void>((end) => (holds === null ? ends.set(id, end) : setTimeout(end, holds)));
      await store.release(decision.receipt);
      ticket.ended();
      tell('ended', id);
      return;
    }
    tell('in vain', id);
    ticket.setAside();
    await ticket.turn();
  }
}

process.on('message', async (order: Order) => {
  if (order.kind === 'open') return open(order);
  const { id } = order;
  if (order.kind === 'end') return ends.get(id)?.();
  try {
    const request = { key: 'key', client: order.client, weight: 1, maxWait: 60_000, estimate: undefined };
    const joined = await queue.join({ ...request, onPlace: undefined });
    tell(joined.kind === 'turn' ? 'started' : joined.kind, id);
    if (joined.kind === 'full') return;
    if (joined.kind === 'waiting') await joined.ticket.turn();
    await serve(joined.ticket, id, order.holds);
  } catch {
    tell('failed', id);
  }
});
client.once('ready', () => process.send?.('ready'));
