import { holds, type QuotaPolicy } from '../policy.js';
import type { Answer, Charged, Reply, Status } from './operation-answer.js';

export { type Answer, type Charged, operationFailure, type Status } from './operation-answer.js';

/** Where a call carries keys and policies. Operations refer to them by place. */
export interface Places {
  key(key: string): number;
  policy(policy: QuotaPolicy): number;
}

/** One operation of the script: its keys, how it is packed, and how its answer is read. */
export interface Operation {
  /** Redis keys, one for each charge. */
  readonly keys: readonly string[];
  /** How many bytes it takes. */
  readonly size: number;
  /** Packs it from a place of `packed` on, and returns the place behind it. */
  pack(packed: Buffer, start: number, places: Places): number;
  /** Reads the part of a reply that follows its status. */
  read(status: Status, at: number, reply: Reply): Answer;
  /** The operation that gives back what this one charged, if it charged anything. */
  undo?(answer: Answer): Operation | undefined;
}

/** The script's numbers of the operations. */
const STRAIGHT = 0;
const ADMIT = 1;
const PEEK = 2;
const SETTLE = 3;
const RESET = 4;
const RENEW = 5;

/** More than any limit, and the most that the script can read. */
const MAX_UNITS = 0xffffffff;

const NOTHING: readonly Charged[] = Object.freeze([]);

/** Charges `units[i]` to each policy, or nothing if one refuses. `force` charges beyond the limit, for units admitted elsewhere. */
export function admission(
  policies: readonly QuotaPolicy[],
  keys: readonly string[],
  units: readonly number[],
  force = false,
): Operation {
  const day = force ? undefined : straightDay(policies, keys);
  return day === undefined
    ? new Admission(policies, keys, units, force)
    : new StraightAdmission(policies, keys, units, day);
}

/**
 * Whether the straight path of the script may admit these policies: a window, a day, or one of each under one key. Returns
 * the place of the day, -1 without one, or undefined if the straight path may not.
 */
function straightDay(policies: readonly QuotaPolicy[], keys: readonly string[]): number | undefined {
  const [first, second] = policies;
  if (first === undefined || policies.length > 2 || policies.some(holds)) return undefined;
  const isDay = first.kind === 'daily-quota';
  if (second === undefined) return isDay ? 0 : -1;
  if (keys[0] !== keys[1] || isDay === (second.kind === 'daily-quota')) return undefined;
  return isDay ? 0 : 1;
}

class Admission implements Operation {
  readonly size: number;

  constructor(
    readonly policies: readonly QuotaPolicy[],
    readonly keys: readonly string[],
    readonly units: readonly number[],
    readonly isForced: boolean,
  ) {
    this.size = 4 + policies.length * 8;
  }

  pack(packed: Buffer, start: number, places: Places): number {
    const { policies, keys, units } = this;
    packed[start] = ADMIT;
    packed[start + 1] = this.isForced ? 1 : 0;
    let at = packed.writeUInt16BE(policies.length, start + 2);
    for (let i = 0; i < policies.length; i++) {
      at = packCharge(packed, at, places, policies[i] as QuotaPolicy, keys[i] as string);
      at = packed.writeUInt32BE(Math.min(units[i] as number, MAX_UNITS), at);
    }
    return at;
  }

  read(status: Status, at: number, reply: Reply): Answer {
    return { status, at, charged: readCharged(status, this.policies, reply) };
  }

  undo({ status, charged }: Answer): Operation | undefined {
    // A forced charge reports an earlier admission. The request was not refused, so nothing is given back.
    if (status !== 'admitted' || this.isForced) return undefined;
    return correction(this.policies, this.keys, charged, undoing(this.policies, this.units));
  }
}

/** An admission by the straight path of the script. Packed, the window precedes the day. */
class StraightAdmission extends Admission {
  override readonly size = 15;
  readonly #day: number;

  constructor(policies: readonly QuotaPolicy[], keys: readonly string[], units: readonly number[], day: number) {
    super(policies, keys, units, false);
    this.#day = day;
  }

