import { Readable } from 'node:stream';
import { runInNewContext } from 'node:vm';
import fc from 'fast-check';
import sharp from 'sharp';
import { describe, expect, it } from 'vitest';
import { imageInspector } from '../../src/upload/index.js';
import { noiseImage } from './fixture.js';

const NO_IMAGE = 'the image is missing, or is neither base64 text nor binary data';
const NOT_BASE64 = 'the image is not valid base64';
const EMPTY = 'a file is empty';

const png = await noiseImage(200, 150).png().toBuffer();
const inspect = imageInspector({ types: ['image/png', 'image/jpeg'], maxBytes: '1mb', maxPixels: 100_000 });
const base64InLines = (end: string) => png.toString('base64').replace(/.{76}/g, `$&${end}`);
const problemOf = async (image: unknown, inspector = inspect) => {
  const inspected = await inspector(image);
  return inspected.kind === 'refused' ? inspected.problem : undefined;
};

describe('imageInspector', () => {
  it('detects the type from the content', async () => {
    expect(await inspect(png)).toEqual({
      kind: 'accepted',
      type: 'image/png',
      width: 200,
      height: 150,
      pages: 1,
      content: png,
    });
  });

  it.each([
    ['as base64', () => png.toString('base64')],
    ['as base64 in lines', () => base64InLines('\n')],
    ['as base64 in lines with CRLF', () => base64InLines('\r\n')],
    ['as a data URL', () => `data:image/png;base64,${png.toString('base64')}`],
    ['as a data URL that declares another type', () => `data:image/jpeg;base64,${png.toString('base64')}`],
    ['as base64 in lines with line breaks at the end', () => `${base64InLines('\n')}\r\n\n`],
    ['as part of a larger buffer', () => new Uint8Array(Buffer.concat([Buffer.alloc(7), png])).subarray(7)],
    ['as an ArrayBuffer', () => new Uint8Array(png).buffer],
    ['as a DataView', () => new DataView(new Uint8Array(png).buffer)],
    ['as bytes from another realm', () => runInNewContext('Uint8Array.from(bytes)', { bytes: [...png] })],
    ['as a File', () => new File([new Uint8Array(png)], 'a.png')],
  ])('accepts an image %s', async (_how, image) => {
    expect(await inspect(image())).toMatchObject({ kind: 'accepted', type: 'image/png', content: png });
  });

  it.each<[string, () => unknown, object]>([
    ['an empty string', () => '', { status: 400, reason: EMPTY }],
    ['no bytes', () => new Uint8Array(), { status: 400, reason: EMPTY }],
    ['undefined', () => undefined, { status: 400, reason: NO_IMAGE }],
    ['null', () => null, { status: 400, reason: NO_IMAGE }],
    ['a number', () => 5, { status: 400, reason: NO_IMAGE }],
    ['a boolean', () => true, { status: 400, reason: NO_IMAGE }],
    ['an object', () => ({ image: 'x' }), { status: 400, reason: NO_IMAGE }],
    ['an array', () => [[137, 80, 78, 71]], { status: 400, reason: NO_IMAGE }],
    ['an array of strings', () => ['abc'], { status: 400, reason: NO_IMAGE }],
    ['text that is not base64', () => 'a photograph', { status: 400, reason: NOT_BASE64 }],
    ['base64 in lines that start with a space', () => base64InLines('\n '), { status: 400, reason: NOT_BASE64 }],
    ['base64 in lines of one character', () => 'A\n'.repeat(500_000), { status: 400, reason: NOT_BASE64 }],
    ['base64 with a lone CR', () => base64InLines('\r'), { status: 400, reason: NOT_BASE64 }],
    ['too many line breaks', () => `A${'\n'.repeat(1_600_000)}`, { status: 413, part: 'file' }],
    ['truncated base64', () => png.toString('base64').slice(0, 41), { status: 400, reason: NOT_BASE64 }],
    [
      'a data URL that is not an image',
      () => `data:text/html;base64,${png.toString('base64')}`,
      { status: 400, reason: NOT_BASE64 },
    ],
    [
      'too many bytes',
      () => Buffer.concat([png, Buffer.alloc(1_048_577)]),
      { status: 413, part: 'file', limit: 1_048_576 },
    ],
    ['too much base64', () => 'A'.repeat(1_500_000), { status: 413, part: 'file' }],
    ['SVG', () => Buffer.from('<svg/>'), { status: 415, found: 'unknown' }],
    ['FF D8 FF', () => Buffer.from([0xff, 0xd8, 0xff]), { status: 422 }],
  ])('refuses %s', async (_what, image, expected) => {
    expect(await problemOf(image())).toMatchObject(expected);
  });

  it('throws if a stream yields text, since its original bytes are lost', async () => {
    await expect(inspect(Readable.from(['abc']))).rejects.toThrow('streams of bytes');
  });

  it('accepts base64 of an image of exactly maxBytes', async () => {
    const large = imageInspector({ types: ['image/png'], maxBytes: '50mb' });
    const text = Buffer.concat([png, Buffer.alloc(50 * 1024 * 1024 - png.length)]).toString('base64');
    // The image is followed by zeros, which are As in base64: most lines can be repeated instead of cut.
    const head = Math.ceil(png.length / 57) * 76;
    const zeroLines = Math.floor((text.length - head) / 76);
    const inLines = [
      text.slice(0, head).replace(/.{76}/g, '$&\r\n'),
      `${'A'.repeat(76)}\r\n`.repeat(zeroLines),
      text.slice(head + zeroLines * 76),
    ].join('');
    expect(inLines.replaceAll('\r\n', '') === text).toBe(true);
    expect(await large(text)).toMatchObject({ kind: 'accepted', width: 200 });
    expect(await large(inLines)).toMatchObject({ kind: 'accepted', width: 200 });
    expect(await problemOf(`${text.slice(0, -4)}!AAA`, large)).toMatchObject({ status: 400 });
    expect(await problemOf(`AAAA${text}`, large)).toMatchObject({ status: 413 });
  });

  it('accepts exactly the base64 that RFC 4648 and RFC 2045 allow', () =>
    fc.assert(
      fc.asyncProperty(
        fc.oneof(fc.base64String(), fc.string({ unit: fc.constantFrom('A', '/', '+', '=', '-', '\n', '\r', ' ') })),
        async (text) => {
          const problem = await problemOf(text);
          const reason = problem !== undefined && 'reason' in problem ? problem.reason : undefined;
          const isBase64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/.test(
            text.replaceAll('\r\n', '').replaceAll('\n', ''),
          );
          const breaks = text.split('\n').length - 1;
          expect(reason === NOT_BASE64).toBe(!isBase64 || breaks > text.length / 32 + 16);
        },
      ),
    ));

  it.each<[string, () => AsyncIterable<Uint8Array>]>([
    ['stream', () => Readable.from([png.subarray(0, 100), png.subarray(100)])],
    ['stream of single bytes', () => Readable.from([...png].map((byte) => Uint8Array.of(byte)))],
    ['web stream', () => new Blob([new Uint8Array(png)]).stream()],
    [
      'generator',
      async function* () {
        yield new Uint8Array(png);
      },
    ],
  ])('accepts a %s', async (_how, image) => {
    expect(await inspect(image())).toMatchObject({ kind: 'accepted', type: 'image/png', width: 200, content: png });
  });

  it('refuses a stream that exceeds maxBytes, and discards the rest', async () => {
    let produced = 0;
    const endless = new Readable({
      read() {
        produced += 65_536;
        this.push(produced > 3_000_000 ? null : Buffer.alloc(65_536));
      },
    });
    expect(await problemOf(endless)).toMatchObject({ status: 413, part: 'file', limit: 1_048_576 });
    await expect.poll(() => endless.readableEnded).toBe(true);
    let pulls = 0;
    const generator = async function* () {
      for (;;) {
        pulls++;
        yield Buffer.alloc(65_536);
      }
    };
    expect(await problemOf(generator())).toMatchObject({ status: 413 });
    expect(pulls).toBe(17);
    expect(await problemOf(Readable.from([]))).toMatchObject({ status: 400, reason: EMPTY });
  });

  it('throws the error of a stream that fails', async () => {
    const broken = new Readable({ read: () => undefined });
    const inspected = inspect(broken);
    broken.push(png.subarray(0, 50));
    broken.destroy(new Error('reset by the client'));
    await expect(inspected).rejects.toThrow('reset by the client');
  });

  it('refuses a GIF of two frames by default', async () => {
    const gif = await noiseImage(20, 10, 2).gif().toBuffer();
    const still = imageInspector({ types: ['image/gif'], maxBytes: '1mb' });
    expect(await problemOf(gif, still)).toMatchObject({ status: 415, found: 'image/gif of 2 pages' });
  });

  it('refuses more pixels than maxPixels', async () => {
    const large = await sharp({ create: { width: 400, height: 251, channels: 3, background: 'red' } })
      .png()
      .toBuffer();
    expect(await problemOf(large)).toMatchObject({ status: 413, part: 'pixels', limit: 100_000 });
  });
});
