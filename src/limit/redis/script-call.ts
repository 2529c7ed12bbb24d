import type { QuotaPolicy } from '../policy.js';
import { StoreError, unavailable } from '../store.js';
import { POLICY_BYTES, packPolicy } from './layout.js';
import type { Operation, Places } from './operation.js';
import { type Answer, Reply, STATUSES } from './operation-answer.js';
import { StraightAdmission } from './straight-admission.js';

/** One call of the script. To repeat it, send the same call again: the server answers it without running it twice. */
export interface ScriptCall {
  readonly operations: readonly Operation[];
  readonly keyCount: number;
  /** The keys, then the argument, as script.lua describes them. */
  readonly args: readonly (string | Buffer)[];
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
  /** The time that the script uses, or -1 for the server's own. */
  readonly now: number;
  /** The latest server time at which the call may still decide, or -1 for no bound. */
  readonly latest: number;
  /** How much longer than their counters keys live. */
  readonly slack: number;
}

/** The call reached the server too late, by the server's clock, and changed nothing. */
export class LateCallError extends StoreError {
  constructor() {
    super('GATEWARDEN_STORE_UNAVAILABLE', 'the request reached Redis too late');
  }
}

/** So that all numbers of calls have 16 digits. */
const FIRST_NUMBER = 1e15;
const NUMBER_DIGITS = 16;
const HEADER_BYTES = NUMBER_DIGITS + 4 * 8 + 2;

/** A reply begins with the value of the marker: the number of the call, and when the marker expires. */
const REPLY_HEAD = NUMBER_DIGITS + 8;

/** Packs operations into one call. All their keys must be in one slot. */
export function packCall(operations: readonly Operation[], header: CallHeader): ScriptCall {
  const places = new CallPlaces(header.serverNow);
  // Operations name their keys and policies first: the policies precede them in the call.
  let size = 0;
  for (const operation of operations) size += operation.size;
  const packed = Buffer.allocUnsafe(size);
  let end = 0;
  let before: StraightAdmission | undefined;
  let beforeAt = 0;
  for (const operation of operations) {
    const straight = operation instanceof StraightAdmission ? operation : undefined;
    if (before !== undefined && straight?.join(before, packed, beforeAt, places) === true) continue;
    before = straight;
    beforeAt = end;
    end = operation.pack(packed, end, places);
  }
  return {
    operations,
    preparedAt: performance.now(),
    keyCount: places.keys.length + 1,
    args: [header.marker(places.keys[0]), ...places.keys, withHeader(header, places.policies, packed.subarray(0, end))],
  };
}

function withHeader(header: CallHeader, policies: readonly Buffer[], operations: Buffer): Buffer {
  const packed = Buffer.allocUnsafe(HEADER_BYTES + policies.length * POLICY_BYTES + operations.length);
  let at = packed.write(String(FIRST_NUMBER + header.number), 0, NUMBER_DIGITS, 'latin1');
  at = packed.writeDoubleBE(header.now, at);
  at = packed.writeDoubleBE(header.latest, at);
  at = packed.writeDoubleBE(header.rememberFor, at);
  at = packed.writeDoubleBE(header.slack, at);
  at = packed.writeUInt16BE(policies.length, at);
  for (const policy of policies) at += policy.copy(packed, at);
  operations.copy(packed, at);
  return packed;
}

/** The keys and policies of one call. Lua counts from one. */
class CallPlaces implements Places {
  readonly keys: string[] = [];
  readonly policies: Buffer[] = [];
  readonly #now: number;
  readonly #known: QuotaPolicy[] = [];

  constructor(now: number) {
    this.#now = now;
  }

  /** The same key may have several places. Most operations have one of their own. */
  key(key: string): number {
    const { keys } = this;
    // KEYS[1] is the marker.
    return keys[keys.length - 1] === key ? keys.length + 1 : keys.push(key) + 1;
  }

  policy(policy: QuotaPolicy): number {
    const place = this.#known.indexOf(policy);
    if (place >= 0) return place + 1;
    this.#known.push(policy);
    return this.policies.push(packPolicy(policy, this.#now));
  }
}

/**
 * Whether a reply is that of a call. Other code may confuse the replies of a client that it shares with a store: with
 * those of its own commands, and those of two calls with each other.
 */
export function isReplyTo({ args }: ScriptCall, reply: unknown): reply is Buffer {
  const packed = args[args.length - 1] as Buffer;
  return (
    Buffer.isBuffer(reply) &&
    reply.length > REPLY_HEAD &&
    reply.compare(packed, 0, NUMBER_DIGITS, 0, NUMBER_DIGITS) === 0
  );
}

/**
 * Reads the script's reply to a call. `onTime` receives the server's time, also when the call failed.
 * @throws StoreError
 */
export function readReply(
  { operations, preparedAt }: ScriptCall,
  bytes: Buffer,
  onTime: (at: number, preparedAt: number) => void,
): readonly Answer[] {
  const answers: Answer[] = [];
  try {
    const reply = new Reply(bytes, REPLY_HEAD);
    const outcome = STATUSES[reply.byte()];
    const at = reply.double();
    onTime(at, preparedAt);
    if (outcome === 'late') throw new LateCallError();
    if (outcome === 'lost') throw unavailable('Redis ran the call, but its reply was lost');
    for (const operation of operations) {
      const status = STATUSES[reply.byte()];
      if (status === undefined || status === 'late' || status === 'lost') throw unknownReply();
      reply.isInFull = status === 'in-full';
      answers.push(operation.read(status === 'in-full' ? 'admitted' : status, at, reply));
    }
  } catch (error) {
    throw error instanceof RangeError ? unknownReply() : error;
  }
  return answers;
}

/** A client's error as a store error: an outage, or a fault that waiting does not end. */
export function callFailure({ args, keyCount }: ScriptCall, error: unknown): StoreError {
  if (error instanceof StoreError) return error;
  const message = error instanceof Error ? error.message : String(error);
  if (!isFault(message)) return unavailable(message, error);
  const advice = CLUSTER_CODES.test(message) ? '; connect with a client for a Cluster' : '';
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

export function unknownReply(): StoreError {
  return unavailable('Redis sent a reply that is not the reply of the script');
}
