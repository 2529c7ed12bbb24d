import type { IncomingHttpHeaders } from 'node:http';
import { Readable } from 'node:stream';
import type { FastifyInstance, FastifyRequest } from 'fastify';

/** The headers that tell Fastify that a request has a body. */
interface BodyHeaders {
  readonly headers: IncomingHttpHeaders;
  readonly type: string | undefined;
  readonly length: string | undefined;
  readonly encoding: string | undefined;
}

const hidden = new WeakMap<FastifyRequest, BodyHeaders>();

/**
 * Lets Fastify see no body where `upload` has read it: a parser would wait for it forever. No parser is registered for
 * this, because it would take other multipart requests away from the application's own parsers.
 */
export function skipReadBodies(app: FastifyInstance): void {
  app.addHook('preParsing', (request, _reply, payload, done) => {
    if (request.exchange?.upload === undefined || hidden.has(request)) return done(null, payload);
    // A parser for exactly this type is a mistake that would otherwise stay unnoticed. It gets a body that fails.
    if (!request.server.hasContentTypeParser('multipart/form-data')) hideBody(request);
    done(null, failingBody());
  });
  app.addHook('preValidation', (request, _reply, done) => {
    showBody(request);
    done();
  });
}

function hideBody(request: FastifyRequest): void {
  const { headers } = request.raw;
  const { 'content-type': type, 'content-length': length, 'transfer-encoding': encoding } = headers;
  hidden.set(request, { headers, type, length, encoding });
  delete headers['content-type'];
  delete headers['content-length'];
  delete headers['transfer-encoding'];
}

function showBody(request: FastifyRequest): void {
  const found = hidden.get(request);
  if (found === undefined) return;
  hidden.delete(request);
  const { headers, type, length, encoding } = found;
  if (type !== undefined) headers['content-type'] = type;
  if (length !== undefined) headers['content-length'] = length;
  if (encoding !== undefined) headers['transfer-encoding'] = encoding;
}

/** Takes the place of a body that `upload` has read. */
function failingBody(): Readable {
  return new Readable({
    read() {
      const error = new Error(
        'gatewarden: upload has read this body, and a content type parser wants it too; remove that parser',
      );
      this.destroy(Object.assign(error, { statusCode: 500 }));
    },
  });
}
