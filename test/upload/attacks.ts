import sharp from 'sharp';
import type { UploadOptions } from '../../src/upload/index.js';

/** What the attacked service takes. */
export const FILE_BYTES = 200_000;
export const MAX_PIXELS = 1_000_000;
export const ATTACKED_UPLOAD = {
  files: { types: ['image/png', 'image/jpeg'], maxBytes: FILE_BYTES, fields: ['file'], maxPixels: MAX_PIXELS },
  fields: { maxCount: 3, maxBytes: 1000 },
} satisfies UploadOptions;
export const BOUNDARY = 'gatewarden-test-boundary';

const CRLF = '\r\n';

export interface Part {
  readonly name?: string;
  readonly filename?: string;
  readonly type?: string;
  readonly body: string | Buffer;
  /** Instead of the ordinary headers. */
  readonly head?: string;
}

export function multipart(parts: readonly Part[], end = `--${BOUNDARY}--${CRLF}`): Buffer {
  const pieces = parts.flatMap(({ name, filename, type, body, head }) => {
    const file = filename === undefined ? '' : `; filename="${filename}"`;
    const disposition = `Content-Disposition: form-data${name === undefined ? '' : `; name="${name}"`}${file}`;
    const own = head ?? [disposition, ...(type === undefined ? [] : [`Content-Type: ${type}`])].join(CRLF);
    return [`--${BOUNDARY}${CRLF}${own}${CRLF}${CRLF}`, body, CRLF];
  });
  return Buffer.concat(
    [...pieces, end].map((piece) => (typeof piece === 'string' ? Buffer.from(piece, 'latin1') : piece)),
  );
}

export interface UploadAttack {
  readonly what: string;
  readonly body: Buffer;
  /** Default multipart with the boundary. */
  readonly contentType?: string | undefined;
  readonly status: number;
  readonly code?: string;
  /** Members of the problem. */
  readonly members?: object;
  /** What the handler found of the first file. */
  readonly found?: object;
}

const image = (width: number, height: number) =>
  sharp({ create: { width, height, channels: 3, background: { r: 1, g: 120, b: 90 } } });

