import { createHash } from 'node:crypto';
import type { Bet } from './bet.js';
import { Journal } from './journal.js';

/** A bet as it is kept. */
export interface KeptBet extends Bet {
  readonly dateTime: string;
  readonly receivedAt: string;
}

/** All bets of one pair of seeds. */
export interface Stream {
  readonly id: string;
  readonly serverSeedHashed: string;
  readonly clientSeed: string;
  readonly bets: readonly KeptBet[];
}

interface OpenStream extends Stream {
  readonly bets: KeptBet[];
  /** By the id of a bet, when it is on the disk. */
  readonly kept: Map<string, Promise<void>>;
}

const KEPT = Promise.resolve();

export interface Accepted {
  readonly streamId: string;
  /** False where a bet of this id was there before. */
  readonly accepted: boolean;
}

/** Bets by stream, in memory and in a journal. */
export class Streams {
  readonly #streams = new Map<string, OpenStream>();
  readonly #journal: Promise<Journal>;

  private constructor(path: string) {
    this.#journal = Journal.open(path, (entry) => {
      const bet = entry as KeptBet;
      const stream = this.#streamOf(bet);
      stream.bets.push(bet);
      stream.kept.set(bet.id, KEPT);
    });
  }

  static async open(path: string): Promise<Streams> {
    const streams = new Streams(path);
    await streams.#journal;
    return streams;
  }

  /**
   * Keeps a bet, once for each `(serverSeedHashed, clientSeed, id)`, also where two arrive at once. Neither is answered
   * before it is on the disk; where that fails, both fail, and either may be sent again.
   */
  async add(bet: Bet): Promise<Accepted> {
    const stream = this.#streamOf(bet);
    const before = stream.kept.get(bet.id);
    if (before === undefined) {
      const receivedAt = new Date().toISOString();
      const keeping = this.#keep(stream, { ...bet, dateTime: bet.dateTime ?? receivedAt, receivedAt });
      stream.kept.set(bet.id, keeping);
      await keeping;
    } else {
      await before;
    }
    return { streamId: stream.id, accepted: before === undefined };
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

  async #keep(stream: OpenStream, bet: KeptBet): Promise<void> {
    try {
      await (await this.#journal).append(bet);
      stream.bets.push(bet);
    } catch (error) {
      stream.kept.delete(bet.id);
      throw error;
    }
  }

  #streamOf(bet: Bet): OpenStream {
    const id = streamId(bet);
    let stream = this.#streams.get(id);
    if (stream === undefined) {
      const { serverSeedHashed, clientSeed } = bet;
      stream = { id, serverSeedHashed, clientSeed, bets: [], kept: new Map() };
      this.#streams.set(id, stream);
    }
    return stream;
  }
}

/** The same for the same seeds, whatever they consist of. */
function streamId({ serverSeedHashed, clientSeed }: Bet): string {
  return createHash('sha256')
    .update(JSON.stringify([serverSeedHashed, clientSeed]))
    .digest('hex')
    .slice(0, 32);
}
