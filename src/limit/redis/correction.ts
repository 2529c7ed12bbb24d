import { holds, type QuotaPolicy } from '../policy.js';
import type { Charged } from './operation-answer.js';
import { NOTHING, type Operation, packCharge } from './operation-parts.js';

/** The script's numbers of the operations. */
const SETTLE = 3;
const RENEW = 5;

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
