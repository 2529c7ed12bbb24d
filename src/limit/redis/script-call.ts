import { StoreError, unavailable } from '../store.js';
import { packPolicy } from './layout.js';
import { type Answer, type Operation, type Places, STATUSES } from './operation.js';

/** One call of the script. To repeat it, send the same call again: the server answers it without running it twice. */
export interface ScriptCall {
  readonly operations: readonly Operation[];
  readonly keyCount: number;
  /** The keys, then the arguments, as script.lua describes them. */
  readonly args: readonly (string | number | Buffer)[];
  /** By `performance.now()`. The server ran the call later than this, however often it was sent. */
  readonly preparedAt: number;
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
    preparedAt: performance.now(),
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
export function readReply(
  { operations, preparedAt }: ScriptCall,
  reply: unknown,
  onTime: (at: number, preparedAt: number) => void,
): readonly Answer[] {
  if (!Array.isArray(reply) || reply.length < 2) throw unknownReply();
  let cursor = 0;
  const next = (): number => Number(reply[cursor++]);
  const outcome = STATUSES[next()];
  const at = next();
  onTime(at, preparedAt);
  if (outcome === 'late') throw new LateCallError();
  if (outcome === 'lost') throw unavailable('Redis ran the call, but its reply was lost');
  return operations.map((operation) => {
    const status = STATUSES[next()];
    if (status === undefined || status === 'late' || status === 'lost') throw unknownReply();
    return operation.read(status, at, next);
  });
}

/** A client's error as a store error: an outage, or a fault that waiting does not end. */
export function callFailure({ args, keyCount }: ScriptCall, error: unknown): StoreError {
  if (error instanceof StoreError) return error;
  const message = error instanceof Error ? error.message : String(error);
  if (!isFault(message)) return unavailable(message, error);
  const advice = CLUSTER_CODES.test(message) ? '; connect with a Cluster of ioredis' : '';
  const keys = args.slice(1, keyCount).join(', ');
  const fault = `redisStore cannot use the counters at ${keys}: ${message}${advice}`;
  return new StoreError('GATEWARDEN_STORE_DATA', fault, error);
}

/** How Redis 6.2 frames what went wrong in a script. The error of a command follows its line number and a dash. */
const FRAME = /^ERR Error running script \(call to f_[0-9a-f]+\): (?:@\w+: ?\d+: )+/;
/** An error of the script itself, or a command that it may not use. Redis 6.2 writes it into the frame, others after `ERR`. */
const SCRIPT_ERROR =
  /^(?:ERR )?(?:@?user_script:\d|Script attempted|Unknown Redis c|Error compiling|The user executing)/;
const CLUSTER_CODES = /^(?:CROSSSLOT|MOVED|ASK) /;
/** ioredis and Redis refuse commands while the client listens to channels. */
const SUBSCRIBER = /^(?:Connection in subscriber mode|ERR Can't execute ')/;

/** Other replies, such as OOM, READONLY or LOADING, report the state of the server, also if a script ran into it. */
function isFault(message: string): boolean {
  const reason = message.replace(FRAME, '').replace(/^-/, '');
  return [SCRIPT_ERROR, SUBSCRIBER, CLUSTER_CODES, /^WRONGTYPE /].some((fault) => fault.test(reason));
}

function unknownReply(): StoreError {
  return unavailable('Redis sent a reply that is not the reply of the script');
}
