import type { CapturedResponse, ResponseReceiver } from '../core/request-view.js';
import { CollectedBody } from './capture.js';

/** What `capture` was called with. */
export interface WebCapture {
  readonly maxBytes: number;
  readonly done: ResponseReceiver;
}

/**
 * The same response, whose body ends when `done` has received it. Without a body, it is `done` before it is returned. If the
 * client leaves, the rest is read all the same, up to `maxBytes`.
 */
export async function captureWebResponse(response: Response, { maxBytes, done }: WebCapture): Promise<Response> {
  const { status, body } = response;
  const headers: CapturedResponse['headers'] = [...response.headers];
  if (body === null) {
    await done({ status, headers, body: new Uint8Array() });
    return response;
  }
  const collected = new CollectedBody(maxBytes);
  const reader = body.getReader();

  async function next(): Promise<Uint8Array | undefined> {
    try {
      const { done: isLast, value } = await reader.read();
      if (!isLast) {
        collected.add(value);
        return value;
      }
    } catch (error) {
      // It broke off: no client can have the whole answer.
      await done({ status: 500, headers: [], body: undefined });
      throw error;
    }
    await done({ status, headers, body: collected.body() });
    return undefined;
  }

  async function readRest(): Promise<void> {
    while ((await next()) !== undefined) {
      if (collected.size <= maxBytes) continue;
      await done({ status, headers, body: undefined });
      return reader.cancel();
    }
  }

  const capturing = new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        const chunk = await next();
        if (chunk === undefined) controller.close();
        else controller.enqueue(chunk);
      },
      cancel() {
        readRest().catch(() => undefined);
      },
    },
    { highWaterMark: 0 },
  );
  const sent = new Response(capturing, response);
  // With a length, the client has the whole body before the stream ends.
  sent.headers.delete('content-length');
  return sent;
}
