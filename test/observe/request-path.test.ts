import { expect, it } from 'vitest';
import { requestPath } from '../../src/observe/request-path.js';

it.each([
  ['/a/b?c=d', '/a/b'],
  ['/a//b', '/a//b'],
  ['//a/b', '//a/b'],
  ['/', '/'],
  ['', ''],
  ['*', '*'],
  ['http://user:password@host/a?b', '/a'],
  ['http://user:password@host', ''],
  ['HTTPS://user:password@host/?x', '/'],
  ['/http://user/a', '/http://user/a'],
])('of the target %j is %j', (target, path) => {
  expect(requestPath(target)).toBe(path);
});
