/** The message of the error for a command that was withdrawn before it was written. */
const WITHDRAWN = 'The command was aborted';

/**
 * Keeps commands out of a write that node-redis has scheduled and makes after its connection has broken. What it writes then
 * is lost, and still waits for replies: those of the next connection would be handed to the wrong commands. So when the
 * connection breaks, commands that are not written are withdrawn, and they and all later ones are sent after that write.
 */
export class WriteGate {
  /** Of the commands that the client writes at the end of this turn of the event loop. */
  #unwritten: AbortController[] = [];
  /** Resolves when no write is scheduled. Undefined unless the connection has just broken. */
  #settled: Promise<void> | undefined;

  /** Call it in the event by which the client reports that its connection has broken. More calls do no harm. */
  broken(): void {
    this.#settled ??= new Promise((resolve) => {
      // The write was scheduled before.
      setImmediate(() => {
        this.#settled = undefined;
        resolve();
      });
    });
    const unwritten = this.#unwritten;
    this.#unwritten = [];
    // The last first: node-redis 5.12 loses its queue if the first of several is withdrawn before the next one.
    for (const command of unwritten.reverse()) command.abort();
  }

  /** Sends a command by `write`, which passes the signal to the client. */
  async send(write: (abortSignal: AbortSignal) => Promise<unknown>): Promise<unknown> {
    for (;;) {
      while (this.#settled !== undefined) await this.#settled;
      const command = new AbortController();
      try {
        const reply = write(command.signal);
        this.#noteUnwritten(command);
        return await reply;
      } catch (error) {
        // It was not written, so that also what must not run twice can be sent.
        if (!command.signal.aborted || !(error instanceof Error) || error.message !== WITHDRAWN) throw error;
      }
    }
  }

  #noteUnwritten(command: AbortController): void {
    if (this.#unwritten.push(command) > 1) return;
    // The client's write was scheduled before.
    setImmediate(() => {
      this.#unwritten = [];
    });
  }
}

const gates = new WeakMap<object, WriteGate>();

/** The one gate of a connection. `listen` is called once, with what to call when it breaks. */
export function gateOf(connection: object, listen: (broken: () => void) => void): WriteGate {
  let gate = gates.get(connection);
  if (gate === undefined) {
    const made = new WriteGate();
    listen(() => made.broken());
    gates.set(connection, made);
    gate = made;
  }
  return gate;
}
