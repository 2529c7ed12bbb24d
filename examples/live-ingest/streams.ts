import { createHash } from 'node:crypto';
import type { Bet } from './bet.js';
import { Journal } from './journal.js';

/** A bet as it is stored. */
export interface StoredBet extends Bet {
  readonly dateTime: string;
  readonly receivedAt: string;
}

/** All bets of one pair of seeds. */
export interface Stream {
  readonly id: string;
  readonly serverSeedHashed: string;
  readonly clientSeed: string;
  readonly bets: readonly StoredBet[];
}

interface OpenStream extends Stream {
  readonly bets: StoredBet[];
  /** By the id of a bet: resolves once it is on the disk. */
  readonly stored: Map<string, Promise<void>>;
}

const ALREADY_STORED = Promise.resolve();

export interface Accepted {
  readonly streamId: string;
  /** False if the stream already has a bet with this id. */
  readonly accepted: boolean;
}

/** Bets by stream, in memory and in a journal. */
export class Streams {
  readonly #streams = new Map<string, OpenStream>();
  readonly #journal: Promise<Journal>;

  private constructor(path: string) {
    this.#journal = Journal.open(path, (entry) => {
      const bet = entry as StoredBet;
      const stream = this.#streamOf(bet);
      stream.bets.push(bet);
      stream.stored.set(bet.id, ALREADY_STORED);
    });
  }

  static async open(path: string): Promise<Streams> {
    const streams = new Streams(path);
    await streams.#journal;
    return streams;
  }

  /**
   * Stores a bet once for each `(serverSeedHashed, clientSeed, id)`, even if two arrive at the same time. Both calls wait
   * until the bet is on the disk. If that fails, both fail, and either may be sent again.
   */
  async add(bet: Bet): Promise<Accepted> {
    const stream = this.#streamOf(bet);
    const earlier = stream.stored.get(bet.id);
    if (earlier === undefined) {
      const receivedAt = new Date().toISOString();
      const storing = this.#store(stream, { ...bet, dateTime: bet.dateTime ?? receivedAt, receivedAt });
      stream.stored.set(bet.id, storing);
      await storing;
    } else {
      await earlier;
    }
    return { streamId: stream.id, accepted: earlier === undefined };
  }

  list(): readonly Stream[] {
    return [...this.#streams.values()].filter(({ bets }) => bets.length > 0);
  }

  find(id: string): Stream | undefined {
    const stream = this.#streams.get(id);
    return stream === undefined || stream.bets.length === 0 ? undefined : stream;
  }

  async close(): Promise<void> {
    await (await this.#journal).close();
  }

  async #store(stream: OpenStream, bet: StoredBet): Promise<void> {
    try {
      await (await this.#journal).append(bet);
      stream.bets.push(bet);
    } catch (error) {
      stream.stored.delete(bet.id);
      throw error;
    }
  }

  #streamOf(bet: Bet): OpenStream {
    const id = streamId(bet);
    let stream = this.#streams.get(id);
    if (stream === undefined) {
      const { serverSeedHashed, clientSeed } = bet;
      stream = { id, serverSeedHashed, clientSeed, bets: [], stored: new Map() };
      this.#streams.set(id, stream);
    }
    return stream;
  }
}

/** Hashing the seeds as a JSON array keeps two different pairs apart, whatever characters they contain. */
function streamId({ serverSeedHashed, clientSeed }: Bet): string {
  return createHash('sha256')
    .update(JSON.stringify([serverSeedHashed, clientSeed]))
    .digest('hex')
    .slice(0, 32);
}
