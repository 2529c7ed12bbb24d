import { randomUUID } from 'node:crypto';
import { checkBooking } from '../../../core/check-booking.js';
import type { JobBooking, UsageChange } from '../../../core/ledger.js';
import { type BookingArguments, bookingArguments } from '../../../core/redis/usage-keys.js';
import { warn } from '../../../core/warning.js';
import { noAnswer, withTimeout } from '../../../core/with-timeout.js';
import { addUsage, type CountedUsage, noUsage } from '../usage-row.js';
import type { LedgerRedisClient } from './ledger-client.js';
import type { LedgerPlaces } from './ledger-places.js';
import { ADD, BOOK_JOBS } from './ledger-scripts.js';
import { fieldsOf } from './usage-fields.js';

export interface LedgerWriterOptions {
  readonly client: LedgerRedisClient;
  readonly places: LedgerPlaces;
  readonly today: () => string;
  /** Milliseconds. */
  readonly keepDay: number;
  readonly interval: number;
}

/** Fields that are added in one call. */
const FIELDS_AT_ONCE = 500;
const JOBS_AT_ONCE = 200;
/** How long Redis remembers a batch, in milliseconds. No client sends a call for longer. */
const REMEMBER_BATCH = 3_600_000;
/** Bookings that may wait while Redis is away. */
const MAX_WAITING = 10_000;

/** A call that adds to rows. To repeat it changes nothing. */
interface Batch {
  readonly day: string;
  readonly name: string;
  readonly values: readonly (string | number)[];
}

interface Waiting {
  readonly booking: JobBooking;
  readonly done: () => void;
}

/** Collects what is added, and writes it and all bookings, each exactly once, also if an answer is lost. */
export class LedgerWriter {
  readonly #options: LedgerWriterOptions;
  /** By day and client. */
  readonly #collected = new Map<string, Map<string, CountedUsage>>();
  #batches: Batch[] = [];
  #waiting: Waiting[] = [];
  #writing: Promise<void> | undefined = undefined;
  #timer: NodeJS.Timeout | undefined = undefined;
  #isStopped = false;
  #isAway = false;

  constructor(options: LedgerWriterOptions) {
    this.#options = options;
  }

  add(changes: readonly UsageChange[]): void {
    const day = this.#options.today();
    let rows = this.#collected.get(day);
    if (rows === undefined) {
      rows = new Map();
      this.#collected.set(day, rows);
    }
    for (const change of changes) {
      let row = rows.get(change.client);
      if (row === undefined) {
        row = noUsage();
        rows.set(change.client, row);
      }
      addUsage(row, change);
    }
    this.#writeLater();
  }

  async book(bookings: readonly JobBooking[]): Promise<void> {
    // What Redis cannot book would be in the way of all that follows.
    bookings.forEach(checkBooking);
    if (this.#waiting.length + bookings.length > MAX_WAITING) {
      throw new Error(`gatewarden: more than ${MAX_WAITING} bookings of redisLedger wait for Redis`);
    }
    const all = bookings.map(
      (booking) =>
        new Promise<void>((done) => {
          this.#waiting.push({ booking, done });
        }),
    );
    // Bookings of one turn go out together.
    setImmediate(() => this.#write().catch(() => undefined));
    await Promise.all(all);
  }

  argumentsOf(booking: JobBooking): BookingArguments {
    const { places, today, keepDay } = this.#options;
    return bookingArguments(booking, places.keys(booking.place ?? places.home), today(), keepDay);
  }

  /** Resolves when all that was added and booked up to now is written. */
  async written(timeout: number): Promise<void> {
    // What is being written now may not have everything.
    const write = async () => {
      await this.#writing?.catch(() => undefined);
      await this.#write();
    };
    await withTimeout(write(), timeout, () => noAnswer('Redis', timeout));
  }

  /** Writes nothing by itself any more. */
  stop(): void {
    this.#isStopped = true;
    clearTimeout(this.#timer);
  }

  #writeLater(): void {
    if (this.#isStopped) return;
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.#write().catch(() => undefined);
    }, this.#options.interval).unref();
  }

  /** Only one write at a time. Its call is not sent again before the client has given it up. */
  #write(): Promise<void> {
    this.#writing ??= this.#writeAll()
      .then(
        () => {
          this.#isAway = false;
        },
        (error: unknown) => {
          this.#failed(error);
          throw error;
        },
      )
      .finally(() => {
        this.#writing = undefined;
        // Also what came meanwhile.
        if (this.#waiting.length > 0 || this.#batches.length > 0 || this.#collected.size > 0) this.#writeLater();
      });
    return this.#writing;
  }

  async #writeAll(): Promise<void> {
    this.#makeBatches();
    while (this.#waiting.length > 0) await this.#bookSome();
    for (let batch = this.#batches[0]; batch !== undefined; batch = this.#batches[0]) {
      const { client, places, keepDay } = this.#options;
      const keys = places.keys(places.home);
      await ADD.run(
        client,
        [keys.batch(batch.name), keys.all, keys.day(batch.day)],
        [REMEMBER_BATCH, keepDay, ...batch.values],
      );
      this.#batches.shift();
    }
  }

  #makeBatches(): void {
    // While Redis is away, what comes adds up in its rows, so that clients bound the memory and not requests.
    if (this.#batches.length > 0) return;
    for (const [day, rows] of this.#collected) {
      const fields = [...rows].flatMap(([client, row]) => [...fieldsOf(client, row)]);
      for (let at = 0; at < fields.length; at += FIELDS_AT_ONCE) {
        this.#batches.push({ day, name: randomUUID(), values: fields.slice(at, at + FIELDS_AT_ONCE).flat() });
      }
    }
    this.#collected.clear();
  }

  async #bookSome(): Promise<void> {
    const { client, places } = this.#options;
    const place = this.#waiting[0]?.booking.place ?? places.home;
    const some = this.#waiting.filter(({ booking }) => (booking.place ?? places.home) === place).slice(0, JOBS_AT_ONCE);
    const all = some.map(({ booking }) => this.argumentsOf(booking));
    const [first] = all;
    if (first === undefined) return;
    await places.open(place);
    await BOOK_JOBS.run(
      client,
      [...first.keys.slice(1), ...all.map(({ keys }) => keys[0])],
      [
        first.today,
        first.yesterday,
        first.keepJob,
        first.keepDay,
        ...all.flatMap((booking) => [booking.client, booking.gpuTime, booking.isFinal, booking.ending]),
      ],
    );
    const written = new Set(some);
    this.#waiting = this.#waiting.filter((waiting) => !written.has(waiting));
    for (const { done } of some) done();
  }

  #failed(error: unknown): void {
    if (this.#isAway) return;
    this.#isAway = true;
    const reason = error instanceof Error ? error.message : String(error);
    warn(`gatewarden: redisLedger cannot write, and will try again: ${reason}`, { code: 'GATEWARDEN_LEDGER_AWAY' });
  }
}
