/**
 * What an operator sees and does: a page that shows the service live, and actions that suspend a client, let it exceed its
 * quotas for a while, reset its counters and cancel a job.
 * @module gatewarden/operator
 */

export type { CancellableJobs, ClientCounters } from './action-subjects.js';
export {
  type MemoryOperatorStore,
  type MemoryOperatorStoreOptions,
  memoryOperatorStore,
} from './memory-operator-store.js';
export type { ActedRecord, ActionName, ActionResult, OperatorAction, OperatorRecord } from './operator-action.js';
export {
  type OperatorControls,
  type OperatorControlsOptions,
  operatorControls,
} from './operator-controls.js';
export { type OperatorPage, type OperatorPageOptions, operatorPage } from './operator-page.js';
export type { AddedMeasure, Measure, OperatorStore } from './operator-store.js';
export type { Health, ListedJob, ListedJobs, SlotCounters } from './page-snapshot.js';
