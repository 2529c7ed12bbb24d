import { expect, it } from 'vitest';
import { cachedByText } from '../../src/core/text-cache.js';

const LENGTH = 80;

function counting() {
  const reads = new Map<string, number>();
  const read = cachedByText(LENGTH, (text) => {
    reads.set(text, (reads.get(text) ?? 0) + 1);
    return { text };
  });
  return { read, reads };
}

it('reads a text once, and returns the same value again', () => {
  const { read, reads } = counting();
  const first = read('192.0.2.1');
  for (let i = 0; i < 100; i++) expect(read('192.0.2.1')).toBe(first);
  expect([...reads]).toEqual([['192.0.2.1', 1]]);
});

it('never returns the value of another text', () => {
  const { read } = counting();
  for (let i = 0; i < 30_000; i++) expect(read(`10.0.${i % 7000}`).text).toBe(`10.0.${i % 7000}`);
});

it('keeps a text that is in use, however many others come', () => {
  const { read, reads } = counting();
  for (let i = 0; i < 100_000; i++) {
    read(`10.0.${i}`);
    if (i % 1000 === 0) read('192.0.2.1');
  }
  expect(reads.get('192.0.2.1')).toBe(1);
});

it('forgets the texts that are not used any more, so that its memory is bounded', () => {
  const { read, reads } = counting();
  read('192.0.2.1');
  for (let i = 0; i < 8192; i++) read(`10.0.${i}`);
  read('192.0.2.1');
  expect(reads.get('192.0.2.1')).toBe(2);
});

it('does not remember a text that is too long to be worth it', () => {
  const { read, reads } = counting();
  const long = 'x'.repeat(LENGTH + 1);
  read(long);
  read(long);
  expect(reads.get(long)).toBe(2);
});
