import type { ServerResponse } from 'node:http';
import { Exchange } from '../core/exchange.js';
import type { Outcome } from '../core/outcome.js';
import type { RequestBody } from '../core/request-view.js';
import { NodeHttpMessage, type NodeRequest } from './node-message.js';

/** The exchange of an upgrade lasts as long as its connection. So work for an accepted one ends when the connection closes. */
class UpgradeExchange extends Exchange {
  protected override abortsSignal(outcome: Outcome): boolean {
    return super.abortsSignal(outcome) || (outcome.kind === 'completed' && outcome.status === 101);
  }
}

/** Before Node 26, a body arrives as bytes of the new protocol. So no guard can read it. */
class UpgradeMessage extends NodeHttpMessage {
  readonly #hasBody: boolean;

  constructor(request: NodeRequest, response: ServerResponse) {
    super(request, response);
    const { 'content-length': length, 'transfer-encoding': encoding } = request.headers;
    this.#hasBody = encoding !== undefined || Number(length ?? 0) !== 0;
  }

  override readBody(maxBytes: number): Promise<RequestBody> {
    return this.#hasBody ? Promise.resolve('too-large') : super.readBody(maxBytes);
  }
}

/** The exchange of an upgrade. Guards on the routes of a framework find it in the request. */
export function exchangeOfUpgrade(request: NodeRequest, response: ServerResponse): Exchange {
  const message = new UpgradeMessage(request, response);
  const exchange = new UpgradeExchange(message, message);
  request.exchange = exchange;
  return exchange;
}
