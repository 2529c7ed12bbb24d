import { expect, it } from 'vitest';
import { JobLengths } from '../../../src/limit/queue/job-lengths.js';

it('a few tiny jobs, such as refused ones, do not make an ordinary job look endless', () => {
  const lengths = new JobLengths();
  for (let i = 0; i < 3; i++) lengths.learn('alice', undefined, 3);
  lengths.learn('alice', undefined, 3000);
  const left = lengths.left('alice', undefined, 500);
  expect(left).toBeGreaterThan(0);
  expect(left).toBeLessThan(5000);
});
