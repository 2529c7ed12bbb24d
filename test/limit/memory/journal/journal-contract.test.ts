import { limitStoreContract, ManualClock } from '../../../contracts/limit-store.js';
import { limitStoreHoldsContract } from '../../../contracts/limit-store-holds.js';
import { dueUntilSetBack, ReopeningStore } from './reopening-store.js';

/** A test that makes thousands of calls is not about what each of them leaves behind. */
const FIRST = 30;
const LATER_EVERY = 40;

for (const sync of ['each', 'turn'] as const) {
  const setup = () => {
    const clock = new ManualClock(0);
    const isDue = dueUntilSetBack(clock, (call) => call <= FIRST || call % LATER_EVERY === 0);
    const store = new ReopeningStore({ now: clock.now, sync, isDue });
    return { store, clock, close: () => store.remove() };
  };
  limitStoreContract(`a journal (sync: '${sync}') that is reopened between calls`, setup);
  limitStoreHoldsContract(`a journal (sync: '${sync}') that is reopened between calls`, setup);
}
