import type { QuotaPolicy } from '../policy.js';
import { correction, undoing } from './correction.js';
import type { Answer, Charged, Reply, Status } from './operation-answer.js';
import { MAX_UNITS, type Operation, type Places, readCharged } from './operation-parts.js';

/** The script's number of the operation. */
const STRAIGHT = 0;
const BYTES = 17;
/** The place of its last key. */
const LAST_KEY_AT = 3;
/** Where what follows the keys begins. */
const POLICIES_AT = 5;

/** An admission by the straight path of the script. Packed, the window precedes the day. */
export class StraightAdmission implements Operation {
  readonly size = BYTES;

  /** `window` and `day` are places among the policies, -1 for none. */
  constructor(
    readonly policies: readonly QuotaPolicy[],
    readonly keys: readonly string[],
    readonly units: readonly number[],
    readonly window: number,
    readonly day: number,
  ) {}

  pack(packed: Buffer, start: number, places: Places): number {
    const key = places.key(this.keys[0] as string);
    packed[start] = STRAIGHT;
    packed.writeUInt16BE(key, start + 1);
    packed.writeUInt16BE(key, start + LAST_KEY_AT);
    packed.writeUInt16BE(this.#placeOf(this.window, places), start + POLICIES_AT);
    packed.writeUInt16BE(this.#placeOf(this.day, places), start + 7);
    packed.writeUInt32BE(this.#unitsOf(this.window), start + 9);
    return packed.writeUInt32BE(this.#unitsOf(this.day), start + 13);
  }

  /**
   * Packs it together with the operation that was packed before it, if they differ only in their keys. Returns whether
   * they do. `start` is where that operation begins.
   */
  join(before: StraightAdmission, packed: Buffer, start: number, places: Places): boolean {
    const { policies, units } = this;
    if (policies.length !== before.policies.length) return false;
    for (let i = 0; i < policies.length; i++) {
      if (policies[i] !== before.policies[i] || units[i] !== before.units[i]) return false;
    }
    const last = packed.readUInt16BE(start + LAST_KEY_AT);
    const key = places.key(this.keys[0] as string);
    if (key !== last + 1) return false;
    packed.writeUInt16BE(key, start + LAST_KEY_AT);
    return true;
  }

  read(status: Status, at: number, reply: Reply): Answer {
    const { policies, window, day } = this;
    if (status !== 'admitted' || reply.isInFull) {
      const charged = readCharged(status, policies, reply);
      return { status, at, charged: day === 0 && charged.length === 2 ? [...charged].reverse() : charged };
    }
    if (day < 0) return { status, at, charged: [reply.window()] };
    if (window < 0) return { status, at, charged: [this.#readDay(at, reply)] };
    const ofWindow = reply.window();
    const ofDay = this.#readDay(at, reply);
    return { status, at, charged: day === 0 ? [ofDay, ofWindow] : [ofWindow, ofDay] };
  }

  undo({ status, charged }: Answer): Operation | undefined {
    if (status !== 'admitted') return undefined;
    return correction(this.policies, this.keys, charged, undoing(this.policies, this.units));
  }

  #readDay(at: number, reply: Reply): Charged {
    const policy = this.policies[this.day] as QuotaPolicy;
    // The script has used this day, or the general path would have run.
    const end = policy.kind === 'daily-quota' ? policy.dayOf(at).end : at;
    return { total: reply.uint32(), resetAt: end, time: end, generation: 0 };
  }

  #placeOf(i: number, places: Places): number {
    return i < 0 ? 0 : places.policy(this.policies[i] as QuotaPolicy);
  }

  #unitsOf(i: number): number {
    return i < 0 ? 0 : Math.min(this.units[i] as number, MAX_UNITS);
  }
}
