import { readdirSync, readFileSync } from 'node:fs';
import sharp from 'sharp';
import { it } from 'vitest';
import { imageInspector } from '../../src/upload/index.js';
import { compressedText, gifOf, jpegOfScans, pngOf, tiffOf, webpOfFrames } from './hostile-images.js';
import { oneColorWebp } from './image-bytes.js';

const kids = () =>
  readdirSync('/proc/self/task').flatMap((t) =>
    readFileSync(`/proc/self/task/${t}/children`, 'utf8').split(' ').filter(Boolean),
  );
const rss = (pid: string) => {
  try {
    return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) / 1000;
  } catch {
    return 0;
  }
};
it('explores', async () => {
  const separateProcess = process.env.HERE !== '1';
  const inspect = imageInspector({
    types: ['image/png', 'image/jpeg', 'image/webp', 'image/gif', 'image/tiff'],
    maxBytes: '8mb',
    animated: true,
    decode: { sharp, timeout: '3s', separateProcess },
  });
  const files: [string, Buffer][] = [
    [
      'tiff 4000 samples',
      tiffOf({ width: 6300, height: 6300, samples: 4000, pieceBytes: 4000 * 6300, pieces: 6300, rowsPerStrip: 1 }),
    ],
    [
      'tiff 40MP rgb16 1 strip',
      tiffOf({ width: 5000, height: 5000, samples: 4, bits: 16, pieceBytes: 5000 * 5000 * 8, pieces: 1 }),
    ],
    [
      'tiff small, tile 16384²',
      tiffOf({ width: 10, height: 10, samples: 1, tile: [16384, 16384], pieceBytes: 16384 * 16384, pieces: 1 }),
    ],
    [
      'tiff small, tile 8192² rgb',
      tiffOf({
        width: 10,
        height: 10,
        samples: 3,
        photometric: 2,
        tile: [8192, 8192],
        pieceBytes: 8192 * 8192 * 3,
        pieces: 1,
      }),
    ],
    [
      'tiff tile 4096² rgb',
      tiffOf({
        width: 4096,
        height: 8192,
        samples: 3,
        photometric: 2,
        tile: [4096, 4096],
        pieceBytes: 4096 * 4096 * 3,
        pieces: 2,
      }),
    ],
    [
      'tiff small, rows per strip 1e9',
      tiffOf({ width: 10, height: 10, samples: 3, photometric: 2, rowsPerStrip: 1e9, pieceBytes: 300, pieces: 1 }),
    ],
    [
      'tiff bomb strip',
      tiffOf({ width: 10, height: 10, samples: 3, photometric: 2, rowsPerStrip: 1e7, pieceBytes: 300e6, pieces: 1 }),
    ],
    ['tiff planar', tiffOf({ width: 5000, height: 5000, samples: 8, bits: 8, planar: 2, pieceBytes: 25e6, pieces: 8 })],
    [
      'tiff planar 100 spp rps 100',
      tiffOf({ width: 1000, height: 1000, samples: 300, bits: 8, planar: 2, pieceBytes: 1e6, pieces: 300 }),
    ],
    [
      'tiff 64 bit',
      tiffOf({ width: 6000, height: 6000, samples: 1, bits: 64, pieceBytes: 6000 * 8, pieces: 6000, rowsPerStrip: 1 }),
    ],
    [
      'tiff 1 bit',
      tiffOf({ width: 6000, height: 6000, samples: 1, bits: 1, pieceBytes: 6000 / 8, pieces: 6000, rowsPerStrip: 1 }),
    ],
    [
      'tiff wide',
      tiffOf({ width: 100000, height: 400, samples: 1, bits: 8, pieceBytes: 100000, pieces: 400, rowsPerStrip: 1 }),
    ],
    [
      'tiff palette',
      tiffOf({
        width: 6000,
        height: 6000,
        samples: 1,
        bits: 8,
        photometric: 3,
        pieceBytes: 6000,
        pieces: 6000,
        rowsPerStrip: 1,
      }),
    ],
    ['jpeg 2600 scans', await jpegOfScans(6300, 6300, 2600)],
    ['jpeg 100 scans', await jpegOfScans(6300, 6300, 100)],
    ['jpeg cmyk 100 scans', await jpegOfScans(5000, 5000, 100, true)],
    [
      'png interlaced rgba16',
      pngOf({ width: 5700, height: 5700, depth: 16, interlaced: true, dataBytes: 5700 * 5700 * 8 + 20000 }),
    ],
    ['png interlaced rgba16 40MP', pngOf({ width: 6300, height: 6300, depth: 16, interlaced: true })],
    ['png wide', pngOf({ width: 4_000_000, height: 10, dataBytes: 160e6 + 10 })],
    ['png wide gray', pngOf({ width: 400_000, height: 100, colorType: 0, dataBytes: 40e6 + 100 })],
    ['png 1 bit gray', pngOf({ width: 6300, height: 6300, colorType: 0, depth: 1, dataBytes: 6300 * 789 })],
    ['png tall', pngOf({ width: 1, height: 40_000_000, colorType: 0, dataBytes: 80e6 })],
    [
      'png zTXt',
      pngOf({ width: 10, height: 10, dataBytes: 410, chunks: Array.from({ length: 60 }, () => compressedText(50e6)) }),
    ],
    ['png iCCP', pngOf({ width: 10, height: 10, dataBytes: 410, chunks: [compressedText(300e6, 'iCCP')] })],
    ['png idat bomb', pngOf({ width: 10, height: 10, dataBytes: 1000e6 })],
    ['webp 40MP', oneColorWebp(16383, 2441)],
    ['webp 31MP', oneColorWebp(16383, 1890)],
    ['webp 2x20MP', webpOfFrames(6300, 3170, 2)],
    ['webp 4000 x 100²', webpOfFrames(100, 100, 4000)],
    ['webp 10000 x 60²', webpOfFrames(60, 60, 9999)],
    ['gif 1x40MP', gifOf(6300, 6300, 1)],
    ['gif 2x20MP', gifOf(6300, 3170, 2)],
    ['gif 2x20MP d3', gifOf(6300, 3170, 2, 3)],
    ['gif 9999 x 60²', gifOf(60, 60, 9999, 3)],
    ['gif 65535 wide', gifOf(65535, 610, 1)],
    ['gif 20 x 65535x30', gifOf(65535, 30, 20)],
  ];
  await inspect(oneColorWebp(1, 1));
  for (const [name, file] of files) {
    if (process.env.ONLY && !name.includes(process.env.ONLY)) continue;
    const sum = () =>
      rss('self') +
      kids()
        .map(rss)
        .reduce((a, b) => a + b, 0);
    const maxKid = () => Math.max(0, ...kids().map(rss));
    const base = sum();
    let peak = 0;
    let kid = 0;
    const t = setInterval(() => {
      peak = Math.max(peak, sum());
      kid = Math.max(kid, maxKid());
    }, 5);
    const t0 = performance.now();
    const r = await inspect(file).catch((e) => ({ kind: 'error', problem: e.message + e.cause }));
    clearInterval(t);
    console.log(
      `${name.padEnd(32)} ${String(file.length).padStart(8)} ${(performance.now() - t0).toFixed(0).padStart(6)} ms +${(peak - base).toFixed(0)} MB kid ${kid.toFixed(0)} ${r.kind === 'accepted' ? `accepted ${(r as any).width}x${(r as any).height}x${(r as any).pages}` : JSON.stringify((r as any).problem.part ?? (r as any).problem.reason ?? (r as any).problem)}`,
    );
  }
}, 300_000);
