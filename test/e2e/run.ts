/**
 * End to end: the examples as a newcomer starts them, driven by what their users have: the guides' Python functions and
 * curl lines, a real browser, nginx. Names what is missing on a machine without them.
 */
import { aiFactory } from './ai-factory.js';
import { needs, type Step } from './harness.js';
import { liveIngest } from './live-ingest.js';
import { pointE } from './point-e.js';
import { samService } from './sam-service.js';

let passed = 0;
let failed = 0;

async function tried(name: string, step: () => unknown): Promise<void> {
  try {
    await step();
    passed++;
    console.log(`ok: ${name}`);
  } catch (error) {
    failed++;
    console.error(`FAILED: ${name}\n`, error);
  }
}

async function steps(of: readonly Step[]): Promise<void> {
  for (const [name, step] of of) await tried(name, step);
}

needs('bash', ['bash'], 'bash');
needs('curl', ['curl'], 'curl');
for (const [name, example] of Object.entries({
  'Point-E': pointE,
  'AI Factory': aiFactory,
  'live ingest': liveIngest,
  SAM: samService,
})) {
  try {
    await example(steps);
  } catch (error) {
    failed++;
    console.error(`FAILED: ${name}\n`, error);
  }
}
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed === 0 ? 0 : 1);
