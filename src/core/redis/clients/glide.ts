import { ClusterSlots } from './cluster-slots.js';
import { CommandPort, ServerError, type Transport } from './command-port.js';
import type { RedisPort } from './port.js';

/** The part that is used of a client of `@valkey/valkey-glide` 2: a `GlideClient` or a `GlideClusterClient`. */
export interface GlideRedisClient {
  /** Decoder 0 answers with bytes, and 1 with text. */
  customCommand(
    command: (string | Buffer)[],
    options?: { readonly decoder?: 0 | 1; readonly route?: 'randomNode' },
  ): Promise<unknown>;
  invokeScript(...args: never[]): Promise<unknown>;
  close(errorMessage?: string): void;
}

const AS_BYTES = { decoder: 0 } as const;
const AS_TEXT = { decoder: 1 } as const;
const ANYWHERE = { decoder: 1, route: 'randomNode' } as const;
/** The client waits for a connection only as long as for a reply. */
const PAUSE_MS = 100;

/** Whether a value is a client of `@valkey/valkey-glide`. */
export function isGlide(client: object): client is GlideRedisClient {
  return ['customCommand', 'invokeScript', 'close'].every((name) => typeof Reflect.get(client, name) === 'function');
}

/** A client of GLIDE, with the commands of ioredis. */
export function glidePort(client: GlideRedisClient): RedisPort {
  // Only the client of a Cluster has sharded channels.
  const isCluster = typeof Reflect.get(client, 'ssubscribe') === 'function';
  const slots = isCluster
    ? new ClusterSlots(async () => client.customCommand(['CLUSTER', 'SLOTS'], ANYWHERE))
    : undefined;
  const transport: Transport = {
    isCluster,
    send: (command, firstKey, asBytes) => {
      const options = isCluster && firstKey === undefined ? ANYWHERE : asBytes ? AS_BYTES : AS_TEXT;
      return client.customCommand(command, options).catch((error: unknown) => {
        const failure = failureOf(error);
        if (!(failure instanceof ServerError)) slots?.mayHaveChanged();
        throw failure;
      });
    },
    isUnsure: (error) => error instanceof Error && UNSURE.has(error.name),
    pause: PAUSE_MS,
    // It has no events. The store finds out by itself that a server is back.
    on: () => undefined,
    off: () => undefined,
  };
  return new CommandPort(slots === undefined ? transport : { ...transport, serverOf: (slot) => slots.serverOf(slot) });
}

/** After these, a command may have run. */
const UNSURE: ReadonlySet<string> = new Set(['TimeoutError', 'ConnectionError']);
/** What the client calls the codes of the server. The others keep their names. */
const CODES: ReadonlyMap<string, string> = new Map([
  ['ResponseError', 'ERR'],
  ['NoScriptError', 'NOSCRIPT'],
  ['ReadOnly', 'READONLY'],
  ['BusyLoadingError', 'LOADING'],
  ['MasterDown', 'MASTERDOWN'],
  ['ClusterDown', 'CLUSTERDOWN'],
  ['TryAgain', 'TRYAGAIN'],
  ['CrossSlot', 'CROSSSLOT'],
  ['Moved', 'MOVED'],
  ['Ask', 'ASK'],
  ['PermissionDenied', 'NOPERM'],
  ['ExecAbortError', 'EXECABORT'],
  ['NotBusy', 'NOTBUSY'],
]);
const KNOWN = /^An error was signalled by the server: - (\w+): ?([\s\S]*)$/;
const OTHER = /^([A-Z][A-Z0-9_]+): ?([\s\S]*)$/;

/** The server's reply as it was sent, or the client's own error. */
function failureOf(error: unknown): unknown {
  if (!(error instanceof Error)) return error;
  const [, name, text] = KNOWN.exec(error.message) ?? OTHER.exec(error.message) ?? [];
  if (name === undefined) return error;
  return new ServerError(`${CODES.get(name) ?? name} ${text}`, { cause: error });
}
