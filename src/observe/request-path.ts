const ABSOLUTE_FORM = /^[A-Za-z][A-Za-z0-9+.-]*:\/\/[^/?#]*/;

/**
 * The path of a request target, for logs. The query is removed, and so are the scheme and authority of the absolute
 * form (RFC 9112 section 3.2.2): they may contain secrets.
 */
export function requestPath(target: string): string {
  const query = target.indexOf('?');
  const path = query === -1 ? target : target.slice(0, query);
  return path.startsWith('/') ? path : path.replace(ABSOLUTE_FORM, '');
}
