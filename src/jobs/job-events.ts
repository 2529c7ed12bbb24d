import { Readable } from 'node:stream';
import { eventStreamReply } from '../core/event-stream.js';
import type { Exchange } from '../core/exchange.js';
import type { Reply } from '../core/reply.js';
import { hasEnded } from './job-change.js';
import { statusOf } from './job-status.js';
import type { JobRecord, JobStore } from './job-store.js';

/** What all streams of one queue have in common. */
export interface EventSource {
  readonly store: JobStore;
  readonly path: string;
  /** Milliseconds between two signs of life, and between two looks at a job whose holder may have died. */
  readonly heartbeat: number;
}

/** Tells an `EventSource` of a browser not to connect again (HTML section 9.2). */
const NOTHING_MORE: Reply = {
  status: 204,
  headers: [['Cache-Control', 'no-store']],
  problem: undefined,
  isAnswer: true,
};
/**
 * What happens to a job, as server-sent events. Each has the whole status, and its id is the version of the job: a client
 * that connects again with `Last-Event-ID` gets the present state, unless it has that already. The stream ends with the job.
 */
export function eventsReply(exchange: Exchange, record: JobRecord, source: EventSource, onClose: () => void): Reply {
  const [last = ''] = exchange.request.fieldLines('last-event-id');
  const seen = /^\d{1,15}$/.test(last) ? Number(last) : 0;
  if (seen >= record.version && hasEnded(record.state)) {
    onClose();
    return NOTHING_MORE;
  }
  const open = () => new JobEvents(record, Math.min(seen, record.version), source, onClose);
  return eventStreamReply(exchange, open, onClose);
}

/** Never holds more than one event: a slow client misses states between, and never the last one. */
class JobEvents extends Readable {
  readonly #source: EventSource;
  readonly #id: string;
  readonly #onClose: () => void;
  readonly #unwatch: () => void;
  readonly #timer: NodeJS.Timeout;
  #record: JobRecord | undefined;
  /** The version that the client has. */
  #sent: number;
  #lastState: string | undefined;
  #isWanted = false;
  #looking: 'no' | 'yes' | 'again' = 'no';
  #isBeating = true;
  #isOver = false;

  constructor(record: JobRecord, seen: number, source: EventSource, onClose: () => void) {
    super({ highWaterMark: 0 });
    this.#source = source;
    this.#id = record.id;
    this.#onClose = onClose;
    this.#record = record;
    this.#sent = seen;
    // A client that has seen this version knows its state.
    this.#lastState = seen === record.version ? record.state : undefined;
    this.#unwatch = source.store.watch(record.id, () => void this.#look());
    this.#timer = setInterval(() => {
      this.#isBeating = true;
      void this.#look();
    }, source.heartbeat).unref();
    // Something may have changed before the watch began.
    void this.#look();
  }

  override _read(): void {
    this.#isWanted = true;
    this.#send();
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#isOver = true;
    clearInterval(this.#timer);
    this.#unwatch();
    this.#onClose();
    done(error);
  }

  async #look(): Promise<void> {
    if (this.#looking !== 'no') {
      this.#looking = 'again';
      return;
    }
    do {
      this.#looking = 'yes';
      try {
        this.#record = await this.#source.store.read(this.#id);
      } catch {
        // The next look may succeed.
      }
    } while (this.#mustLookAgain());
    this.#looking = 'no';
    this.#send();
  }

  #mustLookAgain(): boolean {
    return this.#looking === 'again' && !this.#isOver;
  }

  #send(): void {
    if (!this.#isWanted || this.#isOver) return;
    const record = this.#record;
    if (record !== undefined && record.version > this.#sent) {
      const event = record.state === this.#lastState && record.progress !== undefined ? 'progress' : 'status';
      this.#sent = record.version;
      this.#lastState = record.state;
      this.#push(`event: ${event}\nid: ${record.version}\ndata: ${this.#data(record)}\n\n`);
    } else if (record === undefined || hasEnded(record.state)) {
      this.#isOver = true;
      this.push(null);
    } else if (this.#isBeating) this.#push(':\n\n');
  }

  #push(text: string): void {
    this.#isWanted = false;
    this.#isBeating = false;
    this.push(text);
  }

  #data(record: JobRecord): string {
    return JSON.stringify(statusOf(this.#source.path, record));
  }
}
