import type { Exchange } from './exchange.js';
import type { Reply } from './reply.js';

/** Lets the exchange go on (`undefined`) or answers it. Thrown errors are faults: they become a 500, never a pass. */
export type Guard = (exchange: Exchange) => Reply | undefined | Promise<Reply | undefined>;
