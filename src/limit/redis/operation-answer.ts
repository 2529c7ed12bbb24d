import { StoreError } from '../store.js';

/** The script's answer about one policy. */
export interface Charged {
  /** Units in use. If admitted, this charge included. */
  readonly total: number;
  /** When more units become free, in epoch milliseconds. */
  readonly resetAt: number;
  /**
   * Admitted: the time of the entry, or the end of the day, that holds the charge. Refused: when this policy would
   * admit the request, 0 if it would now, -1 if it never will. Of a policy with leases, if admitted: the token of the hold.
   */
  readonly time: number;
  /**
   * How often the counter was reset: a correction of an earlier generation changes nothing. Of a policy with leases, the
   * slot of the hold.
   */
  readonly generation: number;
}

/** How an operation ended. All but `refused` and `admitted` are failures. */
export type Status = 'refused' | 'admitted' | 'other-day' | 'wrong-type' | 'foreign' | 'failed';

/** The script's answer to one operation. */
export interface Answer {
  readonly status: Status;
  /** The server's time, in epoch milliseconds. */
  readonly at: number;
  /** For each policy, in the order of the operation; empty if there is nothing to report. */
  readonly charged: readonly Charged[];
}

/**
 * The script's statuses. The index is the number that the script sends. `late` and `lost` concern a whole call. `in-full`:
 * admitted by the general path, although the straight path was asked, which reports fewer figures.
 */
export const STATUSES: readonly (Status | 'late' | 'lost' | 'in-full')[] = [
  'refused',
  'admitted',
  'other-day',
  'late',
  'wrong-type',
  'foreign',
  'failed',
  'lost',
  'in-full',
];

/** The error for an operation that was neither refused nor admitted. */
export function operationFailure(keys: readonly string[], status: Exclude<Status, 'refused' | 'admitted'>): StoreError {
  const reason = {
    'other-day': 'the clocks of Redis and of this process are on different days; synchronize them',
    'wrong-type': 'a key holds another type of value; delete it or choose another prefix',
    foreign: 'a value was not written by this version; delete it or choose another prefix',
    failed: 'Redis could not read a value; check that its user may run GET',
  }[status];
  return new StoreError('GATEWARDEN_STORE_DATA', `redisStore cannot use the counters at ${keys.join(', ')}: ${reason}`);
}

/** A reply of the script, which is read from front to back. */
export class Reply {
  /** Whether the operation that is read has all figures, also if the straight path was asked. */
  isInFull = false;
  readonly #bytes: Buffer;
  #at: number;

  /** Reads from the byte at `start`. */
  constructor(bytes: Buffer, start: number) {
    this.#bytes = bytes;
    this.#at = start;
  }

  /** @throws RangeError at the end of the reply, as the other methods do */
  byte(): number {
    return this.#bytes.readUInt8(this.#at++);
  }

  uint32(): number {
    this.#at += 4;
    return this.#bytes.readUInt32BE(this.#at - 4);
  }

  double(): number {
    this.#at += 8;
    return this.#bytes.readDoubleBE(this.#at - 8);
  }

  /** The figures of one charge. */
  charged(): Charged {
    const bytes = this.#bytes;
    const at = this.#at;
    this.#at = at + 26;
    return {
      total: bytes.readDoubleBE(at),
      resetAt: bytes.readDoubleBE(at + 8),
      time: bytes.readDoubleBE(at + 16),
      generation: bytes.readUInt16BE(at + 24),
    };
  }

  /** The figures of a window that the straight path has charged. */
  window(): Charged {
    const bytes = this.#bytes;
    const at = this.#at;
    this.#at = at + 20;
    return {
      total: bytes.readUInt32BE(at),
      resetAt: bytes.readDoubleBE(at + 4),
      time: bytes.readDoubleBE(at + 12),
      generation: 0,
    };
  }
}
