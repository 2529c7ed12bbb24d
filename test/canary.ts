import { ServerResponse } from 'node:http';
import { inspect } from 'node:util';
import { afterAll, expect } from 'vitest';

/**
 * What every credential in these tests shows, and nothing else may: the mark that secrets here carry, a generated API
 * key, a signed token.
 */
const CREDENTIAL = /c4n4ry|gk_(?:live|test)_[0-9A-Za-z]{20}|eyJ[\w-]{8,}\.[\w-]*\.[\w-]{10,}/;

const leaks: string[] = [];
const issued: string[] = [];

/** A credential that a service has given to whom it belongs, as it shall: where it is shown, that is no leak. */
export function wasIssued(credential: string): void {
  issued.push(credential);
}

/** Looks for credentials in what has been printed, logged, answered or thrown. */
export function expectNoCredential(where: string, what: unknown): void {
  const text = typeof what === 'string' ? what : String(what);
  if (CREDENTIAL.test(text)) leaks.push(`${where}: ${text.slice(0, 2000)}`);
}

function text(chunk: unknown): string {
  if (typeof chunk === 'string') return chunk;
  return chunk instanceof Uint8Array && chunk.length < 65_536 ? Buffer.from(chunk).toString('latin1') : '';
}

// Every response of every server in this process.
const { write, end, setHeader, writeHead } = ServerResponse.prototype;
Object.assign(ServerResponse.prototype, {
  write(this: ServerResponse, ...args: Parameters<typeof write>) {
    expectNoCredential('response body', text(args[0]));
    return Reflect.apply(write, this, args);
  },
  end(this: ServerResponse, ...args: Parameters<typeof end>) {
    expectNoCredential('response body', text(args[0]));
    return Reflect.apply(end, this, args);
  },
  setHeader(this: ServerResponse, ...args: Parameters<typeof setHeader>) {
    expectNoCredential('response header', String(args[1]));
    return Reflect.apply(setHeader, this, args);
  },
  writeHead(this: ServerResponse, ...args: Parameters<typeof writeHead>) {
    for (const arg of args) if (typeof arg === 'object') expectNoCredential('response head', JSON.stringify(arg));
    return Reflect.apply(writeHead, this, args);
  },
});

// Everything that is printed or warned of.
for (const stream of [process.stdout, process.stderr]) {
  const { write } = stream;
  stream.write = function (this: unknown, ...args: Parameters<typeof write>) {
    expectNoCredential('output', text(args[0]));
    return Reflect.apply(write, stream, args);
  } as typeof write;
}
for (const name of ['debug', 'info', 'log', 'warn', 'error'] as const) {
  const print = console[name];
  console[name] = (...args: unknown[]) => {
    expectNoCredential(`console.${name}`, inspect(args, { depth: 6 }));
    print(...args);
  };
}
const { emitWarning } = process;
process.emitWarning = ((...args: Parameters<typeof emitWarning>) => {
  expectNoCredential('warning', inspect(args));
  return Reflect.apply(emitWarning, process, args);
}) as typeof emitWarning;

afterAll(() => {
  expect(leaks.filter((leak) => !issued.some((credential) => leak.includes(credential)))).toEqual([]);
});
