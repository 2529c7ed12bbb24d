import { expect, it } from 'vitest';
import { boundaryOf } from '../../src/upload/boundary.js';
import { UploadError } from '../../src/upload/upload-error.js';

const LONGEST = 'x'.repeat(70);

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
])('of %s the boundary is %s', (line, boundary) => {
  expect(boundaryOf([line])).toBe(boundary);
});

it.each<[readonly string[], string]>([
  [[], 'not multipart'],
  [['multipart/form-data; boundary=a', 'multipart/form-data; boundary=a'], 'not multipart'],
  [['multipart/mixed; boundary=a'], 'not multipart'],
  [['multipart/form-data2; boundary=a'], 'not multipart'],
  [['xmultipart/form-data; boundary=a'], 'not multipart'],
  [['text/plain, multipart/form-data; boundary=a'], 'not multipart'],
  [[' multipart/form-data; boundary=a'], 'not multipart'],
  [['multipart/form-data'], 'no boundary'],
  [['multipart/form-data; boundary='], 'no boundary'],
  [['multipart/form-data; boundary=""'], 'no boundary'],
  [['multipart/form-data; x="; boundary=a"'], 'no boundary'],
  [['multipart/form-data; boundary=a; boundary=b'], 'two boundaries'],
  [['multipart/form-data; boundary=a; Boundary=a'], 'two boundaries'],
  [['multipart/form-data; boundary=a b'], 'a malformed content type'],
  [['multipart/form-data; boundary=a, text/plain'], 'a malformed content type'],
  [['multipart/form-data; boundary=a; x="'], 'a malformed content type'],
  [['multipart/form-data; boundary=a; x'], 'a malformed content type'],
  [['multipart/form-data; boundary=a\n'], 'a malformed content type'],
  [[`multipart/form-data; boundary=${LONGEST}x`], 'malformed boundary'],
  [['multipart/form-data; boundary="a "'], 'malformed boundary'],
  [['multipart/form-data; boundary="@a"'], 'malformed boundary'],
  [['multipart/form-data; boundary="a@"'], 'malformed boundary'],
  [['multipart/form-data; boundary="a\\"b"'], 'malformed boundary'],
  [['multipart/form-data; boundary="a\r\nb"'], 'malformed boundary'],
])('of %j there is none: %s', (lines, reason) => {
  const found = boundaryOf(lines);
  expect(found).toBeInstanceOf(UploadError);
  expect(found).toMatchObject({ problem: { code: 'upload-malformed', reason } });
});
