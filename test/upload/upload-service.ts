import { expect, onTestFinished } from 'vitest';
import { type Exchange, type Guard, type Outcome, reportFaults } from '../../src/index.js';
import type { Serve } from '../contracts/adapter/index.js';
import { Client } from '../raw-client.js';

/** A service that accepts uploads, and what it has observed. */
export interface UploadService {
  readonly port: number;
  readonly faults: readonly unknown[];
  readonly outcomes: readonly Outcome[];
  /** The request of each exchange that has ended, such as `POST / from 127.0.0.1: completed`. */
  readonly ended: readonly string[];
  /** The latest exchange. */
  exchange(): Exchange | undefined;
}

/** Serves `POST /` behind `guard`. The handler answers 200 once `work` is done. Closed when the test finishes. */
export async function serveUploads(
  serve: Serve,
  guard: Guard,
  work: (exchange: Exchange) => Promise<unknown> = async () => undefined,
): Promise<UploadService> {
  const faults: unknown[] = [];
  const outcomes: Outcome[] = [];
  const ended: string[] = [];
  let exchange: Exchange | undefined;
  let entered: Exchange | undefined;
  const watch: Guard = (current) => {
    exchange = current;
    const { method, url, remoteAddress } = current.request;
    current.onEnd((outcome) => {
      outcomes.push(outcome);
      ended.push(`${method} ${url} from ${remoteAddress}: ${outcome.kind}`);
    });
    return undefined;
  };
  const { port, close } = await serve({
    guards: [[reportFaults((error) => faults.push(error)), watch]],
    routes: [
      {
        method: 'POST',
        path: '/',
        guards: [[guard]],
        handler: {
          does: 'answer',
          status: 200,
          body: {},
          after: async () => entered && work(entered),
        },
      },
    ],
    entered: (current) => {
      entered = current;
    },
  });
  onTestFinished(close);
  return { port, faults, outcomes, ended, exchange: () => exchange };
}

export function uploadHead(contentType: string | undefined, ...fields: readonly string[]): string {
  return [
    'POST / HTTP/1.1',
    'Host: gatewarden.test',
    ...(contentType === undefined ? [] : [`Content-Type: ${contentType}`]),
    ...fields,
    '',
    '',
  ].join('\r\n');
}

export async function connect(port: number): Promise<Client> {
  const client = await Client.connect(port);
  onTestFinished(() => void client.socket.destroy());
  return client;
}

/** Writes at the speed at which the other end reads. Stops if it closes the connection. */
export async function write(client: Client, bytes: Buffer | string): Promise<void> {
  if (client.socket.destroyed || client.socket.write(bytes)) return;
  await new Promise<void>((resolve) => {
    const proceed = () => {
      client.socket.off('drain', proceed).off('close', proceed);
      resolve();
    };
    client.socket.on('drain', proceed).on('close', proceed);
  });
}

export function chunk(bytes: Buffer): Buffer {
  return Buffer.concat([Buffer.from(`${bytes.length.toString(16)}\r\n`), bytes, Buffer.from('\r\n')]);
}

export const LAST_CHUNK = '0\r\n\r\n';

/** Every exchange ended, and no fault was reported. */
export async function expectEnded({ faults, ended }: UploadService, count: number): Promise<void> {
  // Not only their number: a failure shows which request was one too many.
  await expect.poll(() => ended).toEqual(Array.from({ length: count }, () => expect.stringMatching(/^POST \/ from /)));
  expect(faults).toEqual([]);
}
