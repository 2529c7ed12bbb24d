/** What the stores use of a client, or of one of its connections. The names are those of ioredis. */
export interface PortConnection {
  info(section: string): Promise<string>;
  /** A connection is replaced only if this is `ready`, `connect` or undefined. */
  readonly status?: string | undefined;
  /** With `true`: closes the connection and opens a new one. Without this, a connection that is silent stays. */
  readonly disconnect?: ((reconnect?: boolean) => void) | undefined;
}

/** All commands that the stores use, as ioredis has them. The adapters beside this file give them to other clients. */
export interface RedisPort extends PortConnection {
  readonly isCluster: boolean;
  evalsha(sha: string, keyCount: number, ...args: (string | number | Buffer)[]): Promise<unknown>;
  eval(script: string, keyCount: number, ...args: (string | number | Buffer)[]): Promise<unknown>;
  /** These two answer bulk strings as bytes. */
  evalshaBuffer(sha: string, keyCount: number, ...args: (string | number | Buffer)[]): Promise<unknown>;
  evalBuffer(script: string, keyCount: number, ...args: (string | number | Buffer)[]): Promise<unknown>;
  set(key: string, value: string, unit: 'PX', milliseconds: number, condition: 'NX'): Promise<'OK' | null>;
  exists(key: string): Promise<number>;
  incr(key: string): Promise<number>;
  zadd(key: string, score: string | number, member: string): Promise<unknown>;
  zrem(key: string, member: string): Promise<unknown>;
  on(event: 'ready', listener: () => void): unknown;
  off(event: 'ready', listener: () => void): unknown;
  /** The connections of a Cluster. */
  readonly nodes?: (() => readonly PortConnection[]) | undefined;
  /** The name of the server that has a slot of a Cluster, if the client knows it. */
  readonly serverOf?: ((slot: number) => string | undefined) | undefined;
}

/** What the stores use of a client that receives messages. The names are those of ioredis. */
export interface SubscriberPort {
  subscribe(channel: string): Promise<unknown>;
  unsubscribe(channel: string): Promise<unknown>;
  on(event: 'message', listener: (channel: string, message: string) => void): unknown;
  off(event: 'message', listener: (channel: string, message: string) => void): unknown;
}
