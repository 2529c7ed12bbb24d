import type { Exchange } from '../core/exchange.js';

/** More than any runtime needs for a body that it has in memory: 9 at the most were seen. */
const MAX_TURNS = 16;
const EMPTY = new Uint8Array();

type Reader = ReadableStreamDefaultReader<Uint8Array>;
type Chunk = Awaited<ReturnType<Reader['read']>>;

/**
 * A body that is thrown away is neither read nor cancelled. Without this, its exchange would hold its slots forever. Not on
 * every runtime.
 */
const discarded =
  typeof FinalizationRegistry === 'function'
    ? new FinalizationRegistry<Exchange>((exchange) => exchange.abort())
    : undefined;

/**
 * The response to send instead of `response`, so that the exchange ends with its body: as completed when the runtime has
 * read all of it, as aborted if it fails, is cancelled or is thrown away. If the client leaves, the body is cancelled. A
 * body that is in memory stays as it is, so that the runtime knows its length.
 */
export async function endWithBody(response: Response, exchange: Exchange, isToHead: boolean): Promise<Response> {
  const { body, bodyUsed, status } = response;
  if (exchange.outcome !== undefined && exchange.outcome.kind !== 'aborted') return response;
  // With a body that was read already, a runtime answers as it does without guards.
  if (bodyUsed || !isReadable(body)) {
    exchange.end({ kind: 'completed', status });
    return response;
  }
  const reader: Reader = body.getReader();
  const ahead: Promise<Chunk>[] = [];
  const whole = await inMemory(reader, ahead);
  if (whole !== undefined || isToHead) {
    exchange.end({ kind: 'completed', status });
    // A runtime neither reads the body for HEAD nor cancels it, and the work for it would go on.
    if (whole === undefined) reader.cancel().catch(() => undefined);
    return new Response(whole ?? noBytes(), response);
  }
  exchange.onEnd(({ kind }) => {
    // It fails if the body has failed.
    if (kind === 'aborted') reader.cancel().catch(() => undefined);
  });

  async function pull(controller: ReadableStreamDefaultController<Uint8Array>): Promise<void> {
    try {
      const { done, value } = await (ahead.shift() ?? reader.read());
      if (!done) controller.enqueue(value);
      else {
        controller.close();
        exchange.end({ kind: 'completed', status });
      }
    } catch (error) {
      controller.error(error);
      exchange.abort();
    }
  }

  discarded?.register(pull, exchange);
  return new Response(new ReadableStream({ pull, cancel: () => exchange.abort() }, { highWaterMark: 0 }), response);
}

function noBytes(): ReadableStream<Uint8Array> {
  return new ReadableStream({ start: (controller) => controller.close() });
}

/** Not null, not locked, and not of a library that has streams of another kind. */
function isReadable(body: Response['body']): body is ReadableStream<Uint8Array> {
  return body !== null && typeof body.getReader === 'function' && !body.locked;
}

/**
 * The whole body, if the runtime has it in memory. Undefined for a stream, whose chunks that were read until then are in
 * `ahead`. Never waits for an event.
 */
async function inMemory(reader: Reader, ahead: Promise<Chunk>[]): Promise<Uint8Array<ArrayBuffer> | undefined> {
  let whole: Uint8Array | undefined;
  let hasGivenUp = false;
  const first = reader.read();
  ahead.push(first);
  first.then(
    ({ done, value }) => {
      if (done) whole = EMPTY;
      if (done || hasGivenUp || !(value instanceof Uint8Array)) return;
      const second = reader.read();
      ahead.push(second);
      second.then(
        (end) => {
          if (end.done) whole = value;
        },
        () => undefined,
      );
    },
    () => undefined,
  );
  for (let i = 0; i < MAX_TURNS && whole === undefined; i++) await undefined;
  hasGivenUp = true;
  return whole as Uint8Array<ArrayBuffer> | undefined;
}
