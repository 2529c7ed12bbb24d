import sharp from 'sharp';
import type { UploadOptions } from '../../src/upload/index.js';
import { BOUNDARY, multipart, type Part } from './multipart.js';

/** The limits of the service under test. */
export const FILE_BYTES = 200_000;
const MAX_PIXELS = 1_000_000;
export const UPLOAD_OPTIONS = {
  files: { types: ['image/png', 'image/jpeg'], maxBytes: FILE_BYTES, fields: ['file'], maxPixels: MAX_PIXELS },
  fields: { maxCount: 3, maxBytes: 1000 },
} satisfies UploadOptions;

/** Options under which mutated bodies reach every part of the code. */
export const optionsForMutated = (directory: string) =>
  ({
    files: {
      types: ['image/png', 'image/jpeg', 'image/gif', 'image/webp'],
      maxBytes: FILE_BYTES,
      maxPixels: MAX_PIXELS,
      animated: true,
    },
    fields: { maxCount: 3, maxBytes: 1000 },
    spool: { memoryBytes: 50, directory },
  }) satisfies UploadOptions;

/** The small ones of all bodies: what is mutated is structure, not size. */
export async function bodiesToMutate(): Promise<readonly Buffer[]> {
  return (await uploadCases()).map(({ body }) => body).filter(({ length }) => length < 20_000);
}

const NO_FILE = 'the upload contains no file';
const INCOMPLETE = 'the body ended before the closing multipart boundary';
const NOT_MULTIPART = 'the Content-Type is not multipart/form-data';
const NO_BOUNDARY = 'the Content-Type has no multipart boundary';
const INVALID_BOUNDARY = 'the multipart boundary is too long or contains a character that is not allowed';
const MALFORMED_TYPE = 'the Content-Type is malformed';

/** A body, and the answer that it gets. */
export interface UploadCase {
  readonly what: string;
  readonly body: Buffer;
  /** Default: multipart, with the boundary of the body. */
  readonly contentType?: string | undefined;
  readonly status: number;
  readonly code?: string;
  /** Expected members of the problem. */
  readonly members?: object;
  /** Expected properties of the first file that the handler gets. */
  readonly file?: object;
}

const image = (width: number, height: number) =>
  sharp({ create: { width, height, channels: 3, background: { r: 1, g: 120, b: 90 } } });

let cases: Promise<readonly UploadCase[]> | undefined;

/** Accepted and refused bodies. The images in them are real. */
export function uploadCases(): Promise<readonly UploadCase[]> {
  cases ??= createCases();
  return cases;
}

/** The body of one case. */
export async function caseBody(what: string): Promise<Buffer> {
  const found = (await uploadCases()).find((candidate) => candidate.what === what);
  if (found === undefined) throw new Error(`there is no upload case ${what}`);
  return found.body;
}

