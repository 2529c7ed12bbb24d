import { StoreError, unavailable } from '../store.js';
import { packPolicy } from './layout.js';
import { type Answer, type Operation, type Places, STATUSES } from './operation.js';

/** One call of the script. To repeat it, send the same call again: the server answers it without running it twice. */
export interface ScriptCall {
  readonly operations: readonly Operation[];
  readonly keyCount: number;
  /** The keys, then the arguments, as script.lua describes them. */
  readonly args: readonly (string | number | Buffer)[];
}

/** What a call carries besides its operations. All times are milliseconds. */
export interface CallHeader {
  readonly number: number;
  /** The marker's name, given the first key of the operations. The server remembers the reply under this key. */
  readonly marker: (firstKey: string | undefined) => string;
  /** How long the marker lives. */
  readonly rememberFor: number;
  /** The caller's estimate of the server's time. It decides which day a daily quota means. */
  readonly serverNow: number;
  /** The time that the script uses, or the empty string for the server's own. */
  readonly now: number | '';
  /** The latest server time at which the call may still decide, or the empty string for no bound. */
  readonly latest: number | '';
  /** How much longer than their counters keys live. */
  readonly slack: number;
}

/** The call reached the server too late, by the server's clock, and changed nothing. */
export class LateCallError extends StoreError {
  constructor() {
    super('GATEWARDEN_STORE_UNAVAILABLE', 'the request reached Redis too late');
  }
}

/** Packs operations into one call. All their keys must be in one slot. */
export function packCall(operations: readonly Operation[], header: CallHeader): ScriptCall {
  const keys = new Map<string, number>();
  const policyPlaces = new Map<string, number>();
  const policies: Buffer[] = [];
  const places: Places = {
    key(key) {
      let place = keys.get(key);
      if (place === undefined) {
        // Lua counts from one, and KEYS[1] is the marker.
        place = keys.size + 2;
        keys.set(key, place);
      }
      return place;
    },
    policy(policy) {
      const name = `${policy.id} ${policy.limit}`;
      let place = policyPlaces.get(name);
      if (place === undefined) {
        place = policies.push(packPolicy(policy, header.serverNow));
        policyPlaces.set(name, place);
      }
      return place;
    },
  };
  const packed = operations.map((operation) => operation.pack(places));
  const [firstKey] = keys.keys();
  const { now, latest, rememberFor, slack, number } = header;
  return {
    operations,
    keyCount: keys.size + 1,
    args: [
      header.marker(firstKey),
      ...keys.keys(),
      now,
      latest,
      rememberFor,
      slack,
      number,
      policies.length,
      ...policies,
      ...packed,
    ],
  };
}

/**
 * Reads the script's reply to a call. `onTime` receives the server's time, also when the call failed.
 * @throws StoreError
 */
export function readReply({ operations }: ScriptCall, reply: unknown, onTime: (at: number) => void): readonly Answer[] {
  if (!Array.isArray(reply) || reply.length < 2) throw unknownReply();
  let cursor = 0;
  const next = (): number => Number(reply[cursor++]);
  const outcome = STATUSES[next()];
  const at = next();
  onTime(at);
  if (outcome === 'late') throw new LateCallError();
  if (outcome === 'lost') throw unavailable('Redis ran the call, but its reply was lost');
  return operations.map((operation) => {
    const status = STATUSES[next()];
    if (status === undefined || status === 'late' || status === 'lost') throw unknownReply();
    return operation.read(status, at, next);
  });
}

/** A client's error as a store error: an outage, or a failure of the script that waiting does not fix. */
export function callFailure({ args, keyCount }: ScriptCall, error: unknown): StoreError {
  if (error instanceof StoreError) return error;
  const message = error instanceof Error ? error.message : String(error);
  // Replies such as OOM, READONLY or LOADING mention the script too, but report the server's state.
  if (/^ERR\b.*script/is.test(message) || message.includes('subscriber mode')) {
    const keys = args.slice(1, keyCount).join(', ');
    return new StoreError('GATEWARDEN_STORE_DATA', `redisStore cannot use the counters at ${keys}: ${message}`, error);
  }
  return unavailable(message, error);
}

function unknownReply(): StoreError {
  return unavailable('Redis sent a reply that is not the reply of the script');
}
