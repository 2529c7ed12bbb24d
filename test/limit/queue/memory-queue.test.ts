import { memoryStore } from '../../../src/limit/memory/memory-store.js';
import { queueContract } from '../../contracts/queue.js';

queueContract({
  name: 'memoryStore',
  open: (settings, clock) => ({
    queue: memoryStore({ now: () => clock.now }).queue(settings),
    close: async () => undefined,
  }),
});
