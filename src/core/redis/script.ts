import { hash } from 'node:crypto';

/** The part of an ioredis client, version 5 or 6, that runs scripts. */
export interface ScriptingClient {
  evalsha(sha: string, keyCount: number, ...args: (string | number)[]): Promise<unknown>;
  eval(script: string, keyCount: number, ...args: (string | number)[]): Promise<unknown>;
}

/** Whether a value has the commands that run scripts. */
export function canScript(client: unknown): client is ScriptingClient {
  return ['evalsha', 'eval'].every((name) => typeof Reflect.get(Object(client), name) === 'function');
}

/** One script. The server is sent its text only if it does not know it. */
export class RedisScript {
  readonly #text: string;
  #sha: string | undefined;

  constructor(text: string) {
    this.#text = text;
  }

  async run(client: ScriptingClient, keys: readonly string[], args: readonly (string | number)[]): Promise<unknown> {
    this.#sha ??= hash('sha1', this.#text, 'hex');
    try {
      return await client.evalsha(this.#sha, keys.length, ...keys, ...args);
    } catch (error) {
      if (!(error instanceof Error) || !error.message.startsWith('NOSCRIPT')) throw error;
      return client.eval(this.#text, keys.length, ...keys, ...args);
    }
  }
}

/** Whether the server has refused a command because it has no memory left. */
export function isOutOfMemory(error: unknown): boolean {
  return error instanceof Error && /^(?:ERR .*)?-?OOM /.test(error.message);
}
