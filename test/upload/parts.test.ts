import { expect, it } from 'vitest';
import { multipart, type Part } from './attacks.js';
import { FILES, filePart, JPEG, send } from './fixture.js';

const NOT_CHOSEN = filePart('', 'file', '');
const times = (count: number, part: Part): readonly Part[] => Array.from({ length: count }, () => part);
const fields = times(3, { name: 'a', body: '1' });
const withHead = (...lines: readonly string[]): Part => ({
  head: [...lines, 'Content-Disposition: form-data; name="file"; filename="a"'].join('\r\n'),
  body: JPEG,
});
const lines = (count: number) => Array.from({ length: count }, (_, i) => `X-${i}: 1`);
const malformed = (reason: string) => ({ status: 400, problem: { code: 'upload-malformed', reason } });

it.each<[string, readonly Part[], object | undefined]>([
  ['all its fields and files, and one that nobody has chosen', [...fields, NOT_CHOSEN, filePart()], undefined],
  ['a file too many', [...fields, filePart(), filePart()], malformed('too many files')],
  [
    'too many parts, though none is a file too many',
    [...times(5, NOT_CHOSEN), filePart()],
    { status: 413, problem: { part: 'parts', limit: 4 } },
  ],
  ['a part of 32 header lines', [withHead(...lines(31))], undefined],
  ['a part of 33 header lines', [withHead(...lines(32))], { status: 400 }],
  ['a part with a header of 8000 bytes', [withHead(`X: ${'x'.repeat(8000)}`)], undefined],
  ['a part with a header of 9000 bytes', [withHead(`X: ${'x'.repeat(9000)}`)], { status: 400 }],
  ['a field without a name', [{ body: '1' }, filePart()], malformed('a part without a name')],
  ['a name of 1024 characters', [filePart(JPEG, 'n'.repeat(1024))], undefined],
  ['a name of 1025 characters', [filePart(JPEG, 'n'.repeat(1025))], malformed('a name that is too long')],
])('an upload has %s', async (_what, parts, expected) => {
  const { reply } = await send({ files: FILES, fields: { maxCount: 3 } }, multipart(parts));
  if (expected === undefined) expect(reply).toBeUndefined();
  else expect(reply).toMatchObject(expected);
});

it('has as many files as it must', async () => {
  const options = { files: { ...FILES, maxCount: 3, minCount: 2 } };
  expect((await send(options, multipart([filePart()]))).reply).toMatchObject(malformed('too few files'));
  expect((await send(options, multipart([filePart(), filePart()]))).reply).toBeUndefined();
});
