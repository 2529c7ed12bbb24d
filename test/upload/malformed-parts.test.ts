import { expect, it } from 'vitest';
import { upload } from '../../src/upload/index.js';
import { UPLOAD_REASONS } from '../../src/upload/reasons.js';
import { exchangeWith, FILES, noiseImage, filePart as partOf, split } from './fixture.js';
import { BOUNDARY, multipart, type Part } from './multipart.js';

type Reason = keyof (typeof UPLOAD_REASONS)['upload-malformed'];

/** Small, since bodies are sent byte by byte. */
const JPEG = await noiseImage(2, 2).jpeg().toBuffer();
const filePart = () => partOf(JPEG);
const FILE = 'Content-Disposition: form-data; name="file"; filename="b.jpg"';
const FIELD = 'Content-Disposition: form-data; name="a"';
const guard = upload({ files: { ...FILES, maxCount: 3 } });
const withHead = (head: string, body: string | Buffer = JPEG): Part => ({ head, body });
/** A part that ends where its content would begin. */
const cutAt = (head: string): Buffer => Buffer.from(`--${BOUNDARY}\r\n${head}\r\n`);

async function answerTo(body: Buffer, chunkBytes: number) {
  const { exchange, faults } = exchangeWith(split(body, chunkBytes));
  const reply = await guard(exchange);
  expect(faults).toEqual([]);
  exchange.end({ kind: 'completed', status: 200 });
  return { reply, upload: exchange.upload };
}

