/** A body that can be sent again if the worker was not able to accept it yet. */
export type JobBody = string | Uint8Array | (() => ReadableStream<Uint8Array>);

/** The body of one attempt of a job, which remembers whether it broke off by itself. */
export class SentBody {
  readonly init: string | Uint8Array | ReadableStream<Uint8Array>;
  /** The error of the stream, if it had one. */
  failure: { readonly error: unknown } | undefined = undefined;

  constructor(body: JobBody) {
    this.init = typeof body === 'function' ? this.#watched(body()) : body;
  }

  #watched(stream: ReadableStream<Uint8Array>): ReadableStream<Uint8Array> {
    const reader = stream.getReader();
    return new ReadableStream<Uint8Array>(
      {
        pull: async (controller) => {
          try {
            const { done, value } = await reader.read();
            if (done) controller.close();
            else controller.enqueue(value);
          } catch (error) {
            this.failure = { error };
            controller.error(error);
          }
        },
        cancel: (reason) => reader.cancel(reason),
      },
      { highWaterMark: 0 },
    );
  }
}
