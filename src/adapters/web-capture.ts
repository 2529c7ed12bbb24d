import type { CapturedResponse, ResponseReceiver } from '../core/request-view.js';
import { CollectedBody } from './capture.js';

/** What `capture` was called with. */
export interface WebCapture {
  readonly maxBytes: number;
  readonly done: ResponseReceiver;
}

/** The same response, whose body ends when `done` has received it. Without a body, it is `done` before it is returned. */
export async function captureWebResponse(response: Response, { maxBytes, done }: WebCapture): Promise<Response> {
  const { status, body } = response;
  const headers: CapturedResponse['headers'] = [...response.headers];
  if (body === null) {
    await done({ status, headers, body: new Uint8Array() });
    return response;
  }
  const collected = new CollectedBody(maxBytes);
  const capturing = new TransformStream<Uint8Array, Uint8Array>({
    transform(chunk, controller) {
      collected.add(chunk);
      controller.enqueue(chunk);
    },
    async flush() {
      await done({ status, headers, body: collected.body() });
    },
  });
  const sent = new Response(body.pipeThrough(capturing), response);
  // With a length, the client has the whole body before the stream ends.
  sent.headers.delete('content-length');
  return sent;
}
