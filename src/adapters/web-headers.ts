import { mergedVary } from './vary.js';

/**
 * A response with the headers of guards, unless the handler has set them. `Vary` needs both values. Returns another
 * response if the headers of this one are immutable, as of one that came from `fetch`.
 */
export function withHeaders(response: Response, headers: Iterable<readonly [name: string, value: string]>): Response {
  let changed = response;
  for (const [name, value] of headers) {
    const handlerValue = changed.headers.get(name);
    if (handlerValue !== null && name.toLowerCase() !== 'vary') continue;
    const whole = handlerValue === null ? value : mergedVary(value, handlerValue);
    try {
      changed.headers.set(name, whole);
    } catch {
      // The answer to an upgrade has no copy, and neither has `Response.error()`.
      if (response.status < 200) return response;
      changed = new Response(response.body, response);
      changed.headers.set(name, whole);
    }
  }
  return changed;
}
