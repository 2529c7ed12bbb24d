import { UsageKeys } from '../../../core/redis/usage-keys.js';
import { noAnswer, withTimeout } from '../../../core/with-timeout.js';
import type { CountedUsage } from '../usage-row.js';
import type { LedgerRedisClient } from './ledger-client.js';
import { PLACES, SCAN } from './ledger-scripts.js';
import { addField } from './usage-fields.js';

/** Where rows are in a Cluster that no store has booked together with a settlement. */
const HOME = 'usage';
/** About how many fields are read at once, so that Redis is never busy with them for long. */
const FIELDS_AT_ONCE = 1000;

/**
 * The places of a ledger. Outside a Cluster there is one. In a Cluster, each slot with counters whose settlements book jobs
 * is a place. All of them are in one set, since a report adds them up.
 */
export class LedgerPlaces {
  readonly home: string;
  readonly #client: LedgerRedisClient;
  readonly #prefix: string;
  readonly #keys = new Map<string, UsageKeys>();
  /** Places that are in the set, or are on their way to it. */
  readonly #opened = new Map<string, Promise<void>>();

  constructor(client: LedgerRedisClient, prefix: string) {
    this.#client = client;
    this.#prefix = prefix;
    this.home = client.isCluster === true ? HOME : '';
  }

  keys(place: string): UsageKeys {
    let keys = this.#keys.get(place);
    if (keys === undefined) {
      keys = new UsageKeys(this.#prefix, place);
      this.#keys.set(place, keys);
    }
    return keys;
  }

  /** Adds a place to the set. A failure is tried again at the next call. */
  open(place: string): Promise<void> {
    if (place === this.home) return Promise.resolve();
    let opened = this.#opened.get(place);
    if (opened === undefined) {
      opened = PLACES.run(this.#client, [this.#setKey], [place]).then(() => undefined);
      this.#opened.set(place, opened);
      opened.catch(() => this.#opened.delete(place));
    }
    return opened;
  }

  /** The rows of one day, or of all of them together, from all places. */
  async rows(day: string | undefined, timeout: number): Promise<ReadonlyMap<string, CountedUsage>> {
    return withTimeout(this.#rows(day), timeout, () => noAnswer('Redis', timeout));
  }

  async #rows(day: string | undefined): Promise<ReadonlyMap<string, CountedUsage>> {
    const rows = new Map<string, CountedUsage>();
    const found = (await PLACES.run(this.#client, [this.#setKey], [])) as readonly string[];
    for (const place of new Set([this.home, ...found.map(String), ...this.#opened.keys()])) {
      const keys = this.keys(place);
      // A scan may return a field twice while the hash grows.
      const fields = new Map<string, number>();
      let cursor = '0';
      do {
        const part = await SCAN.run(
          this.#client,
          [day === undefined ? keys.all : keys.day(day)],
          [cursor, FIELDS_AT_ONCE],
        );
        const [next, flat] = part as readonly [unknown, readonly unknown[]];
        for (let i = 0; i < flat.length; i += 2) fields.set(String(flat[i]), Number(flat[i + 1]));
        cursor = String(next);
      } while (cursor !== '0');
      for (const [field, value] of fields) addField(rows, field, value);
    }
    return rows;
  }

  get #setKey(): string {
    return `${this.#prefix}places`;
  }
}
