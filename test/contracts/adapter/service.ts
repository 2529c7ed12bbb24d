import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Exchange, Guard } from '../../../src/index.js';

/** A list of guards for each `guard(...)` call. */
export type GuardGroups = readonly (readonly Guard[])[];

/** What a handler does, independent of a framework. */
export type Handler =
  /** Sends JSON in the way of the framework, once the promise of `after` is fulfilled. */
  | {
      readonly does: 'answer';
      readonly status: number;
      readonly body: unknown;
      readonly headers?: Readonly<Record<string, string>>;
      readonly after?: () => Promise<unknown>;
    }
  /** Throws before it returns. */
  | { readonly does: 'throw'; readonly error: Error }
  /** Returns a promise that rejects. */
  | { readonly does: 'reject'; readonly error: Error }
  /** Uses the two objects of node:http itself. The framework does not send a response. */
  | {
      readonly does: 'write';
      readonly write: (request: IncomingMessage, response: ServerResponse) => void;
      /** What a handler of the web does instead. Without it, the test has nothing to say about one. */
      readonly respond?: () => Response | Promise<Response>;
    };

/** Thrown by an adapter that cannot build a service, so that the test is skipped. */
export class Inapplicable extends Error {}

export interface Route {
  readonly method: 'GET' | 'POST' | 'OPTIONS';
  readonly path: string;
  readonly guards: GuardGroups;
  readonly handler: Handler;
}

/** A small service, to be built as a user of the framework would build it. */
export interface Service {
  /** Guards for the whole application, including unknown paths. */
  readonly guards: GuardGroups;
  readonly routes: readonly Route[];
  /** A router under a path prefix, with its own guards. */
  readonly mount?: { readonly path: string; readonly guards: GuardGroups; readonly routes: readonly Route[] };
  /** Middleware before the guards: `proceed` passes the request on to them, `answer` sends a 503. */
  readonly before?: (proceed: () => void, answer: () => void, socket: Socket) => void;
  /** Every handler calls it first, with the exchange as handlers of the framework read it. */
  readonly entered: (exchange: Exchange) => void;
}

export interface Serving {
  readonly port: number;
  /** Stops listening and closes every connection. */
  close(): Promise<void>;
}

/** Builds a service in one framework and serves it on any port of 127.0.0.1. */
export interface Serve {
  (service: Service): Promise<Serving>;
  /**
   * Whether handlers get a web request, which joins the lines of a header, and return a response, so that they do not see
   * what becomes of it after the runtime has read it.
   */
  readonly isWeb?: true;
}
