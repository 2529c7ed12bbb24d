import type { Readable } from 'node:stream';

/** What a guard may read of a request: a view of the framework's own object, without a copy. */
export interface RequestView {
  readonly method: string;
  /** Path and query as the client sent them. */
  readonly url: string;
  /** Address of the other end of the socket. Undefined on a Unix socket. */
  readonly remoteAddress: string | undefined;
  /** Whether the socket itself uses TLS. */
  readonly encrypted: boolean;
  /**
   * Whether the server may have dropped field lines, because there were too many. No sequence of guards lets such a request
   * pass, since what a guard does not find may have been sent. Undefined if it never drops any.
   */
  readonly headersTruncated?: boolean;
  /**
   * A parameter of the route, such as `id` of `/jobs/:id`, decoded. Undefined if the route has none of that name, or the
   * framework has not chosen the route yet.
   */
  param?(name: string): string | undefined;
  /**
   * The pattern of the route that the framework has chosen, such as `/jobs/:id`. It contains nothing that the client sent.
   * Undefined if no route was chosen, or not yet. Read it early, so that the adapter can watch the choice of the route.
   */
  readonly routePattern?: string | undefined;
  /** Every field line of one header, by lower-case name, in order. A repeated `Authorization` is two lines. */
  fieldLines(name: string): readonly string[];
  /**
   * Reads the whole body, for a guard that needs it to decide. The body stays in the request: the framework's body parser,
   * or a handler that reads the request, still finds all of it. Holds at most `maxBytes` in memory. Rejects only for a
   * fault of the server. Undefined if the framework cannot do it.
   */
  readBody?(maxBytes: number): Promise<RequestBody>;
  /**
   * The body as a stream, for a guard that takes it away from the framework. The caller must read or discard it, and says
   * which: `read` sends `100 Continue` to a client that waits for it (RFC 9110 section 10.1.1). Returns `consumed` if
   * something has read from the body before. Undefined if the framework cannot do it.
   */
  openBody?(to: 'read' | 'discard'): Readable | 'consumed';
  /**
   * Whether a byte of the body was read by a guard, a body parser or a handler, and not only to discard it. Undefined if the
   * framework cannot tell, which counts as not read.
   */
  readonly bodyWasRead?: boolean;
  /**
   * How many bytes the connection of this request has sent so far, those that wait to be sent included. Undefined if the
   * connection is shared with other requests at the same time, or the framework cannot tell.
   */
  readonly bytesWritten?: number | undefined;
}

/**
 * The result of `readBody`: the bytes (none if there is no body), or
 * - `too-large`: the body is larger than `maxBytes`, by its `Content-Length` or as it arrived. It is lost: answer the request.
 * - `consumed`: something has read from the body before, such as a body parser that comes too early.
 * - `aborted`: the client left before the whole body had arrived.
 */
export type RequestBody = Uint8Array | 'too-large' | 'consumed' | 'aborted';

/** Holds the response headers until the framework sends them. Implemented by adapters. */
export interface ResponseHeaders {
  get(name: string): string | undefined;
  set(name: string, value: string): void;
  remove(name: string): void;
  /** Calls `hook` just before the head of the response is sent. */
  onHead(hook: () => void): void;
  /**
   * Gives `done` the whole response just before its end is sent, and holds that end back until the returned promise has
   * settled. It is also called if the client has left, when the handler answers. `onFault` receives what then went wrong with
   * the end. Undefined if the framework cannot do it.
   */
  capture?(maxBytes: number, done: ResponseReceiver, onFault: (error: unknown) => void): void;
}

/** Receives a captured response. It must not throw or reject. */
export type ResponseReceiver = (response: CapturedResponse) => void | Promise<void>;

/** A response as the handler made it. */
export interface CapturedResponse {
  readonly status: number;
  /** The headers that were set or changed since the capture began. Repeated lines are joined. */
  readonly headers: readonly (readonly [name: string, value: string])[];
  /** Undefined if it is larger than `maxBytes`. */
  readonly body: Uint8Array | undefined;
}
