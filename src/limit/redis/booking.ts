import type { Ledger } from '../../core/ledger.js';
import { type LedgerTarget, targetOf } from '../../core/redis/ledger-target.js';
import type { BookingArguments } from '../../core/redis/usage-keys.js';
import type { SettledJobs } from '../store.js';
import type { RedisClient } from './client.js';
import { hashTagOf, slotOf } from './cluster-slot.js';
import type { Operation } from './operation-parts.js';
import type { SlotCharges } from './receipt.js';

/** The script's number of the operation. */
const BOOK = 6;
/** Their number is one byte. */
const MOST_BOOKINGS = 255;
/** Without the name of the client. */
const BOOKING_BYTES = 56;
const DAY_BYTES = 10;

/**
 * The place of a ledger in which jobs can be booked in the call that settles these charges: that of the counters' own slot.
 * Undefined if the ledger is not on the same server.
 */
export function bookingPlace(client: RedisClient, ledger: Ledger, charges: readonly SlotCharges[]): string | undefined {
  const target = targetOf(ledger);
  const [key] = charges[0]?.keys ?? [];
  if (target === undefined || key === undefined || target.client !== client) return undefined;
  const place = placeOf(client, key);
  target.open(place);
  return place;
}

function placeOf(client: RedisClient, key: string): string {
  return client.isCluster ? hashTagOf(slotOf(client, key)) : '';
}

/** Books jobs with the first correction that goes to their place. The others, and what no correction can take, go as they are. */
export class JobBookings {
  readonly #client: RedisClient;
  readonly #jobs: SettledJobs | undefined;
  readonly #target: LedgerTarget | undefined;
  #isTaken = false;

  constructor(client: RedisClient, jobs: SettledJobs | undefined) {
    this.#client = client;
    this.#jobs = jobs;
    this.#target = jobs === undefined ? undefined : targetOf(jobs.ledger);
  }

  joined(correction: Operation): Operation {
    const { bookings = [] } = this.#jobs ?? {};
    const target = this.#target;
    const [key = ''] = correction.keys;
    if (target === undefined || this.#isTaken || bookings.length > MOST_BOOKINGS) return correction;
    if (bookings[0]?.place !== placeOf(this.#client, key)) return correction;
    this.#isTaken = true;
    return new BookedCorrection(
      correction,
      bookings.map((booking) => target.arguments(booking)),
      // What has run all the same is not booked twice.
      () => this.#jobs?.refuse(),
    );
  }

  /** To be called when all corrections are on their way. */
  end(): void {
    if (!this.#isTaken) this.#jobs?.refuse();
  }
}

/** A correction, and before it in the same step the bookings of jobs. */
class BookedCorrection implements Operation {
  readonly keys: readonly string[];
  readonly size: number;
  readonly read: Operation['read'];
  readonly givenUp: () => void;
  readonly #correction: Operation;
  readonly #bookings: readonly BookingArguments[];

  constructor(correction: Operation, bookings: readonly BookingArguments[], givenUp: () => void) {
    this.#correction = correction;
    this.givenUp = givenUp;
    this.#bookings = bookings;
    // An error names the keys of the ledger too.
    this.keys = [...correction.keys, ...(bookings[0]?.keys.slice(1) ?? [])];
    let size = 2 + correction.size;
    for (const { client } of this.#bookings) size += BOOKING_BYTES + Buffer.byteLength(client);
    this.size = size;
    this.read = (...answer) => correction.read(...answer);
  }

  pack(packed: Buffer, start: number, places: Parameters<Operation['pack']>[2]): number {
    packed[start] = BOOK;
    packed[start + 1] = this.#bookings.length;
    let at = start + 2;
    for (const { keys, client, gpuTime, isFinal, ending, today, yesterday, keepJob, keepDay } of this.#bookings) {
      for (const key of keys) at = packed.writeUInt16BE(places.key(key), at);
      packed[at++] = isFinal;
      packed[at++] = ending;
      for (const number of [gpuTime, keepJob, keepDay]) at = packed.writeDoubleBE(number, at);
      for (const day of [today, yesterday]) at += packed.write(day, at, DAY_BYTES, 'latin1');
      const length = packed.write(client, at + 2, 'utf8');
      packed.writeUInt16BE(length, at);
      at += 2 + length;
    }
    return this.#correction.pack(packed, at, places);
  }
}
