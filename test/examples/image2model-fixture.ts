import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import { onTestFinished } from 'vitest';
import { createGateway } from '../../examples/image2model/gateway.js';
import { readSettings } from '../../examples/image2model/settings.js';
import { textLogger } from '../../examples/text-logger.js';
import { createImage2ModelStandIn } from '../../examples/workers/image2model-stand-in.js';

export const KEYS = {
  alice: 'c4n4ry-key-of-alice-0123456789',
  /** The key that replaces the first one of Alice. */
  aliceNext: 'c4n4ry-key-of-alice-9876543210',
  bob: 'c4n4ry-key-of-bob-0123456789ab',
  admin: 'c4n4ry-key-of-the-admin-012345',
  unknown: 'c4n4ry-key-of-nobody-012345678',
} as const;

/** The settings of a service in production. */
export const ENV = {
  API_KEY: `alice:${KEYS.alice}, alice:${KEYS.aliceNext}, bob:${KEYS.bob}`,
  ADMIN_API_KEY: KEYS.admin,
  ENVIRONMENT: 'production',
};

/** A bright square on black, whose colour differs by `seed`. */
export function photo(seed = 0): Promise<Buffer> {
  const [width, height] = [48, 32];
  const pixels = Buffer.alloc(width * height * 3);
  for (let y = 4; y < 24; y++) {
    for (let x = 12; x < 32; x++) pixels.set([255, (seed + 16) % 256, 255], (y * width + x) * 3);
  }
  return sharp(pixels, { raw: { width, height, channels: 3 } })
    .png()
    .toBuffer();
}

/** An image in which the stand-in finds no object. */
export function nothing(): Promise<Buffer> {
  return sharp({ create: { width: 20, height: 20, channels: 3, background: '#808080' } })
    .png()
    .toBuffer();
}

export interface StartOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly worker?: Server;
  /** Default: a temporary directory, which is removed in the end. */
  readonly directory?: string;
}

export type Started = Awaited<ReturnType<typeof startImage2Model>>;

/** Starts the gateway in front of a stand-in, both on free ports. */
export async function startImage2Model({ env = ENV, worker, directory }: StartOptions = {}) {
  const standIn = worker ?? createImage2ModelStandIn({ slots: 2, log: () => undefined });
  if (!standIn.listening) await once(standIn.listen(0, '127.0.0.1'), 'listening');
  const own = directory === undefined ? await mkdtemp(join(tmpdir(), 'image2model-test-')) : undefined;
  const folder = directory ?? own ?? '';
  let printed = '';
  const logger = textLogger((line) => {
    printed += line;
  });
  const settings = readSettings({ GPU_SLOTS: '2', TRUSTED_PROXIES: 'loopback', ...env });
  const gateway = await createGateway(settings, originOf(standIn), folder, logger);
  const server = createServer(gateway.app);
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const origin = originOf(server);

  function send(path: string, key?: string, init: RequestInit = {}): Promise<Response> {
    const headers = new Headers(init.headers);
    if (key !== undefined) headers.set('Authorization', `Bearer ${key}`);
    return fetch(path.startsWith('http') ? path : `${origin}/api/v1${path}`, { ...init, headers });
  }

  async function submit(
    key: string | undefined,
    images: readonly (readonly [name: string, content: Buffer])[],
    fields: Readonly<Record<string, string>> = {},
    headers: Readonly<Record<string, string>> = {},
  ): Promise<Response> {
    const form = new FormData();
    for (const [name, content] of images) form.append('files', new Blob([new Uint8Array(content)]), name);
    for (const [name, value] of Object.entries(fields)) form.append(name, value);
    return send('/upload', key, { method: 'POST', body: form, headers });
  }

  /** Asks for the status until the job has ended. */
  async function ended(job: string, key?: string): Promise<Record<string, unknown>> {
    for (;;) {
      const response = await send(`/status/${job}`, key);
      const status = (await response.json()) as Record<string, unknown>;
      if (response.status !== 200) throw new Error(`the status is ${response.status}: ${JSON.stringify(status)}`);
      if (status.status !== 'queued' && status.status !== 'running') return status;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  return {
    origin,
    directory: folder,
    server,
    standIn,
    printed: () => printed,
    send,
    submit,
    ended,
    /** Submits one image, and returns the job when its model is there. */
    async made(key?: string): Promise<{ readonly id: string; readonly file: string }> {
      const response = await submit(key, [['chair.png', await photo()]], { face_limit: '200' });
      const { job_id } = (await response.json()) as { job_id: string };
      if (response.status !== 202) throw new Error(`the upload is answered with ${response.status}`);
      await ended(job_id, key);
      return { id: job_id, file: 'chair.glb' };
    },
    /** Stops the gateway, and leaves its worker and its directory. */
    async stop(): Promise<void> {
      await gateway.close();
      await closed(server);
    },
    async close(): Promise<void> {
      await gateway.close();
      await closed(server);
      if (worker === undefined) await closed(standIn);
      if (own !== undefined) await rm(own, { recursive: true, force: true });
    },
  };
}

/** Starts the gateway until the test has finished. */
export async function startForTest(options?: StartOptions): Promise<Started> {
  const service = await startImage2Model(options);
  onTestFinished(() => service.close());
  return service;
}

async function closed(server: Server): Promise<void> {
  server.closeAllConnections();
  await new Promise((done) => server.close(done));
}

function originOf(server: Server): string {
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}