it.each<[string, string, Reason]>([
  ['a header line without a colon', `${FILE}\r\nX-Other`, 'malformedHeader'],
  ['a header line without a colon before its disposition', `X-Other\r\n${FILE}`, 'malformedHeader'],
  ['a space before the colon', FILE.replace(':', ' :'), 'malformedHeader'],
  ['a tab before the colon', FILE.replace(':', '\t:'), 'malformedHeader'],
  ['a header without a name', `: x\r\n${FILE}`, 'malformedHeader'],
  ['a space in a header name', `X Y: 1\r\n${FILE}`, 'malformedHeader'],
  ['a folded header', FILE.replace('; filename', ';\r\n filename'), 'malformedHeader'],
  ['a first line that starts with a space', ` X: 1\r\n${FILE}`, 'malformedHeader'],
  ['a NUL byte in a file name', FILE.replace('b.jpg', 'b\0.jpg'), 'malformedHeader'],
  ['a NUL byte in a header name', `X\0: 1\r\n${FILE}`, 'malformedHeader'],
  ['a DEL in a header', `X: \x7f\r\n${FILE}`, 'malformedHeader'],
  ['an LF in a file name', FILE.replace('b.jpg', 'b\n.jpg'), 'malformedHeader'],
  ['a CR in a file name', FILE.replace('b.jpg', 'b\r.jpg'), 'malformedHeader'],
  ['a CRLF in a file name', FILE.replace('b.jpg', 'b\r\n.jpg'), 'malformedHeader'],
  ['an LF between headers', `X: 1\n${FILE}`, 'malformedHeader'],
  ['33 headers', `${'X: 1\r\n'.repeat(32)}${FILE}`, 'tooManyHeaders'],
  ['200 headers', `${'X: 1\r\n'.repeat(200)}${FILE}`, 'tooManyHeaders'],
  ['200 headers after its disposition', `${FILE}${'\r\nX: 1'.repeat(200)}`, 'tooManyHeaders'],
  ['a header of 9000 bytes', `X: ${'x'.repeat(9000)}\r\n${FILE}`, 'headersTooLong'],
  ['a header of 9000 bytes after its disposition', `${FILE}\r\nX: ${'x'.repeat(9000)}`, 'headersTooLong'],
  ['a file name of 9000 bytes', FILE.replace('b.jpg', 'x'.repeat(9000)), 'nameTooLong'],
  ['no header', '', 'notFormData'],
  ['no disposition', 'Content-Type: image/jpeg', 'notFormData'],
  ['an empty disposition', 'Content-Disposition:', 'notFormData'],
  ['the disposition attachment', FILE.replace('form-data', 'attachment'), 'notFormData'],
  ['the disposition form-data2', FILE.replace('form-data', 'form-data2'), 'notFormData'],
  ['no disposition type', FILE.replace('form-data; ', ''), 'notFormData'],
  ['two dispositions', `${FILE}\r\n${FIELD}`, 'repeatedHeader'],
  ['two types', `${FILE}\r\nContent-Type: a/b\r\ncontent-type: a/b`, 'repeatedHeader'],
  ['two names', `${FILE}; name="c"`, 'malformedDisposition'],
  ['two names, one in capitals', `${FILE}; NAME="c"`, 'malformedDisposition'],
  ['two file names', `${FILE}; filename="c"`, 'malformedDisposition'],
  ['a quote that is not closed', FILE.slice(0, -1), 'malformedDisposition'],
  ['a quote too many', `${FILE}"`, 'malformedDisposition'],
  ['no semicolon between parameters', FILE.replace('; filename', ' filename'), 'malformedDisposition'],
  ['a parameter without a value', FILE.replace('="b.jpg"', ''), 'malformedDisposition'],
  ['a space in an unquoted value', FILE.replace('"b.jpg"', 'b c.jpg'), 'malformedDisposition'],
  ['a misspelt filename', FILE.replace('filename', 'filenane'), 'malformedDisposition'],
  ['a continued file name', FILE.replace('filename=', 'filename*0='), 'malformedDisposition'],
  ['an encoded file name without its charset', FILE.replace('="b.jpg"', '*=b.jpg'), 'malformedDisposition'],
  ['an encoded file name in UTF-16', FILE.replace('="b.jpg"', "*=utf-16le''b"), 'malformedDisposition'],
  ['an encoded line break in a file name', FILE.replace('="b.jpg"', "*=utf-8''b%0Ac"), 'malformedDisposition'],
  ['an encoded NUL byte in a file name', FILE.replace('="b.jpg"', "*=utf-8''b%00c"), 'malformedDisposition'],
  ['no name', FILE.replace('name="file"; ', ''), 'unnamedPart'],
  ['no name and no file name', 'Content-Disposition: form-data', 'unnamedPart'],
  ['base64 content', `${FILE}\r\nContent-Transfer-Encoding: base64`, 'transferEncoding'],
  ['quoted-printable content', `${FIELD}\r\nContent-Transfer-Encoding: Quoted-Printable`, 'transferEncoding'],
  ['an empty transfer encoding', `${FILE}\r\nContent-Transfer-Encoding:`, 'transferEncoding'],
  ['a text field in the charset base64', `${FIELD}\r\nContent-Type: text/plain; charset=base64`, 'charset'],
  ['a text field in UTF-16', `${FIELD}\r\nContent-Type: text/plain; charset="utf-16le"`, 'charset'],
  ['a text field in UTF-7', `${FIELD}\r\nContent-Type: text/plain; charset=utf-7`, 'charset'],
  ['a text field in two charsets', `${FIELD}\r\nContent-Type: a/b; charset=utf-8; charset=base64`, 'charset'],
  ['parts of its own', `${FIELD}\r\nContent-Type: multipart/mixed; boundary=x`, 'nestedMultipart'],
])('refuses a part with %s, beside good files', async (_what, head, reason) => {
  const problem = { code: 'upload-malformed', reason: UPLOAD_REASONS['upload-malformed'][reason] };
  for (const bad of [withHead(head), withHead(head, 'text')]) {
    for (const parts of [
      [bad, filePart()],
      [filePart(), bad],
      [filePart(), bad, filePart()],
    ]) {
      const body = multipart(parts);
      for (const chunkBytes of [body.length, 1, 61]) {
        const { reply, upload } = await answerTo(body, chunkBytes);
        expect([reply, upload]).toMatchObject([{ status: 400, problem }, undefined]);
      }
    }
  }
});

