import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { createGateway } from '../../examples/sam-service/gateway.js';
import { readSettings } from '../../examples/sam-service/settings.js';
import { textLogger } from '../../examples/text-logger.js';

const ADMIN = 'c4n4ry-key-of-the-admin';
const KEY = 'c4n4ry-key-of-client-one';
/** Nothing listens there. */
const NO_WORKER = 'http://127.0.0.1:9';

it('the SAM service knows after a restart who has used what, and its operator page shows it', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'gatewarden-sam-'));
  const start = async () => {
    const settings = readSettings({ DATA_DIRECTORY: directory, API_KEYS: `${KEY}:client1:100`, ADMIN_API_KEY: ADMIN });
    const app = await createGateway(
      settings,
      NO_WORKER,
      textLogger(() => undefined),
    );
    return { app, origin: await app.listen({ host: '127.0.0.1', port: 0 }) };
  };
  try {
    const first = await start();
    const image = new FormData();
    image.set('file', new Blob(['no image']));
    for (let i = 0; i < 2; i++) {
      await fetch(`${first.origin}/segment_file`, { method: 'POST', headers: { 'X-API-Key': KEY }, body: image });
    }
    await first.app.close();
    expect(await readdir(directory)).toContain('usage.json');

    const second = await start();
    const state = await fetch(`${second.origin}/admin/desk/state`, { headers: { Authorization: `Bearer ${ADMIN}` } });
    expect(await state.json()).toMatchObject({
      snapshot: { isSharedLedger: true, clients: [{ client: 'client1', requests: 2 }] },
    });
    await second.app.close();
  } finally {
    await rm(directory, { recursive: true });
  }
});