/** Made once; images are real. */
export async function uploadAttacks(): Promise<readonly UploadAttack[]> {
  const png = await image(30, 20).png().toBuffer();
  const jpeg = await image(30, 20).jpeg().toBuffer();
  const webp = await image(30, 20).webp().toBuffer();
  const gif = await sharp(
    Buffer.alloc(20 * 30 * 3).map((_, i) => (i * 7) % 256),
    {
      raw: { width: 20, height: 30, channels: 3, pageHeight: 10 } as never,
    },
  )
    .gif()
    .toBuffer();
  const acTL = Buffer.concat([
    Buffer.from([0, 0, 0, 8]),
    Buffer.from('acTL'),
    Buffer.from([0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0]),
  ]);
  const apng = Buffer.concat([png.subarray(0, 33), acTL, png.subarray(33)]);
  const noise = Buffer.alloc(FILE_BYTES * 2).map((_, i) => (i * i * 31) % 251);
  const filled = (bytes: number) => Buffer.concat([png, noise.subarray(0, bytes - png.length)]);
  const bomb = Buffer.from(png);
  bomb.writeUInt32BE(50_000, 16);
  bomb.writeUInt32BE(50_000, 20);
  const file = (body: string | Buffer, filename = 'a.png', type = 'image/png'): Part => ({
    name: 'file',
    filename,
    type,
    body,
  });
  const good = (what: string, parts: readonly Part[], found: object): UploadAttack => ({
    what,
    body: multipart(parts),
    status: 200,
    found,
  });
  const named = (filename: string, shown: string | undefined) =>
    good(`the name ${JSON.stringify(filename)}`, [file(png, filename)], { filename: shown });
  const bad = (what: string, body: Buffer, status: number, code: string, members: object = {}): UploadAttack => ({
    what,
    body,
    status,
    code,
    members,
  });
  const malformed = (what: string, body: Buffer, reason: string) =>
    bad(what, body, 400, 'upload-malformed', { reason });
  const large = (what: string, body: Buffer, part: string) => bad(what, body, 413, 'upload-too-large', { part });
  const type = (what: string, body: string | Buffer, found: string) =>
    bad(what, multipart([file(body)]), 415, 'upload-type-unsupported', { found });
  const typed = (what: string, contentType: string | undefined, reason: string): UploadAttack => ({
    ...malformed(what, multipart([file(png)]), reason),
    contentType,
  });

  return [
    good('a PNG', [file(png)], {
      field: 'file',
      filename: 'a.png',
      type: 'image/png',
      bytes: png.length,
      width: 30,
      height: 20,
      pages: 1,
    }),
    good('a JPEG', [file(jpeg, 'a.jpg', 'image/jpeg')], { type: 'image/jpeg', width: 30, height: 20 }),
    good('a JPEG that says it is a PNG', [file(jpeg)], { type: 'image/jpeg', filename: 'a.png' }),
    good('a PNG that says it is text', [file(png, 'a.txt', 'text/plain')], { type: 'image/png' }),
    {
      ...good('a boundary in quotes, after other parameters', [file(png)], { type: 'image/png' }),
      contentType: `Multipart/Form-Data ; charset="a\\"; boundary=x" ;; Boundary="${BOUNDARY}"`,
    },
    good('a PNG of the largest size', [file(filled(FILE_BYTES))], { bytes: FILE_BYTES }),
    good('a JPEG with a ZIP behind it', [file(Buffer.concat([jpeg, Buffer.from('PK\x03\x04...')]))], {
      type: 'image/jpeg',
    }),
    good('a PNG beside a file that was not chosen', [file('', '', 'application/octet-stream'), file(png)], {
      type: 'image/png',
    }),
    good('fields before and after the file', [{ name: 'a', body: '1' }, file(png), { name: '__proto__', body: '2' }], {
      field: 'file',
    }),
    named('../../etc/passwd', 'passwd'),
    named('..\\\\..\\\\boot.ini', 'boot.ini'),
    named('/etc/passwd', 'passwd'),
    named('..', undefined),
    named('a.php\0.png', 'a.php.png'),
    named(Buffer.from('a\u0085b.png').toString('latin1'), 'ab.png'),
    named('', undefined),
    named(Buffer.from(`${'a'.repeat(254)}\u{1f600}.png`).toString('latin1'), 'a'.repeat(254)),
    named(`${'x'.repeat(300)}.png`, 'x'.repeat(255)),
    {
      ...good('a name in the form of RFC 5987', [file(png)], { filename: 'passwd' }),
      body: multipart([
        { head: 'Content-Disposition: form-data; name="file"; filename*=UTF-8\'\'..%2f..%2fetc%2fpasswd', body: png },
      ]),
    },
    type('HTML in a .png', '<!doctype html><script>alert(1)</script>', 'unknown'),
    type('SVG', '<svg xmlns="http://www.w3.org/2000/svg"/>', 'unknown'),
    type('SVG with a prolog', '<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>', 'application/xml'),
    type(
      'SVG with a document type',
      '<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "svg11.dtd"><svg xmlns="http://www.w3.org/2000/svg"/>',
      'unknown',
    ),
    type('a WebP', webp, 'image/webp'),
    type('a GIF', gif, 'image/gif'),
    type('a PDF', '%PDF-1.7\n', 'application/pdf'),
    type('one byte', 'x', 'unknown'),
    type('FF D8', Buffer.from([0xff, 0xd8]), 'unknown'),
    type('an animated PNG', apng, 'image/png of 3 pages'),
    bad(
      'an MP3 that holds a GIF, where no GIF is taken',
      multipart([file(Buffer.from('ID3\x03\0\0\0\0\0\0GIF89a', 'latin1'))]),
      415,
      'upload-type-unsupported',
    ),
    bad('FF D8 FF alone', multipart([file(Buffer.from([0xff, 0xd8, 0xff]))]), 422, 'upload-undecodable'),
    bad('a PNG without its data', multipart([file(png.subarray(0, 33))]), 422, 'upload-undecodable'),
    large('a PNG of 50,000 x 50,000', multipart([file(bomb)]), 'pixels'),
    large('a file one byte too large', multipart([file(filled(FILE_BYTES + 1))]), 'file'),
    large('a field that is too large', multipart([{ name: 'a', body: 'x'.repeat(1001) }, file(png)]), 'field'),
    large('four fields', multipart([...'abcd'].map((name): Part => ({ name, body: '1' })).concat(file(png))), 'parts'),
    malformed('no file', multipart([{ name: 'a', body: '1' }]), 'no file'),
    malformed('nothing between the boundaries', multipart([]), 'no file'),
    malformed('a file that was not chosen', multipart([file('', '', 'application/octet-stream')]), 'no file'),
    malformed('an empty file', multipart([file('')]), 'an empty file'),
    malformed('two files', multipart([file(png), file(png)]), 'too many files'),
    malformed(
      'a file in another field',
      multipart([{ name: 'other', filename: 'a.png', body: png }]),
      'a file in a field that takes none',
    ),
    malformed('a file without a name', multipart([{ filename: 'a.png', body: png }]), 'a part without a name'),
    malformed('no final boundary', multipart([file(png)], ''), 'cut short'),
    malformed('half a file', multipart([file(png)]).subarray(0, 200), 'cut short'),
    malformed(
      'another boundary',
      Buffer.from(
        multipart([file(png)])
          .toString('latin1')
          .replaceAll(BOUNDARY, 'other'),
        'latin1',
      ),
      'cut short',
    ),
    malformed('no body', Buffer.alloc(0), 'cut short'),
    malformed(
      'a part with a header of 100 KB',
      multipart([
        { head: `Content-Disposition: form-data; name="file"; filename="${'x'.repeat(100_000)}"`, body: png },
      ]),
      'a name that is too long',
    ),
    typed('JSON', 'application/json', 'not multipart'),
    typed('no type', undefined, 'not multipart'),
    typed('another kind of multipart', `multipart/mixed; boundary=${BOUNDARY}`, 'not multipart'),
    typed('a type that begins alike', `multipart/form-dataX; boundary=${BOUNDARY}`, 'not multipart'),
    typed('no boundary', 'multipart/form-data', 'no boundary'),
    typed('an empty boundary', 'multipart/form-data; boundary=', 'no boundary'),
    typed('a boundary of 71 characters', `multipart/form-data; boundary=${'x'.repeat(71)}`, 'malformed boundary'),
    typed('a boundary within a name', `multipart/form-data; a="\\"; boundary=${BOUNDARY}`, 'a malformed content type'),
    typed('a boundary within a value', `multipart/form-data; a="; boundary=${BOUNDARY}"`, 'no boundary'),
    typed('two boundaries', `multipart/form-data; boundary=${BOUNDARY}; boundary=other`, 'two boundaries'),
    typed('a parameter without a value', `multipart/form-data; boundary=${BOUNDARY}; a`, 'a malformed content type'),
    typed('a boundary that none may be', 'multipart/form-data; boundary="a\u00e9b"', 'malformed boundary'),
  ];
}
