import { badOption } from '../core/option.js';

/** One challenge of `WWW-Authenticate` (RFC 9110 section 11.6.1), with an error code of RFC 6750 section 3.1. */
export function challenge(scheme: string, realm: string, error?: string, scope?: string): string {
  let text = `${scheme} realm="${realm.replace(/["\\]/g, '\\$&')}"`;
  if (error !== undefined) text += `, error="${error}"`;
  if (scope !== undefined) text += `, scope="${scope}"`;
  return text;
}

/** @throws OptionError for text that cannot be a quoted string of a header */
export function checkRealm(factory: string, realm: unknown): void {
  if (typeof realm !== 'string' || !/^[\x20-\x7e]*$/.test(realm)) {
    throw badOption(factory, 'realm', 'must be printable ASCII text', realm);
  }
}
