/** What is called when the body of a response has ended. Exactly one of them is. */
export interface BodyEnd {
  /** It was read to its end. */
  readonly whole: () => void;
  /** It broke off. Returns the error for its reader. */
  readonly broken: (error: unknown) => Error;
  /** Its reader wants no more. */
  readonly left: () => void;
}

/** The body of a response, chunk by chunk as it is read. Nothing is read ahead of the reader. */
export function jobBody({ body }: Response, end: BodyEnd): ReadableStream<Uint8Array> | null {
  if (body === null) return null;
  const reader: ReadableStreamDefaultReader<Uint8Array> = body.getReader();
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        try {
          const { done, value } = await reader.read();
          if (!done) return controller.enqueue(value);
          end.whole();
          controller.close();
        } catch (error) {
          controller.error(end.broken(error));
        }
      },
      async cancel(reason) {
        end.left();
        await reader.cancel(reason).catch(() => undefined);
      },
    },
    { highWaterMark: 0 },
  );
}
