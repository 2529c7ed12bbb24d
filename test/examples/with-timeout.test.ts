import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect, it, onTestFinished } from 'vitest';
import { WorkTimeoutError, withTimeout } from '../../examples/with-timeout.js';

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

async function served(answer: (response: ServerResponse) => void): Promise<string> {
  const server = createServer((_request, response) => answer(response)).listen(0, '127.0.0.1');
  await new Promise((listening) => server.once('listening', listening));
  onTestFinished(() => {
    server.close();
    server.closeAllConnections();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const textOf = (url: string) => async (signal: AbortSignal) => (await fetch(url, { signal })).text();

it.each<[string, (response: ServerResponse) => void]>([
  ['never begins', () => {}],
  ['never ends', (response) => void response.writeHead(200).write('a')],
])('stops waiting for a response that %s, even if garbage is collected meanwhile', async (_what, answer) => {
  const url = await served(answer);
  const collector = setInterval(collectGarbage, 5);
  onTestFinished(() => clearInterval(collector));
  await expect(withTimeout(new AbortController().signal, 300, textOf(url))).rejects.toBeInstanceOf(WorkTimeoutError);
});

it('returns what the work returns, and throws what it throws', async () => {
  const { signal } = new AbortController();
  expect(await withTimeout(signal, 60_000, textOf(await served((response) => void response.end('done'))))).toBe('done');
  const broken = withTimeout(signal, 60_000, () => Promise.reject(new Error('broken')));
  await expect(broken).rejects.toThrow('broken');
});

it('stops when the caller aborts, or has already aborted', async () => {
  const controller = new AbortController();
  const url = await served(() => controller.abort(new Error('the client left')));
  await expect(withTimeout(controller.signal, 60_000, textOf(url))).rejects.toThrow('the client left');
  await expect(withTimeout(controller.signal, 60_000, textOf(url))).rejects.toThrow('the client left');
});
