import sharp from 'sharp';
import { describe, expect, it } from 'vitest';
import { encodeGlb } from '../../examples/workers/glb.js';
import { createImage2ModelStandIn } from '../../examples/workers/image2model-stand-in.js';
import { reliefOf } from '../../examples/workers/relief.js';
import { checkWorker } from '../../src/worker/index.js';
import { listening } from '../worker/scene.js';
import { readGlb } from './read-glb.js';

/** A white disc on black. */
function disc(width: number, height: number): Promise<Buffer> {
  const pixels = Buffer.alloc(width * height);
  for (let i = 0; i < pixels.length; i++) {
    const [x, y] = [(i % width) - width / 2, Math.floor(i / width) - height / 2];
    if (Math.hypot(x, y) < Math.min(width, height) / 3) pixels[i] = 255;
  }
  return sharp(pixels, { raw: { width, height, channels: 1 } })
    .png()
    .toBuffer();
}

describe('the relief of an image', () => {
  it.each([2, 3, 8, 100, 1000, 20_000, 1_000_000])('has at most %i faces', async (maxFaces) => {
    for (const [width, height] of [
      [40, 40],
      [200, 20],
      [20, 200],
    ] as const) {
      const mesh = await reliefOf(await disc(width, height), maxFaces);
      const faces = (mesh?.indices.length ?? 0) / 3;
      expect(faces).toBeGreaterThanOrEqual(2);
      expect(faces).toBeLessThanOrEqual(maxFaces);
    }
  });

  it('is high where the image is bright, keeps its colours, and fits into a box of length 1', async () => {
    const [width, height] = [64, 32];
    const pixels = Buffer.alloc(width * height * 3);
    for (let i = 0; i < width * height; i++) {
      pixels.set(i % width < width / 2 ? [0xf0, 0xe0, 0xd0] : [0x10, 0x20, 0x30], i * 3);
    }
    const image = await sharp(pixels, { raw: { width, height, channels: 3 } })
      .png()
      .toBuffer();
    const { positions, colors } = (await reliefOf(image, 1000)) ?? { positions: [], colors: [] };
    const corner = { left: positions.slice(0, 3), color: colors.slice(0, 3) };
    expect([...corner.color]).toEqual([0xf0, 0xe0, 0xd0]);
    expect(corner.left[2]).toBeCloseTo(0.25, 2);
    expect([...positions.slice(-3)][2]).toBeCloseTo(0, 2);
    for (let axis = 0; axis < 3; axis++) {
      const values = [...positions].filter((_value, i) => i % 3 === axis);
      const size = Math.max(...values) - Math.min(...values);
      expect(size).toBeCloseTo([1, 0.48, 0.25][axis] ?? 0, 1);
    }
  });

  it('is nothing for an image without an object', async () => {
    const grey = await sharp({ create: { width: 20, height: 20, channels: 3, background: '#808080' } })
      .png()
      .toBuffer();
    expect(await reliefOf(grey, 100)).toBeUndefined();
  });

  it('is read back from the GLB as it was', async () => {
    const mesh = await reliefOf(await disc(30, 20), 500);
    if (mesh === undefined) throw new Error('no mesh');
    const read = readGlb(encodeGlb(mesh));
    expect(read.positions).toEqual([...mesh.positions]);
    expect(read.indices).toEqual([...mesh.indices]);
    expect(read.colors.filter((_value, i) => i % 4 < 3)).toEqual([...mesh.colors]);
  });
});

describe('the image2model stand-in', () => {
  it('follows the worker contract', async () => {
    const url = await listening(createImage2ModelStandIn({ slots: 2, seconds: 2, log: () => undefined }));
    const image = await disc(40, 40);
    const { results } = await checkWorker({
      url,
      stopWithin: '800ms',
      path: '/image-to-model',
      body: image,
      contentType: 'image/png',
    });
    expect(results.filter(({ kind }) => kind !== 'held')).toEqual([]);
    expect(results).toHaveLength(22);
  }, 60_000);

  it('responds with a GLB of at most as many faces as the job says, and refuses what it cannot read', async () => {
    const url = await listening(createImage2ModelStandIn({ log: () => undefined }));
    const { instance } = (await (await fetch(`${url}/ready`)).json()) as { instance: string };
    let token = Date.now();
    const post = (body: Buffer, headers: Record<string, string>) =>
      fetch(`${url}/image-to-model`, {
        method: 'POST',
        body: new Uint8Array(body),
        headers: {
          'Content-Type': 'image/png',
          'X-Job-Id': 'one',
          'X-Slot': '0',
          'X-Fencing-Token': String(token++),
          'X-Worker-Instance': instance,
          'X-Deadline-Ms': '5000',
          ...headers,
        },
      });
    const image = await disc(40, 40);
    const made = await post(image, { 'X-Face-Limit': '50' });
    const { indices } = readGlb(Buffer.from(await made.arrayBuffer()));
    expect([made.status, made.headers.get('Content-Type')]).toEqual([200, 'model/gltf-binary']);
    expect(made.headers.get('X-Faces')).toBe(String(indices.length / 3));
    expect(indices.length / 3).toBe(50);
    const grey = await sharp({ create: { width: 9, height: 9, channels: 3, background: '#444' } })
      .png()
      .toBuffer();
    const answers = [
      await post(image, { 'X-Face-Limit': '1' }),
      await post(image, { 'Content-Type': 'text/plain' }),
      await post(Buffer.from('no image'), {}),
      await post(grey, {}),
    ];
    expect(await Promise.all(answers.map(async (answer) => [answer.status, await answer.json()]))).toEqual([
      [400, { error: 'X-Face-Limit must be an integer from 2 to 1000000' }],
      [400, { error: 'Content-Type must be an image type' }],
      [422, { error: 'the image cannot be read' }],
      [422, { error: 'the image shows no object' }],
    ]);
  });
});
