import type { Redis } from 'ioredis';

/** The commands of a client that return bytes and that its types leave out, for a stand-in that passes them on. */
export function byteCommandsOf(client: Redis): object {
  const command =
    (name: string) =>
    (...args: unknown[]): unknown =>
      Reflect.apply(Reflect.get(client, name), client, args);
  return { evalshaBuffer: command('evalshaBuffer'), evalBuffer: command('evalBuffer') };
}
