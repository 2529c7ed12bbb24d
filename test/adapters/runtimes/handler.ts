import {
  authenticate,
  concurrency,
  type Exchange,
  jsonReply,
  limit,
  memoryStore,
  type Outcome,
  principalOf,
  securityHeaders,
  sharedSecret,
} from 'gatewarden';
import { exchangeOf, guarded } from 'gatewarden/web';

/** What the tests of each runtime send. */
const SECRET = 'runtime-test-secret-0123456789-abcdef';

const outcomes: Outcome[] = [];
const record = (exchange: Exchange) => {
  exchange.onEnd((outcome) => outcomes.push(outcome));
  return undefined;
};
const slot = limit({ store: memoryStore(), policies: concurrency({ limit: 1, by: 'global' }) });
/** The handlers here do not use what the runtime passes after the request. */
type Handle = (request: Request, ...args: readonly never[]) => Promise<Response>;
const encoder = new TextEncoder();

/** Lines, one each time that the runtime asks, without end unless `count` is given. */
function lines(count = Number.POSITIVE_INFINITY): Response {
  let sent = 0;
  const body = new ReadableStream({
    async pull(controller) {
      await new Promise((resolve) => setTimeout(resolve, 5));
      if (sent++ < count) controller.enqueue(encoder.encode(`line ${sent}\n`));
      else controller.close();
    },
  });
  return new Response(body, { headers: { 'Content-Type': 'text/plain' } });
}

const address: Handle = guarded((request) => Response.json(exchangeOf(request).request.remoteAddress ?? null), record);
const secret: Handle = guarded(
  (request) => Response.json(principalOf(exchangeOf(request)).id),
  securityHeaders(),
  authenticate(sharedSecret({ secrets: [SECRET] })),
);
const stream: Handle = guarded((request) => lines(request.url.endsWith('?3') ? 3 : undefined), record, slot);
const upload: Handle = guarded(
  async (request) => new Response(String((await request.arrayBuffer()).byteLength)),
  record,
);
const broken: Handle = guarded(() => Promise.reject(new Error('broken')), record);

/** A handler whose route has the parameter `id`. */
export const params: Handle = guarded(
  (request) => Response.json(exchangeOf(request).request.param?.('id') ?? null),
  (exchange) => (exchange.request.remoteAddress === undefined ? jsonReply(500, {}) : undefined),
);

/** The service, which each runtime calls in its own way. */
export async function service(request: Request, ...args: readonly never[]): Promise<Response> {
  switch (new URL(request.url).pathname) {
    case '/address':
      return address(request, ...args);
    case '/secret':
      return secret(request, ...args);
    case '/stream':
      return stream(request, ...args);
    case '/upload':
      return upload(request, ...args);
    case '/broken':
      return broken(request, ...args);
    default:
      return Response.json(outcomes.splice(0));
  }
}
