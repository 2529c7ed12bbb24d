import { badOption } from '../core/option.js';

/** Checks the URL of a worker, and returns it without a slash at its end. @throws OptionError */
export function baseUrl(factory: string, value: unknown): string {
  const url = typeof value === 'string' && URL.canParse(value) ? new URL(value) : undefined;
  if (url === undefined || !['http:', 'https:'].includes(url.protocol)) {
    throw badOption(factory, 'url', 'must be a URL that begins with http:// or https://', value);
  }
  // A password would appear in messages.
  if (url.username !== '' || url.password !== '') {
    throw badOption(factory, 'url', 'must not contain a user name or password', '[hidden]', 'use "headers"');
  }
  if (url.search !== '' || url.hash !== '') {
    throw badOption(factory, 'url', 'must have no query or fragment', value);
  }
  return url.href.replace(/\/+$/, '');
}

/** Checks the path of a request. @throws OptionError */
export function requestPath(factory: string, value: unknown): string {
  if (typeof value !== 'string' || !/^\/[\x21-\x7e]*$/.test(value) || value.startsWith('//') || value.includes('#')) {
    throw badOption(factory, 'path', "must be a path that begins with one '/'", value);
  }
  const [path = ''] = value.split('?');
  // They would lead out of the path of the worker's URL.
  if (path.split(/[/\\]/).some((segment) => /^(?:\.|%2e){1,2}$/i.test(segment))) {
    throw badOption(factory, 'path', "must have no segment '.' or '..'", value);
  }
  return value;
}
