import { Readable } from 'node:stream';
import { eventStreamReply } from '../core/event-stream.js';
import type { Exchange } from '../core/exchange.js';
import type { Reply } from '../core/reply.js';
import type { History } from './history.js';
import type { PageSnapshot } from './page-snapshot.js';

/** What the streams of one page have in common. */
export interface EventsSource {
  readonly history: History;
  snapshot(fault: (error: unknown) => void): Promise<PageSnapshot>;
  readonly maxStreams: number;
  /** Milliseconds between two events. */
  readonly interval: number;
  /** How long a stream lasts at the most, in milliseconds: then the page must show the key again. */
  readonly maxAge: number;
  /** How long a client may take to read the end of its stream, in milliseconds. After that, it is cut off. */
  readonly patience: number;
}

/** The streams of one page. One snapshot is made for all of them, and none while no page is open. */
export class PageEvents {
  readonly #source: EventsSource;
  readonly #streams = new Set<PageStream>();
  /** Streams that are promised to a client. */
  #open = 0;
  #timer: NodeJS.Timeout | undefined;
  #isBusy = false;
  #isClosed = false;

  constructor(source: EventsSource) {
    this.#source = source;
  }

  get isFull(): boolean {
    return this.#isClosed || this.#open >= this.#source.maxStreams;
  }

  /** Ends all streams, for a server that waits for its connections. */
  close(): void {
    this.#isClosed = true;
    for (const stream of this.#streams) stream.finish();
  }

  /** A stream of events for one operator. */
  reply(exchange: Exchange): Reply {
    this.#open++;
    let stream: PageStream | undefined;
    let isClosed = false;
    const close = () => {
      if (isClosed) return;
      isClosed = true;
      this.#open--;
      if (stream !== undefined) this.#streams.delete(stream);
      if (this.#streams.size === 0) {
        clearInterval(this.#timer);
        this.#timer = undefined;
      }
    };
    const open = () => {
      stream = new PageStream(this.#source, (error) => exchange.fault(error), close);
      this.#streams.add(stream);
      this.#timer ??= setInterval(() => void this.#tick(), this.#source.interval).unref();
      void this.#tick();
      return stream;
    };
    return eventStreamReply(exchange, open, close);
  }

  async #tick(): Promise<void> {
    if (this.#isBusy) return;
    this.#isBusy = true;
    const [first] = this.#streams;
    try {
      const text = JSON.stringify(await this.#source.snapshot((error) => first?.fault(error)));
      for (const stream of this.#streams) stream.show(text);
    } catch (error) {
      first?.fault(error);
    } finally {
      this.#isBusy = false;
    }
  }
}

/** Never holds more than one snapshot: a slow client misses some, and never the last one. */
class PageStream extends Readable {
  readonly fault: (error: unknown) => void;
  readonly #history: History;
  readonly #close: () => void;
  readonly #patience: number;
  #end: NodeJS.Timeout;
  #snapshot: string | undefined;
  /** The newest interval that the client has, which may still have grown. */
  #seen = 0;
  #isWanted = false;
  #isOver = false;

  constructor({ history, maxAge, patience }: EventsSource, fault: (error: unknown) => void, close: () => void) {
    super({ highWaterMark: 0 });
    this.fault = fault;
    this.#history = history;
    this.#patience = patience;
    this.#close = close;
    this.#end = setTimeout(() => this.finish(), maxAge).unref();
  }

  finish(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.push(null);
    clearTimeout(this.#end);
    // A client that reads nothing would keep its place, and would keep the server from stopping.
    this.#end = setTimeout(() => this.destroy(), this.#patience).unref();
  }

  show(snapshot: string): void {
    this.#snapshot = snapshot;
    this.#send();
  }

  override _read(): void {
    this.#isWanted = true;
    this.#send();
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#isOver = true;
    clearTimeout(this.#end);
    this.#close();
    done(error);
  }

  #send(): void {
    const snapshot = this.#snapshot;
    if (snapshot === undefined || !this.#isWanted || this.#isOver) return;
    const buckets = this.#history.since(this.#seen);
    this.#seen = buckets.at(-1)?.at ?? this.#seen;
    this.#snapshot = undefined;
    this.#isWanted = false;
    this.push(`event: state\ndata: {"snapshot":${snapshot},"buckets":${JSON.stringify(buckets)}}\n\n`);
  }
}
