/** The message of the error for a command that was withdrawn before it was written. */
const WITHDRAWN = 'The command was aborted';

/** A command that waits until the connection takes commands again. */
interface Waiting {
  /** The place of the command among all that were sent. */
  readonly order: number;
  readonly go: () => void;
}

/** What reports by an `error` event, before anything else, that its connection has broken. */
export interface Connection {
  on(event: 'error', listener: () => void): unknown;
}

/**
 * Keeps commands out of a write that node-redis has scheduled and makes after its connection has broken. What it writes then
 * is lost, and still waits for replies: those of the next connection would be handed to the wrong commands. So when the
 * connection breaks, commands that are not written are withdrawn, and they and all later ones are sent after that write, in
 * their order.
 */
export class WriteGate {
  /** Of the commands without a reply. A command that is written does not listen to its signal any more. */
  readonly #unanswered = new Set<AbortController>();
  /** Undefined unless the connection has just broken. */
  #waiting: Waiting[] | undefined;
  #sent = 0;
  readonly #watched = new WeakSet<Connection>();
  readonly #broken = (): void => this.#withdraw();

  /** Takes the commands of this gate back when a connection breaks. More calls for one connection do no harm. */
  watch(connection: Connection): void {
    if (this.#watched.has(connection)) return;
    this.#watched.add(connection);
    connection.on('error', this.#broken);
  }

  /** Sends a command by `write`, which passes the signal to the client. */
  async send(write: (abortSignal: AbortSignal) => Promise<unknown>): Promise<unknown> {
    const order = this.#sent++;
    for (;;) {
      while (this.#waiting !== undefined) await this.#turn(this.#waiting, order);
      const command = new AbortController();
      this.#unanswered.add(command);
      try {
        return await write(command.signal);
      } catch (error) {
        // It was not written, so that also what must not run twice can be sent.
        if (!command.signal.aborted || !(error instanceof Error) || error.message !== WITHDRAWN) throw error;
      } finally {
        this.#unanswered.delete(command);
      }
    }
  }

  #withdraw(): void {
    if (this.#waiting === undefined) {
      const waiting: Waiting[] = [];
      this.#waiting = waiting;
      // The write was scheduled before.
      setImmediate(() => {
        this.#waiting = undefined;
        for (const { go } of waiting.sort((a, b) => a.order - b.order)) go();
      });
    }
    // The last first: node-redis 5.12 loses its queue if the first of several is withdrawn before the next one.
    for (const command of [...this.#unanswered].reverse()) command.abort();
  }

  #turn(waiting: Waiting[], order: number): Promise<void> {
    return new Promise((go) => {
      waiting.push({ order, go });
    });
  }
}

const gates = new WeakMap<object, WriteGate>();

/** The one gate of a client, however many stores it has. */
export function gateOf(client: object): WriteGate {
  let gate = gates.get(client);
  if (gate === undefined) {
    gate = new WriteGate();
    gates.set(client, gate);
  }
  return gate;
}
