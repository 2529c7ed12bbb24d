import fastify, { type FastifyInstance, type FastifyReply } from 'fastify';
import {
  accessLog,
  authenticate,
  clientIp,
  cors,
  ingestToken,
  limit,
  problemFormat,
  requestId,
  securityHeaders,
  slidingWindow,
  trustedHosts,
} from 'gatewarden';
import { gatewarden, guard } from 'gatewarden/fastify';
import type { Logger } from '../text-logger.js';
import { proxyOptions } from '../trusted-proxies.js';
import { readBet } from './bet.js';
import { corsViolations } from './cors-violations.js';
import { refuseForeignPages } from './foreign-pages.js';
import type { Settings } from './settings.js';
import type { Stream, Streams } from './streams.js';

/** The senders of this service were written for FastAPI: they read errors in `detail`. */
const fastApiErrors = problemFormat({
  'credentials-missing': () => ({ body: { detail: 'Missing X-Ingest-Token header' } }),
  'credentials-invalid': () => ({ body: { detail: 'Invalid ingest token' } }),
  'quota-exceeded': ({ limit }) => ({ body: { detail: `Rate limit exceeded: ${limit} requests per minute` } }),
  default: ({ detail }) => ({ body: { detail } }),
});

/** The live-ingest API: accepts bets from senders with the token, up to a limit per minute, and lists them by stream. */
export async function createGateway(settings: Settings, streams: Streams, logger: Logger): Promise<FastifyInstance> {
  const app = fastify({ bodyLimit: 64 * 1024 });
  await app.register(gatewarden, {
    guards: [
      fastApiErrors,
      requestId(),
      accessLog({ logger }),
      securityHeaders(),
      clientIp(proxyOptions(settings.trustedProxies)),
      ...(settings.trustedHosts.length === 0 ? [] : [trustedHosts({ hosts: settings.trustedHosts })]),
      corsViolations(logger),
      cors({
        origin: settings.corsOrigins,
        credentials: true,
        allowedHeaders: [
          'Accept',
          'Accept-Language',
          'Content-Language',
          'Content-Type',
          'Authorization',
          'X-Requested-With',
          'X-Ingest-Token',
        ],
      }),
    ],
  });

  // A body is read as JSON, whatever its Content-Type: curl sends a form's by default.
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('*', { parseAs: 'string' }, (_request, body, done) => done(null, body));

  app.get('/', () => ({
    service: 'Live-ingest API',
    description: 'Accepts bets from senders that know the token, and shows them by stream.',
    endpoints: ['POST /live/ingest', 'GET /live/streams', 'GET /live/streams/{id}'],
    documentation: 'docs/examples/live-ingest.md',
  }));

  app.post(
    '/live/ingest',
    {
      onRequest: guard(
        // A page of another site cannot send the token. Without a token, its requests are refused before they are counted.
        ...(settings.ingestTokens.length === 0 ? [refuseForeignPages(settings.corsOrigins)] : []),
        limit({
          by: 'client-ip',
          policies: slidingWindow({ limit: settings.ingestRateLimit, window: '1m', name: 'ingest' }),
          // A request with a wrong token is charged too. Otherwise guessing tokens would be free.
          refundOn: ['server-error'],
          legacyHeaders: true,
        }),
        authenticate(ingestToken({ tokens: settings.ingestTokens, whenUnset: 'open' })),
      ),
    },
    async (request, reply) => {
      const read = readBet(typeof request.body === 'string' ? request.body : '');
      if ('mistakes' in read) return reply.code(422).send({ detail: read.mistakes });
      return streams.add(read.bet);
    },
  );

  app.get('/live/streams', () => ({ streams: streams.list().map(summary) }));

  app.get<{ Params: { id: string } }>('/live/streams/:id', (request, reply) => {
    const stream = streams.find(request.params.id);
    if (stream === undefined) return notFound(reply);
    return { ...summary(stream), bets: stream.bets };
  });

  app.setNotFoundHandler((_request, reply) => notFound(reply));
  app.setErrorHandler((error: { statusCode?: number }, request, reply) => {
    const { statusCode = 500 } = error;
    if (statusCode < 500) return reply.code(statusCode).send({ detail: 'The request could not be read.' });
    logger.error({ err: error, requestId: request.exchange?.requestId }, 'unhandled error');
    return reply.code(500).send({ detail: 'Internal Server Error' });
  });
  return app;
}

function summary({ id, serverSeedHashed, clientSeed, bets }: Stream) {
  return {
    id,
    serverSeedHashed,
    clientSeed,
    totalBets: bets.length,
    createdAt: bets[0]?.receivedAt,
    lastSeenAt: bets.at(-1)?.receivedAt,
  };
}

function notFound(reply: FastifyReply): FastifyReply {
  return reply.code(404).send({ detail: 'Not Found' });
}
