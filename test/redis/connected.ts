import { once } from 'node:events';
import { Redis, type RedisOptions } from 'ioredis';

/** A client of the server, or of the proxy, at this port of 127.0.0.1, once it is ready. */
export async function connected(port: number, options: RedisOptions): Promise<Redis> {
  const client = new Redis(port, '127.0.0.1', options);
  client.on('error', () => {});
  if (client.status !== 'ready') await once(client, 'ready');
  return client;
}
