const ABSOLUTE_FORM = /^[A-Za-z][A-Za-z0-9+.-]*:\/\/[^/?#]*/;

/**
 * The path of a request's target, for logs: without the query, and without what stands before the path in the absolute form
 * (RFC 9112 section 3.2.2), which may hold a password.
 */
export function requestPath(target: string): string {
  const query = target.indexOf('?');
  const path = query === -1 ? target : target.slice(0, query);
  return path.startsWith('/') ? path : path.replace(ABSOLUTE_FORM, '');
}
