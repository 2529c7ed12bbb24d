import fastify from 'fastify';
import {
  authenticate,
  clientIp,
  Exchange,
  type Guard,
  limit,
  memoryStore,
  type OwnProblem,
  type Problem,
  principalOf,
  problem,
  problemFormat,
  refuse,
  requestId,
  securityHeaders,
  sharedSecret,
  slidingWindow,
} from 'gatewarden';
import { gatewarden, guard } from 'gatewarden/fastify';
import { pino } from 'pino';

declare module 'gatewarden' {
  interface ExchangeLocals {
    /** The service's own value. */
    tenant?: string;
  }
}

const store = memoryStore({ maxEntries: undefined });
const BUSY = problem({ code: 'model-busy', status: 503, title: 'Service Unavailable', detail: 'Busy.', model: 'sdxl' });
const findTenant: Guard = ({ locals, request }) => {
  if (request.url === '/busy') return refuse(BUSY);
  locals.tenant = 'acme';
  return undefined;
};
const detailOf = (found: Problem | OwnProblem) => ({ body: { ...found }, contentType: 'application/problem+json' });

const app = fastify({ loggerInstance: pino({ level: 'silent' }) });
await app.register(gatewarden, {
  guards: [
    requestId(),
    problemFormat({ default: detailOf }),
    securityHeaders(),
    clientIp({ trust: ['loopback'] }),
    findTenant,
  ],
});
app.addHook('preHandler', guard(findTenant));
app.get<{ Params: { readonly id: string } }>(
  '/jobs/:id',
  {
    onRequest: guard(
      authenticate(sharedSecret({ secrets: [process.env.SECRET_KEY] })),
      limit({ store, by: 'client-ip', policies: [slidingWindow({ limit: 2, window: '1m' })] }),
    ),
  },
  ({ exchange, params }) => {
    // @ts-expect-error: the exchange is typed, not `any`.
    exchange.noSuchMember;
    // @ts-expect-error: locals have the members that the service has declared.
    exchange.locals.noSuchMember;
    const tenant: string | undefined = exchange.locals.tenant;
    const ip = exchange.clientIp?.ip;
    return { id: params.id, ip, tenant, client: principalOf(exchange).id, oneIdentity: exchange instanceof Exchange };
  },
);

await app.listen({ port: 0, host: '127.0.0.1' });
const address = app.server.address();
console.log(typeof address === 'object' ? address?.port : address);