  override pack(packed: Buffer, start: number, places: Places): number {
    const { policies, keys, units } = this;
    const day = policies[this.#day];
    const window = policies[this.#day === 0 ? 1 : 0];
    packed[start] = STRAIGHT;
    packed.writeUInt16BE(places.key(keys[0] as string), start + 1);
    packed.writeUInt16BE(window === undefined ? 0 : places.policy(window), start + 3);
    packed.writeUInt16BE(day === undefined ? 0 : places.policy(day), start + 5);
    packed.writeUInt32BE(Math.min(units[this.#day === 0 ? 1 : 0] ?? 0, MAX_UNITS), start + 7);
    return packed.writeUInt32BE(Math.min(units[this.#day] ?? 0, MAX_UNITS), start + 11);
  }

  override read(status: Status, at: number, reply: Reply): Answer {
    const answer = super.read(status, at, reply);
    if (this.#day !== 0 || answer.charged.length < 2) return answer;
    const [window, day] = answer.charged as readonly [Charged, Charged];
    return { status, at, charged: [day, window] };
  }
}

/** Reads the counters and charges nothing. */
export function peek(policies: readonly QuotaPolicy[], keys: readonly string[]): Operation {
  return {
    keys,
    size: 3 + policies.length * 4,
    pack: (packed, start, places) => packCharges(PEEK, packed, start, places, policies, keys),
    read: (status, at, reply) => ({ status, at, charged: readCharged(status, policies, reply) }),
  };
}

/** The changes that undo an admission. A hold ends without a charge. */
export function undoing(policies: readonly QuotaPolicy[], units: readonly number[]): readonly number[] {
  return policies.map((policy, i) => (holds(policy) ? 0 : -(units[i] as number)));
}

/**
 * Adds `deltas[i]` units to each charge of an admission; a negative number removes units. If `bounded`, the units removed
 * from the charges of one window or day never exceed the policy's limit, and the rest stays charged. A hold ends, and
 * `deltas[i]` units are logged from then on.
 */
export function correction(
  policies: readonly QuotaPolicy[],
  keys: readonly string[],
  charged: readonly Charged[],
  deltas: readonly number[],
  bounded = false,
): Operation {
  return {
    keys,
    size: 4 + policies.length * 22,
    pack(packed, start, places) {
      packed[start] = SETTLE;
      packed[start + 1] = bounded ? 1 : 0;
      let at = packed.writeUInt16BE(policies.length, start + 2);
      policies.forEach((policy, i) => {
        const { generation, time } = charged[i] as Charged;
        at = packCharge(packed, at, places, policy, keys[i] as string);
        at = packed.writeUInt16BE(generation, at);
        at = packed.writeDoubleBE(time, at);
        at = packed.writeDoubleBE(deltas[i] as number, at);
      });
      return at;
    },
    read: (status, at) => ({ status, at, charged: NOTHING }),
  };
}

/** Extends holds by one lease. It is refused if one of them has ended or expired. */
export function renewal(
  policies: readonly QuotaPolicy[],
  keys: readonly string[],
  charged: readonly Charged[],
): Operation {
  return {
    keys,
    size: 3 + policies.length * 14,
    pack(packed, start, places) {
      packed[start] = RENEW;
      let at = packed.writeUInt16BE(policies.length, start + 1);
      policies.forEach((policy, i) => {
        const { generation, time } = charged[i] as Charged;
        at = packCharge(packed, at, places, policy, keys[i] as string);
        at = packed.writeUInt16BE(generation, at);
        at = packed.writeDoubleBE(time, at);
      });
      return at;
    },
    read: (status, at) => ({ status, at, charged: NOTHING }),
  };
}

/** Empties the counters. Earlier admissions can no longer be corrected in them. */
export function reset(policies: readonly QuotaPolicy[], keys: readonly string[]): Operation {
  return {
    keys,
    size: 3 + policies.length * 4,
    pack: (packed, start, places) => packCharges(RESET, packed, start, places, policies, keys),
    read: (status, at) => ({ status, at, charged: NOTHING }),
  };
}

function packCharges(
  operation: number,
  packed: Buffer,
  start: number,
  places: Places,
  policies: readonly QuotaPolicy[],
  keys: readonly string[],
): number {
  packed[start] = operation;
  let at = packed.writeUInt16BE(policies.length, start + 1);
  policies.forEach((policy, i) => {
    at = packCharge(packed, at, places, policy, keys[i] as string);
  });
  return at;
}

function packCharge(packed: Buffer, at: number, places: Places, policy: QuotaPolicy, key: string): number {
  return packed.writeUInt16BE(places.policy(policy), packed.writeUInt16BE(places.key(key), at));
}

function readCharged(status: Status, policies: readonly unknown[], reply: Reply): readonly Charged[] {
  if (status !== 'admitted' && status !== 'refused') return NOTHING;
  // An array that grows reserves room for many more.
  if (policies.length === 1) return [reply.charged()];
  if (policies.length === 2) return [reply.charged(), reply.charged()];
  return policies.map(() => reply.charged());
}
