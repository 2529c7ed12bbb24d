import { expect, it } from 'vitest';
import { boundaryOf } from '../../src/upload/boundary.js';
import { UploadError } from '../../src/upload/upload-error.js';

const LONGEST = 'x'.repeat(70);
const NOT_MULTIPART = 'the Content-Type is not multipart/form-data';
const MALFORMED_TYPE = 'the Content-Type is malformed';
const NO_BOUNDARY = 'the Content-Type has no multipart boundary';
const SEVERAL_BOUNDARIES = 'the Content-Type has more than one multipart boundary';
const INVALID_BOUNDARY = 'the multipart boundary is too long or contains a character that is not allowed';

it.each([
  ['multipart/form-data; boundary=a', 'a'],
  ['Multipart/Form-Data ; BOUNDARY=a', 'a'],
  ['multipart/form-data\t;\tboundary=a\t', 'a'],
  ['multipart/form-data; charset=utf-8; boundary=a', 'a'],
  ['multipart/form-data;; boundary=a;', 'a'],
  ['multipart/form-data; boundary="a b"', 'a b'],
  ['multipart/form-data; boundary=a; x="\\"; boundary=b"', 'a'],
  ['multipart/form-data; boundary=a; boundaryx=b; xboundary=c', 'a'],
  ['multipart/form-data; boundary="\'()+_,-./:=?"', "'()+_,-./:=?"],
  [`multipart/form-data; boundary=${LONGEST}`, LONGEST],
])('finds in %s the boundary %s', (line, boundary) => {
  expect(boundaryOf([line])).toBe(boundary);
});

it.each<[readonly string[], string]>([
  [[], NOT_MULTIPART],
  [['multipart/form-data; boundary=a', 'multipart/form-data; boundary=a'], MALFORMED_TYPE],
  [['multipart/form-data; boundary=a', 'text/plain'], MALFORMED_TYPE],
  [['multipart/mixed; boundary=a'], NOT_MULTIPART],
  [['multipart/form-data2; boundary=a'], NOT_MULTIPART],
  [['xmultipart/form-data; boundary=a'], NOT_MULTIPART],
  [['text/plain, multipart/form-data; boundary=a'], NOT_MULTIPART],
  [[' multipart/form-data; boundary=a'], NOT_MULTIPART],
  [['multipart/form-data'], NO_BOUNDARY],
  [['multipart/form-data; boundary='], NO_BOUNDARY],
  [['multipart/form-data; boundary=""'], NO_BOUNDARY],
  [['multipart/form-data; x="; boundary=a"'], NO_BOUNDARY],
  [['multipart/form-data; boundary=a; boundary=b'], SEVERAL_BOUNDARIES],
  [['multipart/form-data; boundary=a; Boundary=a'], SEVERAL_BOUNDARIES],
  [['multipart/form-data; boundary=a b'], MALFORMED_TYPE],
  [['multipart/form-data; boundary=a, text/plain'], MALFORMED_TYPE],
  [['multipart/form-data; boundary=a; x="'], MALFORMED_TYPE],
  [['multipart/form-data; boundary=a; x'], MALFORMED_TYPE],
  [['multipart/form-data; boundary=a\n'], MALFORMED_TYPE],
  [[`multipart/form-data; boundary=${LONGEST}x`], INVALID_BOUNDARY],
  [['multipart/form-data; boundary="a "'], INVALID_BOUNDARY],
  [['multipart/form-data; boundary="@a"'], INVALID_BOUNDARY],
  [['multipart/form-data; boundary="a@"'], INVALID_BOUNDARY],
  [['multipart/form-data; boundary="a\\"b"'], INVALID_BOUNDARY],
  [['multipart/form-data; boundary="a\r\nb"'], INVALID_BOUNDARY],
])('refuses %j: %s', (lines, reason) => {
  const found = boundaryOf(lines);
  expect(found).toBeInstanceOf(UploadError);
  expect(found).toMatchObject({ problem: { code: 'upload-malformed', reason } });
});
