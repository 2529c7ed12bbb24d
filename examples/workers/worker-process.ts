import { existsSync, realpathSync } from 'node:fs';
import type { Server } from 'node:http';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import type { WorkerOptions } from './worker-server.js';

/**
 * Starts a worker if its module is what this process was started with. It listens on `PORT`, prints its URL or sends it to
 * its parent, and exits when the parent does.
 *
 * @throws RangeError for a port or an option that is out of range.
 */
export function startIfMain(
  moduleUrl: string,
  name: string,
  defaultPort: number,
  create: (options: WorkerOptions) => Server,
): void {
  const entry = process.argv[1];
  if (entry === undefined || !existsSync(entry) || realpathSync(entry) !== fileURLToPath(moduleUrl)) return;
  const port = process.env.PORT ?? String(defaultPort);
  if (!/^\d{1,5}$/.test(port) || Number(port) > 65535) {
    throw new RangeError(`${name} "PORT" must be an integer from 0 to 65535, got ${port}`);
  }
  // A parent that exits in any way closes the channel, possibly while this module is still loading.
  if (process.connected === false) process.exit(0);
  for (const event of ['SIGTERM', 'SIGINT', 'disconnect']) process.once(event, () => process.exit(0));
  const server = create(optionsOf(process.argv.slice(2)));
  server.listen(Number(port), '127.0.0.1', () => {
    const address = server.address();
    const url = `http://127.0.0.1:${typeof address === 'object' && address !== null ? address.port : port}`;
    console.log(`${name} listening on ${url}`);
    process.send?.({ url });
  });
}

function optionsOf(args: readonly string[]): WorkerOptions {
  const { values } = parseArgs({
    args: [...args],
    options: {
      seconds: { type: 'string', default: '0' },
      slots: { type: 'string', default: '1' },
      'stop-seconds': { type: 'string', default: '0' },
      'ready-after': { type: 'string', default: '0' },
      'ignore-cancels': { type: 'boolean', default: false },
    },
  });
  return {
    seconds: Number(values.seconds),
    slots: Number(values.slots),
    stopSeconds: values['ignore-cancels'] ? Number.POSITIVE_INFINITY : Number(values['stop-seconds']),
    readyAfterMs: Number(values['ready-after']) * 1000,
  };
}