const good = multipart([filePart()], '');
const DELIMITER = `--${BOUNDARY}`;
const text = (latin1: string) => Buffer.from(latin1, 'latin1');
const LATER = `${DELIMITER}\r\n${FILE.replace('"b.jpg"', '"late.jpg"')}\r\n\r\nlate\r\n`;
/** A good file whose content holds `line`. */
const holding = (line: string) => multipart([partOf(Buffer.concat([JPEG, text(line)]))]);

it.each<[string, Buffer, Reason]>([
  ['headers that end at a delimiter', Buffer.concat([good, cutAt(FILE), multipart([filePart()])]), 'headersIncomplete'],
  [
    'headers that end at the empty line, which a delimiter follows',
    Buffer.concat([good, cutAt(`${FILE}\r\n`), multipart([filePart()])]),
    'headersIncomplete',
  ],
  ['headers that end at the closing delimiter', Buffer.concat([good, cutAt(FILE), multipart([])]), 'headersIncomplete'],
  [
    'a delimiter after a delimiter',
    Buffer.concat([good, text(`${DELIMITER}\r\n`), good, multipart([])]),
    'headersIncomplete',
  ],
  ['headers that end at the end', Buffer.concat([good, text(`${DELIMITER}\r\n${FILE}\r\n`)]), 'incomplete'],
  ['a delimiter without a line end', Buffer.concat([good, text(DELIMITER)]), 'incomplete'],
  ['half a closing delimiter', Buffer.concat([good, text(`${DELIMITER}-`)]), 'incomplete'],
  ['no closing delimiter', Buffer.concat([good, good]), 'incomplete'],
  ['a line that starts with the boundary', holding(`\r\n${DELIMITER}QQQ`), 'notDelimiter'],
  [
    'a line that starts with the boundary, with a line after it',
    holding(`\r\n${DELIMITER}QQQ\r\nmore`),
    'notDelimiter',
  ],
  ['a line that starts with the boundary and a dash', holding(`\r\n${DELIMITER}-QQQ\r\n`), 'notDelimiter'],
  ['a line that starts with the closing delimiter', holding(`\r\n${DELIMITER}--QQQ\r\n`), 'notDelimiter'],
  ['a delimiter with a header in its line', holding(`\r\n${DELIMITER}X: 1\r\n${FILE}\r\n\r\nx`), 'notDelimiter'],
  ['a delimiter with text after its padding', holding(`\r\n${DELIMITER}  X\r\n`), 'notDelimiter'],
  ['a delimiter that ends in CR', holding(`\r\n${DELIMITER}\rX`), 'notDelimiter'],
  ['a delimiter with endless padding', holding(`\r\n${DELIMITER}${' '.repeat(300)}\r\n`), 'notDelimiter'],
  ['a boundary after LF with endless padding', holding(`\n${DELIMITER}${' '.repeat(65)}\r\n${FILE}`), 'notDelimiter'],
  ['1,001 lines that start with the boundary after LF', holding(`\n${DELIMITER}Q`.repeat(1001)), 'notDelimiter'],
  [
    '1,001 lines that start with the boundary, after the closing delimiter',
    Buffer.concat([multipart([filePart()]), text(`\r\n${DELIMITER}Q`.repeat(1001))]),
    'notDelimiter',
  ],
  ['a first line that starts with the boundary', text(`${DELIMITER}QQQ\r\n${multipart([filePart()])}`), 'notDelimiter'],
  ['a delimiter that ends in LF', holding(`\r\n${DELIMITER}\n${FILE}\n\nx`), 'delimiterLineBreak'],
  ['a delimiter after LF', holding(`\n${DELIMITER}\r\n${FILE}\r\n\r\nx`), 'delimiterLineBreak'],
  ['a delimiter between LF', holding(`\n${DELIMITER}\n${FILE}\n\nx`), 'delimiterLineBreak'],
  ['a closing delimiter between LF', holding(`\n${DELIMITER}--\n`), 'delimiterLineBreak'],
  [
    'LF for every line break',
    text(multipart([filePart()]).toString('latin1').replaceAll('\r\n', '\n')),
    'delimiterLineBreak',
  ],
  [
    'a first delimiter that has lost a byte',
    Buffer.concat([good.subarray(1), multipart([filePart()])]),
    'partBeforeDelimiter',
  ],
  [
    'a part before its first delimiter, after a bare CR',
    Buffer.concat([text(`\n${DELIMITER} \r${FILE}\r\n\r\nx\r\n`), multipart([filePart()])]),
    'partBeforeDelimiter',
  ],
  ['a part after the closing delimiter', Buffer.concat([multipart([filePart()]), text(LATER)]), 'partAfterEnd'],
  [
    'a part after the closing delimiter, and another closing delimiter',
    Buffer.concat([multipart([filePart()]), text(LATER), multipart([])]),
    'partAfterEnd',
  ],
  [
    'a part after the closing delimiter, whose delimiter has endless padding',
    Buffer.concat([multipart([filePart()]), text(LATER.replace('\r\n', `${' '.repeat(65)}\r\n`))]),
    'partAfterEnd',
  ],
])('refuses %s', async (_what, body, reason) => {
  const problem = { code: 'upload-malformed', reason: UPLOAD_REASONS['upload-malformed'][reason] };
  for (const chunkBytes of [body.length, 1, 2, 61]) {
    const { reply, upload } = await answerTo(body, chunkBytes);
    expect([reply, upload]).toMatchObject([{ status: 400, problem }, undefined]);
  }
});

