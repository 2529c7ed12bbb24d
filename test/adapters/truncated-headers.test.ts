import { once } from 'node:events';
import { createServer } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { text } from 'node:stream/consumers';
import { describe, expect, it, onTestFinished } from 'vitest';
import { guard } from '../../src/adapters/express.js';
import { clientIp } from '../../src/index.js';

/** Serves with this limit on header lines. Returns the status and the address of the client for a number of lines. */
async function serve(maxHeadersCount: number | null | undefined) {
  const run = guard(clientIp({ trust: ['loopback'] }));
  const server = createServer((request, response) => {
    run(request, response, () =>
      response.end(String((request as { exchange?: { clientIp?: { ip?: string } } }).exchange?.clientIp?.ip)),
    );
  });
  if (maxHeadersCount !== undefined) server.maxHeadersCount = maxHeadersCount;
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return async (count: number) => {
    const socket = connect((server.address() as AddressInfo).port, '127.0.0.1');
    const lines = ['Host: gatewarden.test', 'Connection: close', ...Array.from({ length: count - 3 }, () => 'a:')];
    socket.write(['GET / HTTP/1.1', ...lines, 'X-Forwarded-For: 1.2.3.4', '', ''].join('\r\n'));
    const [head = '', body = ''] = (await text(socket)).split('\r\n\r\n');
    const status = Number(head.slice(9, 12));
    return status === 200 ? body : status;
  };
}

describe('a request with many header lines', () => {
  it.each<[number | null | undefined, passes: readonly number[], refused: readonly number[]]>([
    [undefined, [3, 998, 999], [1000, 1001, 1022, 1023, 1024, 2000, 6000]],
    [null, [999], [1000, 2000]],
    [0, [999, 1000, 1001, 3000], []],
    [-1, [1001, 3000], []],
    [10, [9], [10, 11, 30, 31, 32, 1001]],
    [31, [30], [31, 32, 62, 63]],
    [32, [31], [32, 33, 62, 63]],
    [10.7, [9], [10, 11]],
    [4000, [1001, 3999], [4000, 4001]],
  ])(
    'with maxHeadersCount %s never reaches a handler with another client than the proxy named',
    async (max, passes, refused) => {
      const send = await serve(max);
      for (const count of passes) expect([count, await send(count)]).toEqual([count, '1.2.3.4']);
      for (const count of refused) expect([count, await send(count)]).toEqual([count, 431]);
    },
  );
});
