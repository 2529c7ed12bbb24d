import { once } from 'node:events';
import { Redis, type RedisOptions } from 'ioredis';

/** A client of the server, or of the proxy, at this port of 127.0.0.1, once it is ready. */
export async function connected(port: number, options: RedisOptions): Promise<Redis> {
  const client = new Redis(port, '127.0.0.1', options);
  client.on('error', () => {});
  if (client.status !== 'ready') await once(client, 'ready');
  return client;
}

/** Counts how often a client that is connected connects again. A proxy would count the connections of others as well. */
export function reconnectionsOf(client: { on(event: 'connect', listener: () => void): unknown }): () => number {
  let reconnections = 0;
  client.on('connect', () => {
    reconnections++;
  });
  return () => reconnections;
}
