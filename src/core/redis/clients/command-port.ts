import type { PortConnection, RedisPort } from './port.js';

/** An argument of a command, as it is sent. */
export type CommandArgument = string | Buffer;

/** How a client sends commands. */
export interface Transport {
  readonly isCluster: boolean;
  /**
   * Sends a command to the server of `firstKey`, or to any server. Bulk strings are answered as bytes or as text. What the
   * server reports as an error must reject with a `ServerError`.
   */
  send(command: CommandArgument[], firstKey: string | undefined, asBytes: boolean): Promise<unknown>;
  /** Whether a command that ended with this error may have run, and the client can send it again. */
  isUnsure(error: unknown): boolean;
  /** How long to wait before a command is sent again, in milliseconds. 0: the client itself waits for a connection. */
  readonly pause: number;
  on(event: 'ready', listener: () => void): unknown;
  off(event: 'ready', listener: () => void): unknown;
  readonly status?: string;
  disconnect?(reconnect?: boolean): void;
  nodes?(): readonly PortConnection[];
  serverOf?(slot: number): string | undefined;
}

/** An error that the server has replied with. Its message begins with the server's code. */
export class ServerError extends Error {
  override readonly name = 'ReplyError';
}

/** How often the call of a script is sent again, as ioredis does by default. */
const MAX_RESENT = 20;

/** The commands of ioredis, over a client that only sends what it is given. */
export class CommandPort implements RedisPort {
  readonly #transport: Transport;
  readonly disconnect: ((reconnect?: boolean) => void) | undefined;
  readonly nodes: (() => readonly PortConnection[]) | undefined;
  readonly serverOf: ((slot: number) => string | undefined) | undefined;

  constructor(transport: Transport) {
    this.#transport = transport;
    this.disconnect = transport.disconnect?.bind(transport);
    this.nodes = transport.nodes?.bind(transport);
    this.serverOf = transport.serverOf?.bind(transport);
  }

  get isCluster(): boolean {
    return this.#transport.isCluster;
  }

  get status(): string | undefined {
    return this.#transport.status;
  }

  on(event: 'ready', listener: () => void): unknown {
    return this.#transport.on(event, listener);
  }

  off(event: 'ready', listener: () => void): unknown {
    return this.#transport.off(event, listener);
  }

  evalsha(sha: string, keyCount: number, ...args: (string | number | Buffer)[]): Promise<unknown> {
    return this.#evaluate('EVALSHA', sha, keyCount, args, false);
  }

  eval(script: string, keyCount: number, ...args: (string | number | Buffer)[]): Promise<unknown> {
    return this.#evaluate('EVAL', script, keyCount, args, false);
  }

  evalshaBuffer(sha: string, keyCount: number, ...args: (string | number | Buffer)[]): Promise<unknown> {
    return this.#evaluate('EVALSHA', sha, keyCount, args, true);
  }

  evalBuffer(script: string, keyCount: number, ...args: (string | number | Buffer)[]): Promise<unknown> {
    return this.#evaluate('EVAL', script, keyCount, args, true);
  }

  async info(section: string): Promise<string> {
    return String(await this.#transport.send(['INFO', section], undefined, false));
  }

  async set(key: string, value: string, unit: 'PX', milliseconds: number, condition: 'NX'): Promise<'OK' | null> {
    const reply = await this.#transport.send(['SET', key, value, unit, String(milliseconds), condition], key, false);
    return reply === 'OK' ? reply : null;
  }

  async exists(key: string): Promise<number> {
    return Number(await this.#transport.send(['EXISTS', key], key, false));
  }

  async incr(key: string): Promise<number> {
    return Number(await this.#transport.send(['INCR', key], key, false));
  }

  async zadd(key: string, score: string | number, member: string): Promise<unknown> {
    return this.#transport.send(['ZADD', key, String(score), member], key, false);
  }

  async zrem(key: string, member: string): Promise<unknown> {
    return this.#transport.send(['ZREM', key, member], key, false);
  }

  /**
   * Runs a script. If the connection breaks before the reply, the call is sent again, as ioredis does: the scripts know a
   * call that they have already run, and only the reply can say what it has charged.
   */
  async #evaluate(
    command: string,
    script: string,
    keyCount: number,
    args: readonly (string | number | Buffer)[],
    asBytes: boolean,
  ): Promise<unknown> {
    const sent: CommandArgument[] = [command, script, String(keyCount)];
    for (const arg of args) sent.push(typeof arg === 'number' ? String(arg) : arg);
    const firstKey = keyCount > 0 ? String(args[0]) : undefined;
    for (let resent = 0; ; resent++) {
      try {
        return await this.#transport.send(sent, firstKey, asBytes);
      } catch (error) {
        if (resent === MAX_RESENT || !this.#transport.isUnsure(error)) throw error;
        if (this.#transport.pause > 0) await pauseFor(this.#transport.pause);
      }
    }
  }
}

/** Does not keep the process alive: the caller has a timeout of its own. */
function pauseFor(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms).unref();
  });
}
