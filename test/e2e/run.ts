/**
 * End-to-end tests: starts the examples as the README does, and calls them with the clients of their users: the guides'
 * Python functions and curl commands, a browser, nginx. Reports any program that is not installed.
 */
import { aiFactory } from './ai-factory.js';
import { needs, type Step } from './harness.js';
import { image2model } from './image2model.js';
import { liveIngest } from './live-ingest.js';
import { operator } from './operator.js';
import { pointE } from './point-e.js';
import { prometheus } from './prometheus.js';
import { samService } from './sam-service.js';

let passed = 0;
let failed = 0;

async function runStep(name: string, step: () => unknown): Promise<void> {
  try {
    await step();
    passed++;
    console.log(`ok: ${name}`);
  } catch (error) {
    failed++;
    console.error(`FAILED: ${name}\n`, error);
  }
}

async function steps(list: readonly Step[]): Promise<void> {
  for (const [name, step] of list) await runStep(name, step);
}

needs('bash', ['bash'], 'bash');
needs('curl', ['curl'], 'curl');
for (const [name, example] of Object.entries({
  'Point-E': pointE,
  'AI Factory': aiFactory,
  'live ingest': liveIngest,
  SAM: samService,
  Image2Model: image2model,
  operator,
  Prometheus: prometheus,
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
