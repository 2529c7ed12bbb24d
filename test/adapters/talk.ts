import { setImmediate as nextTurn } from 'node:timers/promises';
import { onTestFinished } from 'vitest';
import { Client } from '../raw-client.js';

/** Lets the event loop turn, so that written bytes arrive. */
export async function turns(count = 8): Promise<void> {
  for (let i = 0; i < count; i++) await nextTurn();
}

/** A connection that is closed when the test has finished. */
export async function connectTo(port: number): Promise<Client> {
  const client = await Client.connect(port);
  client.socket.setNoDelay();
  onTestFinished(() => void client.socket.destroy());
  return client;
}

/**
 * Writes pieces one after the other, each in its own packet, and reads until the server ends the connection. Returns
 * everything except the `Date` lines, which differ each time.
 */
export async function talk(port: number, pieces: readonly (string | Buffer)[]): Promise<string> {
  const client = await connectTo(port);
  for (const piece of pieces) {
    client.socket.write(piece);
    await turns(2);
  }
  return (await client.rest()).replace(/^Date: .*\r\n/gim, '');
}
