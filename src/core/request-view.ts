import type { Readable } from 'node:stream';

/** What a guard may read of a request: a view of the framework's own, nothing is copied. */
export interface RequestView {
  readonly method: string;
  /** Path and query as the client sent them. */
  readonly url: string;
  /** Address of the socket's other end; absent on a Unix socket. */
  readonly remoteAddress: string | undefined;
  /** Whether the socket itself speaks TLS. */
  readonly encrypted: boolean;
  /** Every field line of one header, by lower-case name, in order: a doubled `Authorization` shows as two. */
  fieldLines(name: string): readonly string[];
  /**
   * The whole body, for a guard that has to know it before it decides. It stays in the request: the framework's own body
   * parser, or a handler that reads the request, finds all of it afterwards. Holds at most `maxBytes` in memory, and
   * rejects for no fault of the client's. Absent where a framework cannot do it.
   */
  readBody?(maxBytes: number): Promise<RequestBody>;
  /**
   * The body as it comes in, for a guard that takes it away from the framework: whoever asks must read it or throw it
   * away, and says which: to `read` it tells a client to go on that waits for leave (RFC 9110 section 10.1.1). `consumed`
   * where somebody has read of it before. Absent where a framework cannot do it.
   */
  openBody?(to: 'read' | 'discard'): Readable | 'consumed';
}

/**
 * What `readBody` came to: the bytes, none where there is no body, or
 * - `too-large`: more than was asked for, by `Content-Length` or as it came in. The body is lost: answer the request.
 * - `consumed`: somebody has read of it before, such as a body parser that stands too early.
 * - `aborted`: the client left before all of it was here.
 */
export type RequestBody = Uint8Array | 'too-large' | 'consumed' | 'aborted';

/** Where an adapter keeps the response headers until its framework takes them. */
export interface ResponseHeaders {
  get(name: string): string | undefined;
  set(name: string, value: string): void;
  remove(name: string): void;
  /** Calls `hook` just before the head of the response goes out, whoever sends it. */
  onHead(hook: () => void): void;
}
