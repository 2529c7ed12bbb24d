import { StoreError, unavailable } from '../store.js';

/** The error for what is not even sent, since Redis is away. */
export function noAnswer(): StoreError {
  return unavailable('Redis does not answer');
}

/** Whether Redis is away. Other errors are faults that waiting does not end. */
export function isOutage(error: unknown): error is StoreError {
  return error instanceof StoreError && error.code === 'GATEWARDEN_STORE_UNAVAILABLE';
}
