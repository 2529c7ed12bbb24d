import type { Exchange } from './exchange.js';
import type { Reply } from './reply.js';

/**
 * Lets the exchange continue by returning undefined, or answers it by returning a reply. An error that it throws is a fault:
 * the client gets a 500, and the request never passes.
 */
export type Guard = (exchange: Exchange) => Reply | undefined | Promise<Reply | undefined>;