it.each<[string, string]>([
  ['the boundary in the middle of a line', `x${DELIMITER}\r\n${FILE}\r\n\r\nx`],
  ['the boundary after CR', `\r${DELIMITER}\r\n`],
  ['the boundary after LF, with text after it', `\n${DELIMITER}QQQ\r\n`],
  ['the boundary after LF, with padding and text after it', `\n${DELIMITER}  \tQQQ\n`],
  ['all but one byte of a delimiter', `\r\n${DELIMITER.slice(0, -1)}\r\n`],
  ['all but one byte of a delimiter, twice', `\r\n${DELIMITER.slice(0, -1)}\r\n${DELIMITER.slice(0, -1)}`],
  ['the boundary without its dashes', `\r\n${BOUNDARY}\r\n`],
  ['headers', `\r\n${FILE}\r\n\r\n`],
  ['a line break at its end', '\r\n'],
])('accepts a whole file with %s', async (_what, line) => {
  const content = Buffer.concat([JPEG, text(line)]);
  const body = multipart([partOf(content), { name: 'a', body: '1' }]);
  for (const chunkBytes of [body.length, 1, 2, 61]) {
    const { exchange } = exchangeWith(split(body, chunkBytes));
    expect(await guard(exchange)).toBeUndefined();
    expect(await exchange.upload?.files[0]?.buffer()).toEqual(content);
    expect(exchange.upload?.fields.get('a')).toEqual(['1']);
  }
});

