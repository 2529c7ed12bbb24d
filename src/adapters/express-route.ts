/** What Express adds to a request while it looks for the route. */
export interface ExpressRequest {
  baseUrl?: string;
  params?: unknown;
  route?: unknown;
}

/** The patterns of the routes that Express chooses for one request. */
interface RouteWatch {
  /** The pattern of each value that `baseUrl` has had. */
  readonly mounts: Map<string, string>;
  pattern: string | undefined;
}

const watches = new WeakMap<ExpressRequest, RouteWatch>();

/**
 * The pattern of the route that Express has chosen, such as `/users/:id`. Undefined before that. The first call begins to
 * watch the request: when an error handler answers, Express has already put `baseUrl` back, and it never shows the
 * patterns under which routers are mounted, only the text that they have matched. If the first call comes in a router, the
 * parameters of its mount are not known, so the mount is left out.
 */
export function expressRoute(request: ExpressRequest): string | undefined {
  let watch = watches.get(request);
  if (watch === undefined) {
    watch = begin(request);
    watches.set(request, watch);
  }
  return watch.pattern;
}

function begin(request: ExpressRequest): RouteWatch {
  let { baseUrl, route } = request;
  const mounts = new Map([['', '']]);
  const watch: RouteWatch = { mounts, pattern: undefined };
  const choose = (): void => {
    const path = pathOf(route);
    if (path !== undefined) watch.pattern = joined(mounts.get(baseUrl ?? '') ?? '', path);
  };
  choose();
  Object.defineProperty(request, 'baseUrl', {
    configurable: true,
    enumerable: true,
    get: () => baseUrl,
    set(value: string) {
      const parent = baseUrl ?? '';
      // A router that is mounted in another adds its part to the end. A shorter text is that of an outer router again.
      if (typeof value === 'string' && value.startsWith(parent) && !mounts.has(value)) {
        mounts.set(value, (mounts.get(parent) ?? '') + mountPattern(value.slice(parent.length), request.params));
      }
      baseUrl = value;
    },
  });
  Object.defineProperty(request, 'route', {
    configurable: true,
    enumerable: true,
    get: () => route,
    set(value: unknown) {
      route = value;
      choose();
    },
  });
  return watch;
}

/**
 * `/Users/42` of a router that is mounted at `/users/:id`, as `/users/:id`. Express ignores the case of a path by default, so
 * it is not kept. A segment of which a parameter is only a part is the parameter, and so is all that a wildcard has matched.
 */
function mountPattern(matched: string, params: unknown): string {
  const segments = matched.split('/');
  const texts = segments.map(decoded);
  const names: (string | undefined)[] = [];
  for (const [name, param] of Object.entries(params ?? {})) {
    for (const value of valuesOf(param)) {
      const isWhole = texts.includes(value);
      texts.forEach((text, i) => {
        if (isWhole ? text === value : text.includes(value)) names[i] = name;
      });
    }
  }
  const pattern = segments.map((segment, i) => (names[i] === undefined ? segment.toLowerCase() : `:${names[i]}`));
  return pattern.filter((_, i) => names[i] === undefined || names[i] !== names[i - 1]).join('/');
}

/** The texts of a parameter that may be segments. The wildcards of Express 4 are one text, those of Express 5 a list. */
function valuesOf(param: unknown): readonly string[] {
  const values: readonly unknown[] = Array.isArray(param) ? param : [param];
  return values.flatMap((value) => (typeof value === 'string' ? [value, ...value.split('/')] : [])).filter(Boolean);
}

function decoded(segment: string): string {
  try {
    return decodeURIComponent(segment);
  } catch {
    return segment;
  }
}

/** A route may have several paths, or a regular expression. */
function pathOf(route: unknown): string | undefined {
  if (typeof route !== 'object' || route === null || !('path' in route)) return undefined;
  return Array.isArray(route.path) ? route.path.join(', ') : String(route.path);
}

function joined(mount: string, path: string): string {
  return path === '/' && mount !== '' ? mount : mount + path;
}
