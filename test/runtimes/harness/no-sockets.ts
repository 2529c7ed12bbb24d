import { NOT_HERE } from './not-here.js';

/** Stands in for the client of `test/raw-client.ts`, on a runtime without sockets of Node. */
export const Client = {
  async connect(): Promise<never> {
    throw new Error(`${NOT_HERE}needs sockets`);
  },
};

/** One request without a body, as it is sent. */
export const requestText = (line: string): string => line;
