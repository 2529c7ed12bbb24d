import { EventEmitter, once } from 'node:events';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import { expect, it } from 'vitest';
import { type Exchange, type Guard, type Outcome, reportFaults } from '../../../src/index.js';
import { type Answer, Client } from '../../raw-client.js';
import { Inapplicable, type Route, type Serve, type Service, type Serving } from './service.js';

/**
 * Declares a test with its own stage. At its end, and after the server has closed, every exchange must have ended once.
 */
export interface Promised {
  (text: string, act: (stage: Stage) => Promise<void>): void;
  /** Declares a test of what a handler of the web cannot see. */
  onNode(text: string, act: (stage: Stage) => Promise<void>): void;
}

/** Declares tests of one adapter. */
export function promised(serve: Serve): Promised {
  const promise = (text: string, act: (stage: Stage) => Promise<void>) => {
    it(text, async ({ skip }) => {
      const stage = new Stage(serve);
      try {
        await act(stage);
        await turns();
        stage.check();
      } catch (error) {
        if (error instanceof Inapplicable) skip(error.message);
        throw error;
      } finally {
        await stage.close();
      }
      stage.check();
    }, 20_000);
  };
  return Object.assign(promise, { onNode: serve.isWeb ? () => undefined : promise });
}

interface Entry {
  readonly exchange: Exchange;
  readonly signal: AbortSignal;
  readonly outcomes: Outcome[];
}

/** The service of one test, its clients, and a record of every exchange. */
export class Stage {
  /** Every exchange in order of arrival, with all outcomes that its end hook received. */
  readonly entries: Entry[] = [];
  readonly faults: unknown[] = [];
  /** The exchanges of the handlers that were called. */
  readonly entered: Exchange[] = [];
  /** The guards that keep the record. They also set `X-Guarded`. */
  readonly watch: readonly Guard[];
  readonly #serve: Serve;
  readonly #events = new EventEmitter();
  readonly #clients: Client[] = [];
  #ended = 0;
  #serving: Serving | undefined;

  constructor(serve: Serve) {
    this.#serve = serve;
    this.watch = [
      reportFaults((error) => this.faults.push(error)),
      (exchange) => {
        const entry: Entry = { exchange, signal: exchange.signal, outcomes: [] };
        this.entries.push(entry);
        exchange.set('X-Guarded', 'yes');
        exchange.onEnd((outcome) => {
          entry.outcomes.push(outcome);
          this.#ended++;
          this.#events.emit('ended');
        });
        return undefined;
      },
    ];
  }

  get port(): number {
    if (this.#serving === undefined) throw new Error('the stage serves nothing yet');
    return this.#serving.port;
  }

  /** Serves the routes, with the recording guards for the whole application unless `service` has others. */
  async serve(routes: readonly Route[], service: Partial<Service> = {}): Promise<void> {
    this.#serving = await this.#serve({
      guards: [this.watch],
      routes,
      entered: (exchange) => {
        this.entered.push(exchange);
        this.#events.emit('entered');
      },
      ...service,
    });
  }

  async connect(): Promise<Client> {
    const client = await Client.connect(this.port);
    this.#clients.push(client);
    return client;
  }

  /** Sends one request on a new connection. */
  async ask(line: string, ...fields: readonly string[]): Promise<Answer> {
    const client = await this.connect();
    client.send(line, ...fields);
    return client.answer(line.startsWith('HEAD '));
  }

  /** Waits until `count` handlers were called. */
  async handlers(count: number): Promise<void> {
    while (this.entered.length < count) await once(this.#events, 'entered');
  }

  /** Waits until `count` exchanges have ended. Returns their outcomes in order of arrival. */
  async outcomes(count: number): Promise<Outcome[]> {
    while (this.#ended < count) await once(this.#events, 'ended');
    return this.entries.flatMap((entry) => entry.outcomes);
  }

  /** Checks that every exchange has one outcome, and a signal that agrees with it. */
  check(): void {
    expect(this.entries.length).toBeGreaterThan(0);
    // One assertion for all: a thousand exchanges would otherwise need thousands.
    const wrong = this.entries.filter(
      ({ exchange, signal, outcomes: [outcome, ...more] }) =>
        outcome === undefined ||
        more.length > 0 ||
        !isDeepStrictEqual(exchange.outcome, outcome) ||
        signal.aborted !== (outcome.kind === 'aborted') ||
        exchange.signal !== signal,
    );
    expect(wrong).toEqual([]);
    const recorded = new Set(this.entries.map((entry) => entry.exchange));
    expect(recorded.size).toBe(this.entries.length);
    expect(this.entered.filter((exchange) => !recorded.has(exchange))).toEqual([]);
  }

  async close(): Promise<void> {
    for (const client of this.#clients) client.socket.destroy();
    await this.#serving?.close();
    await turns();
  }
}

/** Lets the event loop turn a few times, so that a wrong later event could happen. */
export async function turns(): Promise<void> {
  for (let i = 0; i < 8; i++) await nextTurn();
}

interface Gate {
  readonly promise: Promise<void>;
  readonly resolve: () => void;
}

/** A promise that the test fulfils. */
export function gate(): Gate {
  let open: (() => void) | undefined;
  const promise = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { promise, resolve: () => open?.() };
}
