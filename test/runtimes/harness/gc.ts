import { NOT_HERE } from './not-here.js';

/** Of `node:v8`. */
export const setFlagsFromString = () => undefined;

/** Of `node:vm`. */
export function runInNewContext(code: string): () => never {
  if (code !== 'gc') throw new Error(`${NOT_HERE}needs another realm`);
  return () => {
    throw new Error(`${NOT_HERE}needs to collect garbage at a chosen time`);
  };
}
