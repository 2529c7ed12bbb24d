import { describe } from 'vitest';
import { cutConnections } from './cut-connections.js';
import { endOfExchange } from './end-of-exchange.js';
import { exchangeOfRequest } from './exchange.js';
import { faults } from './faults.js';
import { responseHeaders } from './headers.js';
import { leavingClients } from './leaving-clients.js';
import { oneConnection } from './one-connection.js';
import { queue } from './queue.js';
import { refusals } from './refusals.js';
import { routePattern } from './route-pattern.js';
import type { Serve } from './service.js';
import { promised } from './stage.js';
import { streams } from './streams.js';
import { timeouts } from './timeouts.js';

export {
  type GuardGroups,
  type Handler,
  Inapplicable,
  type Route,
  type Serve,
  type Service,
  type Serving,
} from './service.js';

/**
 * What every adapter promises, over real sockets: how an exchange ends, that it ends once, and that no request gets
 * past a guard.
 */
export function adapterContract(name: string, serve: Serve): void {
  const promise = promised(serve);
  describe(`the ${name} adapter`, () => {
    endOfExchange(promise);
    refusals(promise);
    responseHeaders(promise);
    leavingClients(promise);
    cutConnections(promise);
    // On the web, only who waits for the response knows of a timeout.
    if (!serve.isWeb) timeouts(promise);
    faults(promise);
    oneConnection(promise);
    exchangeOfRequest(promise);
    queue(promise);
    streams(promise);
    routePattern(promise);
  });
}
