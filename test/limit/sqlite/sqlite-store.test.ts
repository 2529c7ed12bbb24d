import { afterAll, beforeAll } from 'vitest';
import { sqliteStore } from '../../../src/limit/sqlite/sqlite-store.js';
import { limitStoreContract, ManualClock } from '../../contracts/limit-store.js';
import { limitStoreHoldsContract } from '../../contracts/limit-store-holds.js';
import { describeSqlite, makeFolder, nodeSqlite } from './describe.js';

describeSqlite('a SQLite file', () => {
  let folder: ReturnType<typeof makeFolder>;
  let runs = 0;
  beforeAll(() => {
    folder = makeFolder();
  });
  afterAll(() => folder.remove());

  function setup() {
    const clock = new ManualClock(0);
    const store = sqliteStore({ path: `${folder.path}-${runs++}`, now: clock.now });
    return { store, clock, close: () => store.close() };
  }

  limitStoreContract('sqliteStore', setup);
  limitStoreHoldsContract('sqliteStore', setup);
});

describeSqlite('a database that was passed in', () => {
  function setup() {
    const clock = new ManualClock(0);
    const database = new (nodeSqlite as NonNullable<typeof nodeSqlite>).DatabaseSync(':memory:');
    const store = sqliteStore({ database, now: clock.now });
    const close = () => {
      store.close();
      database.close();
    };
    return { store, clock, close };
  }

  limitStoreContract('sqliteStore', setup);
  limitStoreHoldsContract('sqliteStore', setup);
});
