import { service } from './handler.js';

// biome-ignore lint/style/noDefaultExport: a Worker is one.
export default {
  /** As on Cloudflare's own machines, a request has `cf`. */
  fetch(request: Request, ...args: readonly never[]): Promise<Response> {
    return service(Object.defineProperty(request, 'cf', { value: { colo: 'test' } }), ...args);
  },
};
