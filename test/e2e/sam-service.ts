import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import { check, npmRun, pythonWithRequests, run, type Step } from './harness.js';

/** Runs `npm run example:sam-service`, and calls it with the guide's Python client and an image like a photograph. */
export async function samService(steps: (list: readonly Step[]) => Promise<void>): Promise<void> {
  const python = pythonWithRequests();
  const directory = mkdtempSync(join(tmpdir(), 'sam-e2e-'));
  const image = join(directory, 'image.jpg');
  await photograph(image);
  const service = await npmRun(['run', 'example:sam-service'], {}, /^SAM service listening on (\S+)$/);
  const key = /export SAM_KEY=(\S+)/.exec(service.printed())?.[1] ?? '';
  try {
    await steps([
      [
        'SAM: the printed curl command works when pasted',
        () => {
          const lines = service
            .printed()
            .split('\n')
            .filter((line) => /^ {2}(export|curl) /.test(line));
          check(lines.length === 2, `expected two commands to paste:\n${service.printed()}`);
          const answer = run('bash', ['-euo', 'pipefail', '-c', lines.join('\n')], {}, directory);
          check(answer.includes('"num_masks":6'), `not the six drops of the image:\n${answer}`);
        },
      ],
      [
        "SAM: the guide's SecureSAMClient segments an image, and its filter changes the count",
        () => {
          const client = new URL('sam_client.py', import.meta.url).pathname;
          process.stdout.write(run(python, [client, image], { SAM_URL: service.origin, SAM_KEY: key }));
        },
      ],
    ]);
  } finally {
    await service.stop();
    rmSync(directory, { recursive: true });
  }
}

/** Drops of different brightness on an uneven, noisy, dark background, slightly blurred, as a JPEG. */
async function photograph(path: string): Promise<void> {
  const [width, height] = [800, 600];
  const drops = [
    [120, 140, 60, 235],
    [330, 220, 80, 220],
    [600, 150, 50, 245],
    [220, 430, 70, 125],
    [520, 430, 90, 120],
    [700, 480, 40, 130],
  ] as const;
  const pixels = Buffer.alloc(width * height);
  let seed = 1;
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      seed = (seed * 1_103_515_245 + 12_345) % 2 ** 31;
      let value = 20 + (x / width) * 15 + (seed % 12);
      for (const [cx, cy, radius, light] of drops) if (Math.hypot(x - cx, y - cy) < radius) value = light - (seed % 10);
      pixels[y * width + x] = value;
    }
  }
  await sharp(pixels, { raw: { width, height, channels: 1 } })
    .blur(1.5)
    .jpeg({ quality: 85 })
    .toFile(path);
}
