import { expect, it } from 'vitest';
import { FILES, filePart, JPEG, send } from './fixture.js';
import { multipart, type Part } from './multipart.js';

const EMPTY_INPUT = filePart('', 'file', '');
const times = (count: number, part: Part): readonly Part[] => Array.from({ length: count }, () => part);
const fields = times(3, { name: 'a', body: '1' });
const withHead = (...lines: readonly string[]): Part => ({
  head: [...lines, 'Content-Disposition: form-data; name="file"; filename="a"'].join('\r\n'),
  body: JPEG,
});
const lines = (count: number) => Array.from({ length: count }, (_, i) => `X-${i}: 1`);
const malformed = (reason: string) => ({ status: 400, problem: { code: 'upload-malformed', reason } });

it.each<[string, readonly Part[], object | undefined]>([
  [
    'accepts the largest number of fields and files, and an empty file input',
    [...fields, EMPTY_INPUT, filePart()],
    undefined,
  ],
  ['refuses one file too many', [...fields, filePart(), filePart()], malformed('the upload contains too many files')],
  [
    'refuses too many parts, although not too many files',
    [...times(5, EMPTY_INPUT), filePart()],
    { status: 413, problem: { part: 'parts', limit: 4 } },
  ],
  ['accepts a part of 32 header lines', [withHead(...lines(31))], undefined],
  ['refuses a part of 33 header lines', [withHead(...lines(32))], { status: 400 }],
  ['accepts a part with a header of 8000 bytes', [withHead(`X: ${'x'.repeat(8000)}`)], undefined],
  ['refuses a part with a header of 9000 bytes', [withHead(`X: ${'x'.repeat(9000)}`)], { status: 400 }],
  ['refuses a field without a name', [{ body: '1' }, filePart()], malformed('a part has no name')],
  ['accepts a name of 1024 characters', [filePart(JPEG, 'n'.repeat(1024))], undefined],
  [
    'refuses a name of 1025 characters',
    [filePart(JPEG, 'n'.repeat(1025))],
    malformed('a field name or file name is too long'),
  ],
])('upload %s', async (_what, parts, expected) => {
  const { reply } = await send({ files: FILES, fields: { maxCount: 3 } }, multipart(parts));
  if (expected === undefined) expect(reply).toBeUndefined();
  else expect(reply).toMatchObject(expected);
});

it('refuses fewer files than minCount', async () => {
  const options = { files: { ...FILES, maxCount: 3, minCount: 2 } };
  expect((await send(options, multipart([filePart()]))).reply).toMatchObject(
    malformed('the upload contains too few files'),
  );
  expect((await send(options, multipart([filePart(), filePart()]))).reply).toBeUndefined();
});
