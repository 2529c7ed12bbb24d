// What the rows of http.js and no-network.js have in common: which services they compare, and what each of them promises.

const NO_GUARD = 'no guard';
const BY_HAND = 'the same checks and headers, written by hand for one service; no options, faults or refunds';
const OURS = 'a sliding window; all or nothing is charged, and given back on 5xx';

/** Five guards in front of a handler. `peers` is what is known of the side of that name. */
export function fiveGuardsSides(side, framework, peers) {
  const portable = `${BY_HAND}; on web responses, as on other runtimes`;
  return [
    side('bare', framework, 'bare', NO_GUARD),
    side('by hand', framework, 'ideal', BY_HAND),
    ...(framework === 'hono' ? [side('by hand, portable', framework, 'portable ideal', portable)] : []),
    side('gatewarden', framework, 'gatewarden', OURS),
    side('peers', framework, 'peers', `${peers}; a fixed window`),
  ];
}

/** One guard alone in front of a handler of Express. */
export function oneGuardSides(side) {
  const ours = (stack, guarantees) => side(`gatewarden: ${stack}`, 'express', stack, guarantees);
  const peer = (name, stack, guarantees) => side(name, 'express', `peer: ${stack}`, guarantees);
  return [
    side('bare', 'express', 'bare', NO_GUARD),
    ours('empty', 'a guard that does nothing'),
    ours('request id', 'a UUID, or the id of the request if it is well-formed'),
    peer('express-request-id', 'request id', 'a UUID, or any id of the request'),
    ours('headers', '7 headers'),
    peer('helmet', 'headers', '12 headers'),
    ours('cors', 'one origin, and which headers a page may read'),
    peer('cors', 'cors', 'one origin'),
    ours('key', 'one of any number of keys, by digest'),
    peer('a key check', 'key', 'one key, by digest'),
    ours('limit', OURS),
    peer('express-rate-limit', 'limit', 'a fixed window; refused requests are charged'),
  ];
}
