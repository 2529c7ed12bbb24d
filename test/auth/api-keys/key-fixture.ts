import { expect } from 'vitest';
import type { ApiKeyStore } from '../../../src/auth/api-keys/key-store.js';
import type { ApiKeyRecord } from '../../../src/auth/api-keys/record.js';
import { OptionError } from '../../../src/core/option.js';
import type { Answer, HeaderLine } from '../../exchange-fixture.js';

export const NOW = 1_760_000_000_000;

export const header = (key: string): HeaderLine => ['X-API-Key', key];
export const bearer = (key: string): HeaderLine => ['Authorization', `Bearer ${key}`];

/** A store over a list, in place of a database. It records the digests that it was asked for. */
export class RecordStore implements ApiKeyStore {
  readonly asked: string[] = [];
  records: readonly ApiKeyRecord[];

  constructor(...records: readonly ApiKeyRecord[]) {
    this.records = records;
  }

  async findByDigest(digest: string): Promise<ApiKeyRecord | undefined> {
    this.asked.push(digest);
    return this.records.find(({ digests }) => digests.some((entry) => entry.digest === digest));
  }
}

/** Everything that a client sees of an answer. */
export function wire({ status, replyHeaders, body, contentType, headers }: Answer): string {
  return JSON.stringify({ status, replyHeaders, body, contentType, set: headers.all() });
}

/** The `OptionError` that a call throws. Anything else that is thrown, or nothing, fails the test. */
export function optionError(call: () => unknown): OptionError {
  try {
    call();
  } catch (error) {
    expect(error).toBeInstanceOf(OptionError);
    if (error instanceof OptionError) return error;
  }
  throw new Error('nothing was thrown');
}

/** Expects that `text` contains no eight consecutive characters of `secret`. */
export function expectNothingOf(secret: string, text: string): void {
  const size = Math.min(8, secret.length);
  for (let i = 0; i + size <= secret.length; i++) {
    // The message of `not.toContain` would show both.
    if (text.includes(secret.slice(i, i + size))) expect.fail('a part of a secret is shown');
  }
}
