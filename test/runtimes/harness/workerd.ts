// The main module of a Worker.
// @ts-expect-error A module of workerd, which has no types here.
import { handleAsNodeRequest } from 'cloudflare:node';
import { type Files, runSuites, type Skips } from './run-suites.js';

// The servers that tests start with node:http have ports of this Worker only, to which requests are handed like this.
globalThis.fetch = async (input, init) => {
  const request = new Request(input, init);
  const { port } = new URL(request.url);
  return (await handleAsNodeRequest(Number(port), request)) as Response;
};

/** A Worker that runs the files inside of the request that names them, and answers with the report. */
export function worker(files: Files, skips: Skips) {
  return {
    fetch: async (request: Request) =>
      Response.json(await runSuites(files, skips, (await request.json()) as readonly string[])),
  };
}
