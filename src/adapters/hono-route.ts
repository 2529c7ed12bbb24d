/** A route as Hono lists it for a request. Middleware is a route too. */
interface HonoRoute {
  readonly path: string;
  readonly method: string;
  readonly handler: { readonly length: number };
}

/** What Hono knows of the routes of a request. */
export interface HonoRoutes {
  readonly matchedRoutes?: readonly HonoRoute[];
  readonly routeIndex?: number;
}

/** The pattern of the route that answers, such as `/users/:id`. Undefined if only middleware has run. */
export function honoRoute({ matchedRoutes = [], routeIndex = 0 }: HonoRoutes): string | undefined {
  // The last that has run, or else the next that will.
  for (let i = Math.min(routeIndex, matchedRoutes.length - 1); i >= 0; i--) {
    const route = matchedRoutes[i];
    if (route !== undefined && isRoute(route)) return route.path;
  }
  return matchedRoutes.slice(routeIndex).find(isRoute)?.path;
}

/** `app.use` accepts all methods, and middleware takes `next`. */
function isRoute({ method, handler }: HonoRoute): boolean {
  return method !== 'ALL' || handler.length < 2;
}
