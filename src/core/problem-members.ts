import type { QuotaState } from './quota-state.js';

/** The members of a problem of each code, beyond those of RFC 9457. */
export interface ProblemMembers {
  'upload-malformed': {
    /** What is wrong, in a few words. */
    readonly reason: string;
  };
  'upload-too-large': {
    /**
     * What is too large: a `file`, a `field`, the `body`, the number of `parts`, the `pixels` of an image, or the bytes
     * that it takes when `decoded`.
     */
    readonly part: 'file' | 'field' | 'body' | 'parts' | 'pixels' | 'decoded';
    /** The largest value that this resource accepts. */
    readonly limit: number;
  };
  'upload-type-unsupported': {
    /** The media type detected from the content, or `unknown`. */
    readonly found: string;
    /** The media types that this resource accepts. */
    readonly allowed: readonly string[];
  };
  'upload-undecodable': {
    /** What is wrong, in a few words. */
    readonly reason: string;
  };
  'quota-exceeded': {
    /** Names of the policies that the request would exceed (IETF RateLimit draft). */
    readonly 'violated-policies': readonly string[];
    /** The same policies, each with its limit and what is left. */
    readonly policies: readonly QuotaState[];
    /** The limit of the policy that blocks the request longest. */
    readonly limit: number;
    /** Quota units left under that policy: fewer than the request costs. */
    readonly remaining: number;
    /** When more units become available under that policy, in epoch milliseconds. */
    readonly resetAt: number;
    /** The earliest time at which this request could pass, in epoch milliseconds; null if it never can. */
    readonly retryAt: number | null;
  };
  'query-malformed': {
    /** What is wrong, in a few words. */
    readonly reason: string;
  };
  'concurrency-exceeded': FullMembers;
  'capacity-exceeded': FullMembers;
}

/** What a refusal for want of a free slot says. */
interface FullMembers {
  /** Names of the policies that the request would exceed (IETF RateLimit draft). */
  readonly 'violated-policies': readonly string[];
  /** The same policies, each with its limit and what is left. */
  readonly policies: readonly QuotaState[];
  /** The most that the policy lets hold at once. */
  readonly limit: number;
  /** What is left of that: less than the request needs. */
  readonly remaining: number;
}

/** One member of each code that has some. A problem without it, such as that of a failed job, has lost the others too. */
export const KNOWN_MEMBERS: { readonly [C in keyof ProblemMembers]: keyof ProblemMembers[C] } = {
  'upload-malformed': 'reason',
  'upload-too-large': 'part',
  'upload-type-unsupported': 'found',
  'upload-undecodable': 'reason',
  'quota-exceeded': 'policies',
  'query-malformed': 'reason',
  'concurrency-exceeded': 'policies',
  'capacity-exceeded': 'policies',
};
