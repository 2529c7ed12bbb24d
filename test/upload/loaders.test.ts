import sharp from 'sharp';
import { expect, it } from 'vitest';
import { imageInspector } from '../../src/upload/index.js';

// In a file of its own, which runs in its own process: blocked loaders are blocked for the whole process.
it('blocks the loaders of all images except those that a guard accepts', async () => {
  const plain = sharp({ create: { width: 8, height: 8, channels: 3, background: 'red' } });
  const images = new Map<string, Buffer>([
    ['svg', Buffer.from('<svg xmlns="http://www.w3.org/2000/svg" width="3" height="3"/>')],
  ]);
  for (const format of ['png', 'jpeg', 'webp', 'gif', 'tiff', 'avif'] as const) {
    images.set(format, await plain.clone().toFormat(format).toBuffer());
  }
  const readableFormats = async () => {
    const formats: string[] = [];
    for (const [format, image] of images) {
      const readable = await sharp(image)
        .stats()
        .then(
          () => true,
          () => false,
        );
      if (readable) formats.push(format);
    }
    return formats.sort();
  };
  const inspector = (type: 'image/png' | 'image/tiff' | 'image/gif', blockOtherLoaders?: boolean) =>
    imageInspector({
      types: [type],
      maxBytes: '1mb',
      decode: { sharp, ...(blockOtherLoaders === undefined ? {} : { blockOtherLoaders }) },
    });

  const unrestricted = inspector('image/png');
  expect(await readableFormats()).toEqual(['avif', 'gif', 'jpeg', 'png', 'svg', 'tiff', 'webp']);
  const png = inspector('image/png', true);
  expect(await readableFormats()).toEqual(['png']);
  const tiff = inspector('image/tiff', true);
  const gif = inspector('image/gif');
  expect(await readableFormats()).toEqual(['gif', 'png', 'tiff']);

  for (const [inspect, format] of [
    [unrestricted, 'png'],
    [png, 'png'],
    [tiff, 'tiff'],
    [gif, 'gif'],
  ] as const) {
    expect(await inspect(images.get(format) ?? '')).toMatchObject({ kind: 'accepted', type: `image/${format}` });
  }
});

it.each(['png', 'jpeg', 'webp', 'gif', 'tiff'] as const)(
  'throws a fault if the loader was blocked elsewhere: %s',
  async (format) => {
    const decode = { sharp, separateProcess: false };
    const inspect = imageInspector({ types: [`image/${format}`], maxBytes: '1mb', decode });
    const loader = `VipsForeignLoad${{ png: 'Png', jpeg: 'Jpeg', webp: 'Webp', gif: 'Nsgif', tiff: 'Tiff' }[format]}`;
    const plain = sharp({ create: { width: 8, height: 8, channels: 3, background: 'red' } });
    const image = await plain.toFormat(format).toBuffer();
    sharp.unblock({ operation: [loader] });
    expect(await inspect(image)).toMatchObject({ kind: 'accepted' });
    expect(await inspect(image.subarray(0, image.length - 20))).toMatchObject({ problem: { status: 422 } });
    sharp.block({ operation: [loader] });
    await expect(inspect(image)).rejects.toThrow(`sharp cannot read any image/${format}`);
  },
);
