import { createServer } from 'node:http';
import { clientIp, Exchange, type Guard, sequence } from 'gatewarden';
import { type ExpressMiddleware, guard } from 'gatewarden/express';

// The middleware's signature does not depend on Express' types: it also works with node:http.
const guards: readonly Guard[] = [clientIp()];
const middleware: ExpressMiddleware = guard(sequence(...guards));

createServer((request, response) => {
  middleware(request, response, (error?: unknown) => {
    const exchange: unknown = 'exchange' in request ? request.exchange : undefined;
    response.end(String(error ?? exchange instanceof Exchange));
  });
});
