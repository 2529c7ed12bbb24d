import { createGuarded, exchangeOf } from '../../src/adapters/web-handler.js';
import { type GuardGroups, Inapplicable, type Route, type Service } from '../contracts/adapter/index.js';
import type { WebConnection, WebFetch } from '../web-server.js';

/** What the router passes to handlers after the request. */
interface RouteContext extends WebConnection {
  readonly params: Readonly<Record<string, string>>;
  readonly pattern: string | undefined;
}

type Handle = (request: Request, context: RouteContext) => Promise<Response>;

const guarded = createGuarded({
  params: (_request: Request, { params }: RouteContext) => params,
  routePattern: (_request, { pattern }) => pattern,
});

/** A service without a framework: a small router, and a `guarded` handler for each of its parts. */
export function webApp(service: Service): WebFetch {
  const { mount, before } = service;
  const routes = [
    ...service.routes.map((route) => routed(route, route.path, [])),
    ...(mount?.routes.map((route) => routed(route, mount.path + route.path, mount.guards)) ?? []),
  ];

  const app = grouped(service.guards, async (request, context) => {
    const found = routes.find((route) => route.pattern === context.pattern && serves(route.method, request));
    return found === undefined ? Response.json({}, { status: 404 }) : found.handle(request, context);
  });

  async function answer(request: Request, connection: WebConnection): Promise<Response> {
    const { pathname } = new URL(request.url);
    const found = routes.find((route) => serves(route.method, request) && route.expression.test(pathname));
    const groups = found?.expression.exec(pathname)?.groups ?? {};
    const params = Object.fromEntries(Object.entries(groups).map(([name, text]) => [name, decodeURIComponent(text)]));
    return app(request, { ...connection, params, pattern: found?.pattern });
  }

  if (before === undefined) return answer;
  return (request, connection) =>
    new Promise((resolve, reject) => {
      before(
        () => void answer(request, connection).then(resolve, reject),
        () => resolve(Response.json({}, { status: 503 })),
        connection.socket,
      );
    });

  function routed({ method, path, guards, handler }: Route, pattern: string, outer: GuardGroups) {
    if (handler.does === 'write' && handler.respond === undefined) throw new Inapplicable('needs node:http');
    const handle: Handle = async (request) => {
      service.entered(exchangeOf(request));
      switch (handler.does) {
        case 'answer':
          await handler.after?.();
          return Response.json(handler.body, { status: handler.status, headers: { ...handler.headers } });
        // As a service without a framework would. What the runtime answers otherwise is the same for all of them.
        case 'throw':
        case 'reject':
          return Response.json({}, { status: 500 });
        case 'write':
          return (handler.respond as () => Response | Promise<Response>)();
      }
    };
    return {
      method,
      path,
      pattern,
      expression: new RegExp(`^${pattern.replace(/:(\w+)/g, '(?<$1>[^/]+)')}$`),
      handle: grouped([...outer, ...guards], handle),
    };
  }
}

function serves(method: string, request: Request): boolean {
  return method === request.method || (method === 'GET' && request.method === 'HEAD');
}

function grouped(groups: GuardGroups, handle: Handle): Handle {
  return groups.reduceRight<Handle>((inner, group) => guarded(inner, ...group), handle);
}
