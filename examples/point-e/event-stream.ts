import type { Request, Response } from 'express';

/** How often a client learns that its job still runs. Proxies close a connection that is silent for about a minute. */
const PROGRESS_EVERY = 1000;

/** Whether a client asks for the course of its request instead of only its end. */
export function wantsEvents(req: Request): boolean {
  return req.accepts(['application/json', 'text/event-stream']) === 'text/event-stream';
}

/** Server-sent events as the response to one request. The head is sent with the first. */
export class EventStream {
  readonly #res: Response;
  #timer: NodeJS.Timeout | undefined;

  constructor(res: Response) {
    this.#res = res;
  }

  /** Whether the response has begun, so that its status can no longer change. */
  get hasBegun(): boolean {
    return this.#res.headersSent;
  }

  send(event: string, data: object): void {
    if (this.#res.writableEnded || this.#res.destroyed) return;
    if (!this.#res.headersSent) {
      // nginx would keep the events back.
      this.#res.set({ 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-store', 'X-Accel-Buffering': 'no' });
    }
    this.#res.write(`event: ${event}\ndata: ${JSON.stringify(data)}\n\n`);
  }

  /** The job runs. Says so, and for how long, until the end. */
  run(): void {
    const startedAt = performance.now();
    const tell = (): void => {
      this.send('progress', { state: 'running', elapsed_seconds: Math.round((performance.now() - startedAt) / 1000) });
    };
    tell();
    this.#timer = setInterval(tell, PROGRESS_EVERY);
  }

  end(event: string, data: object): void {
    clearInterval(this.#timer);
    this.send(event, data);
    this.#res.end();
  }

  /** The client has left. */
  close(): void {
    clearInterval(this.#timer);
  }
}
