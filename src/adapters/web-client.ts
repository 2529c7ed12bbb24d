import { warnOfMissingAddress } from './web-exchange.js';

/**
 * The address of the client as the runtime shows it to a handler: by the server of Bun, the second argument of Deno and of
 * Hono's server on Node, or the header that Cloudflare sets. Undefined for a Unix socket.
 */
export function addressFrom(request: Request, context: unknown): string | undefined {
  if (isObject(context)) {
    if (typeof context.requestIP === 'function') return textOf(context.requestIP(request), 'address');
    if (isObject(context.remoteAddr)) return textOf(context.remoteAddr, 'hostname');
    if (isObject(context.incoming)) return textOf(context.incoming.socket, 'remoteAddress');
  }
  // Only a request that came through Cloudflare has this member, and Cloudflare replaces the header of a client.
  if (isObject((request as { readonly cf?: unknown }).cf)) {
    return request.headers.get('cf-connecting-ip') ?? undefined;
  }
  warnOfMissingAddress('guarded', 'createGuarded({ address })');
  return undefined;
}

/** The parameters of the route: of a request of Bun, or of the second argument of Next.js, where they are a promise. */
export function paramsFrom(request: Request, context: unknown): unknown {
  const { params } = request as { readonly params?: unknown };
  if (isObject(params)) return params;
  return isObject(context) ? context.params : undefined;
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null;
}

function textOf(value: unknown, member: string): string | undefined {
  const text = isObject(value) ? value[member] : undefined;
  return typeof text === 'string' ? text : undefined;
}