async function createCases(): Promise<readonly UploadCase[]> {
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
  const filePart = (body: string | Buffer, filename = 'a.png', type = 'image/png'): Part => ({
    name: 'file',
    filename,
    type,
    body,
  });
  const accepted = (what: string, parts: readonly Part[], file: object): UploadCase => ({
    what,
    body: multipart(parts),
    status: 200,
    file,
  });
  const named = (filename: string, shown: string | undefined) =>
    accepted(`a file with the name ${JSON.stringify(filename)}`, [filePart(png, filename)], { filename: shown });
  const refused = (what: string, body: Buffer, status: number, code: string, members: object = {}): UploadCase => ({
    what,
    body,
    status,
    code,
    members,
  });
  const malformed = (what: string, body: Buffer, reason: string) =>
    refused(what, body, 400, 'upload-malformed', { reason });
  const tooLarge = (what: string, body: Buffer, part: string) => refused(what, body, 413, 'upload-too-large', { part });
  const unsupported = (what: string, body: string | Buffer, found: string) =>
    refused(what, multipart([filePart(body)]), 415, 'upload-type-unsupported', { found });
  const withContentType = (what: string, contentType: string | undefined, reason: string): UploadCase => ({
    ...malformed(what, multipart([filePart(png)]), reason),
    contentType,
  });

  return [
    accepted('a PNG', [filePart(png)], {
      field: 'file',
      filename: 'a.png',
      type: 'image/png',
      bytes: png.length,
      width: 30,
      height: 20,
      pages: 1,
    }),
    accepted('a JPEG', [filePart(jpeg, 'a.jpg', 'image/jpeg')], { type: 'image/jpeg', width: 30, height: 20 }),
    accepted('a JPEG that is declared as a PNG', [filePart(jpeg)], { type: 'image/jpeg', filename: 'a.png' }),
    accepted('a PNG that is declared as text', [filePart(png, 'a.txt', 'text/plain')], { type: 'image/png' }),
    {
      ...accepted('a boundary in quotes, after other parameters', [filePart(png)], { type: 'image/png' }),
      contentType: `Multipart/Form-Data ; charset="a\\"; boundary=x" ;; Boundary="${BOUNDARY}"`,
    },
    accepted('a PNG of the largest size', [filePart(filled(FILE_BYTES))], { bytes: FILE_BYTES }),
    accepted('a JPEG with a ZIP appended', [filePart(Buffer.concat([jpeg, Buffer.from('PK\x03\x04...')]))], {
      type: 'image/jpeg',
    }),
    accepted('a PNG beside an empty file input', [filePart('', '', 'application/octet-stream'), filePart(png)], {
      type: 'image/png',
    }),
    accepted(
      'fields before and after the file',
      [{ name: 'a', body: '1' }, filePart(png), { name: '__proto__', body: '2' }],
      {
        field: 'file',
      },
    ),
    named('../../etc/passwd', 'passwd'),
    named('..\\\\..\\\\boot.ini', 'boot.ini'),
    named('/etc/passwd', 'passwd'),
    named('..', undefined),
    named(Buffer.from('a\u0085b.png').toString('latin1'), 'ab.png'),
    named('', undefined),
    named(Buffer.from(`${'a'.repeat(254)}\u{1f600}.png`).toString('latin1'), 'a'.repeat(254)),
    named(`${'x'.repeat(300)}.png`, 'x'.repeat(255)),
    {
      ...accepted('a file name in the syntax of RFC 5987', [filePart(png)], { filename: 'passwd' }),
      body: multipart([
        { head: 'Content-Disposition: form-data; name="file"; filename*=UTF-8\'\'..%2f..%2fetc%2fpasswd', body: png },
      ]),
    },
    unsupported('HTML in a .png', '<!doctype html><script>alert(1)</script>', 'unknown'),
    unsupported('SVG', '<svg xmlns="http://www.w3.org/2000/svg"/>', 'unknown'),
    unsupported(
      'SVG with a prolog',
      '<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>',
      'application/xml',
    ),
    unsupported(
      'SVG with a document type',
      '<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "svg11.dtd"><svg xmlns="http://www.w3.org/2000/svg"/>',
      'unknown',
    ),
    unsupported('a WebP', webp, 'image/webp'),
    unsupported('a GIF', gif, 'image/gif'),
    unsupported('a PDF', '%PDF-1.7\n', 'application/pdf'),
    unsupported('one byte', 'x', 'unknown'),
    unsupported('FF D8', Buffer.from([0xff, 0xd8]), 'unknown'),
    unsupported('an animated PNG', apng, 'image/png of 3 pages'),
    refused(
      'an MP3 that contains a GIF, if GIF is not accepted',
      multipart([filePart(Buffer.from('ID3\x03\0\0\0\0\0\0GIF89a', 'latin1'))]),
      415,
      'upload-type-unsupported',
    ),
    refused('FF D8 FF alone', multipart([filePart(Buffer.from([0xff, 0xd8, 0xff]))]), 422, 'upload-undecodable'),
    refused('a PNG without its data', multipart([filePart(png.subarray(0, 33))]), 422, 'upload-undecodable'),
    tooLarge('a PNG of 50,000 x 50,000', multipart([filePart(bomb)]), 'pixels'),
    tooLarge('a file one byte too large', multipart([filePart(filled(FILE_BYTES + 1))]), 'file'),
    tooLarge('a field that is too large', multipart([{ name: 'a', body: 'x'.repeat(1001) }, filePart(png)]), 'field'),
    tooLarge(
      'one field more than accepted',
      multipart([...'abcd'].map((name): Part => ({ name, body: '1' })).concat(filePart(png))),
      'parts',
    ),
    malformed('no file', multipart([{ name: 'a', body: '1' }]), NO_FILE),
    malformed('a body without parts', multipart([]), NO_FILE),
    malformed('an empty file input', multipart([filePart('', '', 'application/octet-stream')]), NO_FILE),
    malformed('an empty file', multipart([filePart('')]), 'a file is empty'),
    malformed(
      'one file more than accepted',
      multipart([filePart(png), filePart(png)]),
      'the upload contains too many files',
    ),
    malformed(
      'a file in a field that does not accept files',
      multipart([{ name: 'other', filename: 'a.png', body: png }]),
      'a file was sent in a field that does not accept files',
    ),
    malformed(
      'a NUL byte in a file name',
      multipart([filePart(png, 'a.php\0.png')]),
      'a part has a malformed header line',
    ),
    malformed(
      'a malformed part beside a good file',
      multipart([filePart(png), { head: 'Content-Disposition : form-data; name="a"', body: '1' }]),
      'a part has a malformed header line',
    ),
    malformed(
      'a line in a file that starts with the boundary',
      multipart([filePart(Buffer.concat([png, Buffer.from(`\r\n--${BOUNDARY}QQQ\r\n`)]))]),
      'a line starts with the multipart boundary but is not a delimiter',
    ),
    malformed('a file without a name', multipart([{ filename: 'a.png', body: png }]), 'a part has no name'),
    malformed('a body without its closing boundary', multipart([filePart(png)], ''), INCOMPLETE),
    malformed('a body that ends within a file', multipart([filePart(png)]).subarray(0, 200), INCOMPLETE),
    malformed(
      'a body with another boundary',
      Buffer.from(
        multipart([filePart(png)])
          .toString('latin1')
          .replaceAll(BOUNDARY, 'other'),
        'latin1',
      ),
      INCOMPLETE,
    ),
    malformed('an empty body', Buffer.alloc(0), INCOMPLETE),
    malformed(
      'a part with a header of 100 KB',
      multipart([
        { head: `Content-Disposition: form-data; name="file"; filename="${'x'.repeat(100_000)}"`, body: png },
      ]),
      'a field name or file name is too long',
    ),
    withContentType('a JSON type', 'application/json', NOT_MULTIPART),
    withContentType('no Content-Type', undefined, NOT_MULTIPART),
    withContentType('multipart/mixed', `multipart/mixed; boundary=${BOUNDARY}`, NOT_MULTIPART),
    withContentType(
      'a type that only starts with multipart/form-data',
      `multipart/form-dataX; boundary=${BOUNDARY}`,
      NOT_MULTIPART,
    ),
    withContentType('no boundary', 'multipart/form-data', NO_BOUNDARY),
    withContentType('an empty boundary', 'multipart/form-data; boundary=', NO_BOUNDARY),
    withContentType('a boundary of 71 characters', `multipart/form-data; boundary=${'x'.repeat(71)}`, INVALID_BOUNDARY),
    withContentType(
      'a boundary within a quoted string that never ends',
      `multipart/form-data; a="\\"; boundary=${BOUNDARY}`,
      MALFORMED_TYPE,
    ),
    withContentType(
      'a boundary only within a quoted value',
      `multipart/form-data; a="; boundary=${BOUNDARY}"`,
      NO_BOUNDARY,
    ),
    withContentType(
      'two boundaries',
      `multipart/form-data; boundary=${BOUNDARY}; boundary=other`,
      'the Content-Type has more than one multipart boundary',
    ),
    withContentType('a parameter without a value', `multipart/form-data; boundary=${BOUNDARY}; a`, MALFORMED_TYPE),
    withContentType(
      'a boundary with a character that is not allowed',
      'multipart/form-data; boundary="a\u00e9b"',
      INVALID_BOUNDARY,
    ),
  ];
}
