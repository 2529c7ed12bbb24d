import { once } from 'node:events';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterAll, expect, it, vi } from 'vitest';
import type { SqliteStore } from '../../src/limit/sqlite/sqlite-limit-store.js';
import { describeSqlite, makeFolder } from '../limit/sqlite/describe.js';
import { FOLDER, fileOf, programNamed } from './snippets.js';

const OWN = join(FOLDER, `sqlite-${process.pid}`);

interface Program {
  readonly server: Server;
  readonly store: SqliteStore;
  shutDown(): Promise<void>;
}

describeSqlite('the program of the page on limits in SQLite', () => {
  const folder = makeFolder();
  afterAll(async () => {
    folder.remove();
    await rm(OWN, { recursive: true, force: true });
  });

  /** The program as another process would run it: with modules of its own. */
  async function start() {
    vi.resetModules();
    vi.stubEnv('PORT', '0');
    vi.stubEnv('LIMITS_FILE', folder.path);
    const snippet = programNamed('limits-in-sqlite');
    await mkdir(OWN, { recursive: true });
    const file = join(OWN, fileOf(snippet));
    await writeFile(file, snippet.code);
    const program = (await import(/* @vite-ignore */ file)) as Program;
    process.off('SIGTERM', program.shutDown);
    if (!program.server.listening) await once(program.server, 'listening');
    const { port } = program.server.address() as AddressInfo;
    return { ...program, origin: `http://127.0.0.1:${port}` };
  }

  it('refuses the sixth request, whichever process it is sent to, and also after a restart', async () => {
    const both = [await start(), await start()];
    const statusOf = async ({ origin }: { readonly origin: string }) =>
      (await fetch(`${origin}/generate`, { method: 'POST' })).status;
    const statuses: number[] = [];
    for (let i = 0; i < 6; i++) statuses.push(await statusOf(both[i % 2] as (typeof both)[0]));
    expect(statuses).toEqual([200, 200, 200, 200, 200, 429]);
    for (const { server, shutDown } of both) {
      server.closeAllConnections();
      await shutDown();
    }
    const again = await start();
    expect(await statusOf(again)).toBe(429);
    again.server.closeAllConnections();
    await again.shutDown();
  });
});
