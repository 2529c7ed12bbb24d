import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import sharp from 'sharp';
import { beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import type { Exchange } from '../../src/core/exchange.js';
import type { DecodeJob } from '../../src/upload/decode-image.js';
import { decodeInProcess } from '../../src/upload/decoder-process.js';
import { IMAGE_FORMATS } from '../../src/upload/image-header.js';
import { imageInspector, type SharpFunction } from '../../src/upload/index.js';
import { CAN_OBSERVE, childProcesses, memoryOf } from './decoder-processes.js';
import { noiseImage } from './fixture.js';
import { jpegOfScans, tiffOf } from './hostile-images.js';

const png = await noiseImage(200, 150).png().toBuffer();
/** The decoder of JPEGs reads all scans in one call. */
const slow = await jpegOfScans(6300, 90);
const types = ['image/png', 'image/jpeg'] as const;
const sharpPath = createRequire(import.meta.url).resolve('sharp');
const { name: format, loader, sample } = IMAGE_FORMATS['image/jpeg'];
const limits = { maxPixels: 40_000_000, animated: false, reencode: false, timeoutSeconds: 60, maxBytes: 2 ** 30 };
const slowJob: DecodeJob = { input: slow, format, loader, sample, ...limits };
const inspectorWith = (timeout: '300ms' | '1m') =>
  imageInspector({ types, maxBytes: '1mb', decode: { sharp, timeout, concurrency: 1 } });
const patient = inspectorWith('1m');
const isRunning = (pid: number) => {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
};

describe.runIf(CAN_OBSERVE)('a decoder process', () => {
  let pid: number;
  beforeEach(async () => {
    for (const child of childProcesses()) process.kill(child, 'SIGKILL');
    await expect.poll(childProcesses).toEqual([]);
    expect((await patient(png)).kind).toBe('accepted');
    pid = childProcesses().at(-1) ?? 0;
  });

  it('is used again, and does not hold the service', async () => {
    for (let i = 0; i < 3; i++) expect((await patient(png)).kind).toBe('accepted');
    expect(childProcesses()).toEqual([pid]);
  });

  it('is ended when its time is over, in the middle of a call, and the next image has its turn', async () => {
    const inspect = inspectorWith('300ms');
    const start = performance.now();
    const both = await Promise.all([inspect(slow), inspect(png)]);
    expect(both).toMatchObject([
      { kind: 'refused', problem: { status: 422, reason: 'decoding took too long' } },
      { kind: 'accepted', type: 'image/png' },
    ]);
    expect(performance.now() - start).toBeLessThan(300 + 1000);
    await expect.poll(() => isRunning(pid)).toBe(false);
  });

  it('is ended when the client leaves, in the middle of a call, and the next image has its turn', async () => {
    const client = new AbortController();
    const left = decodeInProcess(sharpPath, slowJob, 60_000, client.signal);
    await expect.poll(() => memoryOf(pid), { timeout: 5000 }).toBeGreaterThan(120_000_000);
    client.abort();
    expect(await left).toBe('aborted');
    await expect.poll(() => isRunning(pid)).toBe(false);
    expect((await patient(png)).kind).toBe('accepted');
    expect(await decodeInProcess(sharpPath, slowJob, 60_000, client.signal)).toBe('aborted');
  });

  it('frees its turn when the client leaves', async () => {
    const request = { fieldLines: () => [], remoteAddress: '192.0.2.1' };
    const client = new AbortController();
    const exchange = {
      signal: client.signal,
      request,
      principal: undefined,
      clientIp: undefined,
    } as unknown as Exchange;
    const left = patient(slow, exchange);
    const next = patient(png);
    await expect.poll(() => memoryOf(pid), { timeout: 5000 }).toBeGreaterThan(120_000_000);
    client.abort();
    await expect(left).rejects.toMatchObject({ code: 'GATEWARDEN_UPLOAD_ABORTED' });
    expect((await next).kind).toBe('accepted');
    await expect.poll(() => isRunning(pid)).toBe(false);
  });

  it('is ended when it uses more memory than it may', async () => {
    expect(await decodeInProcess(sharpPath, { ...slowJob, maxBytes: 50_000_000 }, 60_000)).toBe('memory');
    await expect.poll(() => isRunning(pid)).toBe(false);
  });

  it('is replaced if it ended while it was idle', async () => {
    for (const signal of ['SIGKILL', 'SIGSEGV'] as const) {
      process.kill(childProcesses().at(-1) ?? 0, signal);
      expect((await patient(png)).kind).toBe('accepted');
    }
  });

  it('that crashes twice refuses the image', async () => {
    const inspecting = patient(slow);
    const crashed = new Set<number>();
    for (let i = 0; i < 2; i++) {
      const decoding = () => childProcesses().find((child) => !crashed.has(child) && memoryOf(child) > 120_000_000);
      await expect.poll(decoding, { timeout: 5000 }).toBeDefined();
      const child = decoding() ?? 0;
      crashed.add(child);
      process.kill(child, 'SIGSEGV');
    }
    expect(await inspecting).toMatchObject({ problem: { status: 422, reason: 'the image made the decoder crash' } });
  });

  it('goes on when the whole group is told to end, since the service may still answer', async () => {
    const inspecting = patient(slow);
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.kill(pid, signal);
    expect(await inspecting).toMatchObject({ problem: { reason: 'the image data is corrupt or incomplete' } });
    expect((await patient(png)).kind).toBe('accepted');
  });

  it('gets none of the secrets of the service', async () => {
    process.env.GATEWARDEN_TEST_SECRET = 'a-secret';
    onTestFinished(() => {
      delete process.env.GATEWARDEN_TEST_SECRET;
    });
    process.kill(pid, 'SIGKILL');
    expect((await patient(png)).kind).toBe('accepted');
    const environment = readFileSync(`/proc/${childProcesses().at(-1)}/environ`, 'latin1');
    expect(environment).toContain('PATH=');
    expect(environment).not.toContain('GATEWARDEN_TEST_SECRET');
  });

  it('ends with the service, even in the middle of an image', async () => {
    const script = `
      import sharp from 'sharp';
      import { imageInspector } from './src/upload/index.ts';
      import { childProcesses } from './test/upload/decoder-processes.ts';
      import { jpegOfScans } from './test/upload/hostile-images.ts';
      const inspect = imageInspector({ types: ['image/png', 'image/jpeg'], maxBytes: '1mb', decode: { sharp } });
      const png = Buffer.from(${JSON.stringify(png.toString('base64'))}, 'base64');
      const { kind } = await inspect(png);
      const slow = await jpegOfScans(6300, 90);
      inspect(slow);
      setTimeout(() => console.log(kind, childProcesses().at(-1)), 100);`;
    const service = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', script], {
      cwd: fileURLToPath(new URL('../..', import.meta.url)),
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    onTestFinished(() => void service.kill('SIGKILL'));
    const [kind, decoder] = await new Promise<string[]>((resolve) => {
      service.stdout.once('data', (line: Buffer) => resolve(line.toString().trim().split(' ')));
    });
    expect(kind).toBe('accepted');
    expect(isRunning(Number(decoder))).toBe(true);
    service.kill('SIGKILL');
    await expect.poll(() => isRunning(Number(decoder)), { timeout: 3000 }).toBe(false);
  });
});

it('throws a fault that says what to do if no process can be started', async () => {
  await expect(decodeInProcess('/nowhere/sharp.js', slowJob, 1000)).rejects.toThrow(
    'gatewarden: the process that decodes images did not start; check that sharp works and that processes can be started',
  );
});

describe('separateProcess', () => {
  const wrapped: SharpFunction = (input, options) => sharp(input, options);

  it('needs sharp itself, not a function around it', () => {
    const make = () => imageInspector({ types, maxBytes: '1mb', decode: { sharp: wrapped, separateProcess: true } });
    expect(make).toThrow('gatewarden: upload "decode.sharp" must be loaded by Node.js from a module of its own');
  });

  it.runIf(CAN_OBSERVE)('is not used for such a function by default, or if it is switched off', async () => {
    for (const child of childProcesses()) process.kill(child, 'SIGKILL');
    await expect.poll(childProcesses).toEqual([]);
    for (const decode of [{ sharp: wrapped }, { sharp, separateProcess: false }]) {
      expect((await imageInspector({ types, maxBytes: '1mb', decode })(png)).kind).toBe('accepted');
      expect(childProcesses()).toEqual([]);
    }
  });
});

describe('reencode', () => {
  it.each([true, false])(
    'names the reason if only the writing fails (in a process of its own: %s)',
    async (separateProcess) => {
      const image = tiffOf({ width: 1, height: 65_537, photometric: 2, pieceBytes: 3 * 65_537, pieces: 1 });
      const inspector = (reencode: boolean) =>
        imageInspector({ types: ['image/tiff'], maxBytes: '1mb', decode: { sharp, reencode, separateProcess } });
      expect(await inspector(false)(image)).toMatchObject({ kind: 'accepted', width: 1, height: 65_537 });
      expect(await inspector(true)(image)).toMatchObject({
        problem: { status: 422, reason: 'the image cannot be written again in its format' },
      });
      expect(await inspector(true)(image.subarray(0, 8))).toMatchObject({ problem: { status: 422 } });
    },
  );
});
