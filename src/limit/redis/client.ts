/**
 * The part of an ioredis client, version 5 or 6, that the store uses: a `Redis` or a `Cluster`. The service creates,
 * connects and closes it, and chooses its options.
 */
export interface RedisClient extends RedisConnection {
  /** True for a `Cluster`. */
  readonly isCluster: boolean;
  evalsha(sha: string, keyCount: number, ...args: (string | number | Buffer)[]): Promise<unknown>;
  eval(script: string, keyCount: number, ...args: (string | number | Buffer)[]): Promise<unknown>;
  on(event: 'ready', listener: () => void): unknown;
  off(event: 'ready', listener: () => void): unknown;
  /** The servers of each slot of a `Cluster`, its primary first. */
  readonly slots?: readonly (readonly string[])[];
  /** The connections of a `Cluster`. */
  readonly nodes?: (() => readonly RedisConnection[]) | undefined;
  /** The name of the server that has a slot, for clients that do not have `slots`. */
  readonly serverOf?: ((slot: number) => string | undefined) | undefined;
}

/** ioredis has each command also with an answer in bytes. Its types leave these two out. */
export interface ByteCommands {
  evalshaBuffer(sha: string, keyCount: number, ...args: (string | number | Buffer)[]): Promise<unknown>;
  evalBuffer(script: string, keyCount: number, ...args: (string | number | Buffer)[]): Promise<unknown>;
}

export function hasByteCommands(client: object): client is ByteCommands {
  return ['evalshaBuffer', 'evalBuffer'].every((name) => typeof Reflect.get(client, name) === 'function');
}

/** A client's connection to one server. */
export interface RedisConnection {
  info(section: string): Promise<string>;
  /** What the client does now. The store replaces a connection only if this is `ready` or `connect`. */
  readonly status?: string | undefined;
  /** With `true`: closes the connection and opens a new one. A client without this keeps a connection that is silent. */
  readonly disconnect?: ((reconnect?: boolean) => void) | undefined;
}
