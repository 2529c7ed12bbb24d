import { image2model } from './image2model.js';
await image2model(async (list) => {
  for (const [name, step] of list) {
    try { await step(); console.log('ok:', name); } catch (e) { console.error('FAILED', name, e); }
  }
});
process.exit(0);
