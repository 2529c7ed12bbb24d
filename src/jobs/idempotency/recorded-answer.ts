import { Readable } from 'node:stream';
import { problem } from '../../core/problem.js';
import { type Reply, refuse } from '../../core/reply.js';
import type { CapturedResponse } from '../../core/request-view.js';
import type { IdempotencyAnswer } from './idempotency-store.js';

const REPLAYED: Reply['headers'][number] = ['Idempotency-Replayed', 'true'];

/**
 * Headers that are not repeated: those of one connection or one moment (RFC 9110 sections 6.6.1 and 7.6.1), those that the
 * reply sets itself, the state of quotas, which a repeat does not change, and cookies.
 */
const NOT_REPEATED: ReadonlySet<string> = new Set([
  'connection',
  'content-length',
  'date',
  'idempotency-replayed',
  'keep-alive',
  'proxy-authenticate',
  'proxy-connection',
  'set-cookie',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);
const QUOTA_HEADER = /^(?:x-)?rate-?limit/;
/** Statuses whose responses have no body (RFC 9110 section 6.4.1). */
const BODILESS: readonly number[] = [204, 205, 304];
const MAX_LOCATION = 2048;
const EMPTY = new Uint8Array();

/** What is remembered of a response. Without its body if body and headers are larger than `maxBytes`. */
export function answerOf({ status, headers, body }: CapturedResponse, maxBytes: number): IdempotencyAnswer {
  const repeated = headers.filter(([name]) => {
    const lowerCase = name.toLowerCase();
    return !NOT_REPEATED.has(lowerCase) && !QUOTA_HEADER.test(lowerCase);
  });
  const headerBytes = repeated.reduce((sum, [name, value]) => sum + name.length + value.length, 0);
  const whole = BODILESS.includes(status) ? EMPTY : body;
  // No reply can have a status above 599.
  const canReply = status <= 599 && whole !== undefined && whole.length + headerBytes <= maxBytes;
  if (canReply) return { status, headers: repeated, body: whole };
  return withoutBody({ status, headers: repeated, body: undefined });
}

/** What stays of an answer that is not repeated: its status, and where its result is. */
export function withoutBody({ status, headers }: IdempotencyAnswer): IdempotencyAnswer {
  const headerOf = (wanted: string) => headers.find(([name]) => name.toLowerCase() === wanted)?.[1];
  // The result of a job that came in time has the second one.
  const location = headerOf('location') ?? headerOf('content-location');
  const isKept = location !== undefined && location.length <= MAX_LOCATION;
  return { status, headers: isKept ? [['Location', location]] : [], body: undefined };
}

/** The reply to a repeat. */
export function replayOf({ status, headers, body }: IdempotencyAnswer): Reply {
  if (body === undefined) return refuse(problem('idempotency-answer-too-large'), headers);
  const marked: Reply['headers'] = [...headers, REPLAYED];
  if (BODILESS.includes(status)) return { status, headers: marked, problem: undefined, isAnswer: true };
  return {
    status,
    headers: [...marked, ['Content-Length', String(body.length)]],
    problem: undefined,
    stream: () => Readable.from([body]),
  };
}
