import { inspect } from 'node:util';

const CREDENTIAL = /c4n4ry|gk_(?:live|test)_[0-9A-Za-z]{20}|eyJ[\w-]{8,}\.[\w-]*\.[\w-]{10,}/;
const issued: string[] = [];

/** Stands in for `test/canary.ts`, which watches the servers and streams of Node. */
export function wasIssued(credential: string): void {
  issued.push(credential);
}

/** Throws if there is a credential in what has been answered. */
export function expectNoCredential(where: string, what: unknown): void {
  const text = typeof what === 'string' ? what : inspect(what);
  if (CREDENTIAL.test(text) && !issued.some((credential) => text.includes(credential)))
    throw new Error(`${where} has a credential: ${text.slice(0, 2000)}`);
}
