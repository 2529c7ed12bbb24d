import { expect, it } from 'vitest';
import { UPLOAD_REASONS } from '../../src/upload/reasons.js';

const REASONS = Object.values(UPLOAD_REASONS).flatMap((reasons) => Object.values(reasons));

it.each(REASONS)('states in one clause: %s', (reason) => {
  expect(reason).toMatch(/^(the|a|decoding) [A-Za-z0-9,/ -]+[a-z0-9]$/);
  expect(reason.length).toBeLessThanOrEqual(80);
});

it('gives each violation a reason of its own', () => {
  expect(new Set(REASONS).size).toBe(REASONS.length);
});
