import { holds, type QuotaPolicy } from '../policy.js';
import { correction, undoing } from './correction.js';
import type { Answer, Reply, Status } from './operation-answer.js';
import { MAX_UNITS, NOTHING, type Operation, type Places, packCharge, readCharged } from './operation-parts.js';
import { StraightAdmission } from './straight-admission.js';

export { correction, renewal, undoing } from './correction.js';
export { type Answer, type Charged, operationFailure, type Status } from './operation-answer.js';
export type { Operation, Places } from './operation-parts.js';

/** The script's numbers of the operations. */
const ADMIT = 1;
const PEEK = 2;
const RESET = 4;

/** Charges `units[i]` to each policy, or nothing if one refuses. `force` charges beyond the limit, for units admitted elsewhere. */
export function admission(
  policies: readonly QuotaPolicy[],
  keys: readonly string[],
  units: readonly number[],
  force = false,
): Operation {
  const day = force ? undefined : straightDay(policies, keys);
  if (day === undefined) return new Admission(policies, keys, units, force);
  const window = policies.length === 2 ? 1 - day : -1 - day;
  return new StraightAdmission(policies, keys, units, window, day);
}

/**
 * Whether the straight path of the script may admit these policies: a window, a day, or one of each under one key. Returns
 * the place of the day, -1 without one, or undefined if the straight path may not.
 */
function straightDay(policies: readonly QuotaPolicy[], keys: readonly string[]): number | undefined {
  const [first, second] = policies;
  if (first === undefined || policies.length > 2 || holds(first)) return undefined;
  const isDay = first.kind === 'daily-quota';
  if (second === undefined) return isDay ? 0 : -1;
  if (holds(second) || keys[0] !== keys[1] || isDay === (second.kind === 'daily-quota')) return undefined;
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

/** Reads the counters and charges nothing. */
export function peek(policies: readonly QuotaPolicy[], keys: readonly string[]): Operation {
  return {
    keys,
    size: 3 + policies.length * 4,
    pack: (packed, start, places) => packCharges(PEEK, packed, start, places, policies, keys),
    read: (status, at, reply) => ({ status, at, charged: readCharged(status, policies, reply) }),
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