it.each<[string, string, object]>([
  ['names without quotes', 'Content-Disposition: form-data; name=file; filename=b.jpg', { filename: 'b.jpg' }],
  ['no space after the colon', FILE.replace(': ', ':'), { filename: 'b.jpg' }],
  ['tabs and capitals', `CONTENT-DISPOSITION:\tForm-Data;\tName="file";\tFileName="b.jpg"`, { filename: 'b.jpg' }],
  ['a file name as .NET sends it', `${FILE}; filename*=utf-8''b.jpg`, { filename: 'b.jpg' }],
  ['a name and its encoding in UTF-8', FILE.replace('="b.jpg"', "*=UTF-8''%e2%82%ac.jpg"), { filename: '€.jpg' }],
  ['a file name as React Native sends it', `${FILE}; filename*=utf-8''it's(1)!.jpg`, { filename: 'b.jpg' }],
  ['an escaped quote in a file name', FILE.replace('b.jpg', 'a\\"b.jpg'), { filename: 'a"b.jpg' }],
  ['an encoded quote in a file name', FILE.replace('b.jpg', 'a%22b.jpg'), { filename: 'a%22b.jpg' }],
  ['a semicolon in a file name', FILE.replace('b.jpg', 'a;b.jpg'), { filename: 'a;b.jpg' }],
  ['UTF-8 in a file name', FILE.replace('b.jpg', Buffer.from('à€.jpg').toString('latin1')), { filename: 'à€.jpg' }],
  ['a semicolon at the end', `${FILE};`, { filename: 'b.jpg' }],
  ['a size', FILE.replace('; filename', '; size=12; filename'), { filename: 'b.jpg' }],
  ['a date', `${FILE}; modification-date="Wed, 12 Feb 1997 16:29:51 -0500"`, { filename: 'b.jpg' }],
  [
    'headers of its own',
    `Content-Length: 12\r\n${FILE}\r\nContent-ID: <a@b>\r\nX-A: 1\r\nX-A: 2`,
    { filename: 'b.jpg' },
  ],
  ['an empty header', `X:\r\n${FILE}`, { filename: 'b.jpg' }],
  ['a binary encoding', `${FILE}\r\nContent-Transfer-Encoding: BINARY`, { filename: 'b.jpg' }],
  ['a type with any charset', `${FILE}\r\nContent-Type: text/plain; charset=utf-16le`, { filename: 'b.jpg' }],
  ['a malformed type', `${FILE}\r\nContent-Type: ;;a b`, { filename: 'b.jpg' }],
])('accepts a file with %s', async (_what, head, expected) => {
  const body = multipart([withHead(head)]);
  for (const chunkBytes of [body.length, 1]) {
    const { reply, upload } = await answerTo(body, chunkBytes);
    expect([reply, upload?.files]).toMatchObject([undefined, [{ field: 'file', ...expected }]]);
  }
});

it('decodes a text field in the charsets that it accepts', async () => {
  const field = (charset: string, body: string): Part => ({
    head: `${FIELD}\r\nContent-Type: text/plain; charset=${charset}`,
    body,
  });
  const utf8 = Buffer.from('é€').toString('latin1');
  const body = multipart([field('UTF-8', utf8), field('"iso-8859-1"', 'é'), field('us-ascii', 'e'), filePart()]);
  const { upload } = await answerTo(body, 7);
  expect(upload?.fields.get('a')).toEqual(['é€', 'é', 'e']);
});

const MENTION = 'Parts have a content-disposition, and X-Content-Disposition or CONTENT-DISPOSITION: is not one.';

it.each([
  ['padding after its delimiters', (body: string) => body.replaceAll(`${DELIMITER}\r\n`, `${DELIMITER} \t \r\n`)],
  ['padding after its closing delimiter', (body: string) => `${body.trimEnd()} \t\r\n`],
  ['no line break after its closing delimiter', (body: string) => body.trimEnd()],
  ['a line break before its first delimiter', (body: string) => `\r\n${body}`],
  ['a preamble', (body: string) => `This is a multi-part message in MIME format.\r\n\r\n${body}`],
  ['the name of a header within a line of its preamble', (body: string) => `${MENTION}\r\n${MENTION}\r\n${body}`],
  ['a boundary in most lines of its preamble', (body: string) => `${`\n${DELIMITER}Q`.repeat(1000)}\r\n${body}`],
  ['an epilogue', (body: string) => `${body}Goodbye.\r\n\r\n--\r\nme`],
])('accepts a body with %s', async (_what, change) => {
  const body = text(
    change(multipart([{ name: 'a', body: '1' }, filePart(), { name: 'a', body: '' }]).toString('latin1')),
  );
  for (const chunkBytes of [body.length, 1, 2, 3, 61]) {
    const { exchange } = exchangeWith(split(body, chunkBytes));
    expect(await guard(exchange)).toBeUndefined();
    expect(exchange.upload?.fields.get('a')).toEqual(['1', '']);
    expect(await exchange.upload?.files[0]?.buffer()).toEqual(JPEG);
  }
});
