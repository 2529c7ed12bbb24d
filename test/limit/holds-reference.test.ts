import { ManualClock } from '../contracts/limit-store.js';
import { limitStoreHoldsContract } from '../contracts/limit-store-holds.js';
import { ReferenceStore } from './holds-reference.js';

limitStoreHoldsContract('the reference', () => {
  const clock = new ManualClock(0);
  return { store: new ReferenceStore(clock.now), clock };
});
