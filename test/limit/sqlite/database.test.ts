import { describe, expect, it } from 'vitest';
import { isBusy, isDamaged, isSqliteError, storeErrorOf } from '../../../src/limit/sqlite/database.js';

const failing = (members: object) => Object.assign(new Error('database trouble'), members);

describe('an error of a database that was passed in', () => {
  it.each([
    ['node:sqlite, of a lock', { code: 'ERR_SQLITE_ERROR', errcode: 5 }, 'busy'],
    ['node:sqlite, of an old snapshot', { code: 'ERR_SQLITE_ERROR', errcode: 517 }, 'busy'],
    ['node:sqlite, of a damaged page', { code: 'ERR_SQLITE_ERROR', errcode: 267 }, 'damaged'],
    ['node:sqlite, of a closed database', { code: 'ERR_INVALID_STATE' }, 'unusable'],
    ['another package, of a lock', { code: 'SQLITE_BUSY' }, 'busy'],
    ['another package, of an old snapshot', { code: 'SQLITE_BUSY_SNAPSHOT' }, 'busy'],
    ['another package, of a damaged page', { code: 'SQLITE_CORRUPT_VTAB' }, 'damaged'],
    ['another package, of another file', { code: 'SQLITE_NOTADB' }, 'damaged'],
    ['another package, of a full disk', { code: 'SQLITE_FULL' }, 'unusable'],
    ['the store itself', { code: 'GATEWARDEN_STORE_DATA' }, 'its own'],
    ['no database', {}, 'its own'],
  ] as const)('made by %s', (_, members, what) => {
    const error = failing(members);
    expect(isBusy(error)).toBe(what === 'busy');
    expect(isDamaged(error)).toBe(what === 'damaged');
    expect(isSqliteError(error)).toBe(what !== 'its own');
    const failure = storeErrorOf(error, 'x.db');
    if (what === 'its own') expect(failure).toBe(error);
    else {
      const code = what === 'damaged' ? 'GATEWARDEN_STORE_DATA' : 'GATEWARDEN_STORE_UNAVAILABLE';
      expect(failure).toMatchObject({ code, cause: error });
    }
  });
});
