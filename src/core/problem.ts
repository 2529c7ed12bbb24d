import { badOption, type OptionError } from './option.js';
import { type OwnProblem, ownProblem } from './own-problem.js';
import type { QuotaState } from './quota-state.js';

interface ProblemKind {
  readonly status: number;
  /** The HTTP status phrase, as RFC 9457 section 4.2.1 requires for a problem without a `type`. */
  readonly title: string;
  readonly detail: string;
  readonly type?: string;
}

/** Every refusal of gatewarden by its stable code: status, title and default detail. */
const PROBLEMS = {
  'credentials-missing': {
    status: 401,
    title: 'Unauthorized',
    detail: 'This resource requires credentials.',
  },
  'credentials-malformed': {
    status: 400,
    title: 'Bad Request',
    detail: 'The credentials are malformed, sent more than once, or contradict each other.',
  },
  'credentials-invalid': {
    status: 401,
    title: 'Unauthorized',
    detail: 'The credentials are not valid.',
  },
  'credentials-too-large': {
    status: 431,
    title: 'Request Header Fields Too Large',
    detail: 'The credentials are too long.',
  },
  'scope-insufficient': {
    status: 403,
    title: 'Forbidden',
    detail: 'The credentials do not grant access to this resource.',
  },
  'authentication-throttled': {
    status: 429,
    title: 'Too Many Requests',
    detail: 'Too many failed authentication attempts. Try again later.',
  },
  'authentication-unavailable': {
    status: 503,
    title: 'Service Unavailable',
    detail: 'The credentials cannot be checked right now. Try again later.',
  },
  'headers-too-many': {
    status: 431,
    title: 'Request Header Fields Too Large',
    detail: 'The request has too many header lines.',
  },
  'client-address-missing': {
    status: 400,
    title: 'Bad Request',
    detail: 'The proxy that sent this request did not name the client.',
  },
  'host-untrusted': {
    status: 400,
    title: 'Bad Request',
    detail: 'This service does not serve the requested host.',
  },
  'preflight-refused': {
    status: 403,
    title: 'Forbidden',
    detail: 'The CORS preflight was refused: this origin, method or header is not allowed.',
  },
  'content-too-large': {
    status: 413,
    title: 'Content Too Large',
    detail: 'The request body is too large.',
  },
  'upload-malformed': {
    status: 400,
    title: 'Bad Request',
    detail: 'The upload is malformed.',
  },
  'upload-too-large': {
    status: 413,
    title: 'Content Too Large',
    detail: 'The upload is too large.',
  },
  'upload-type-unsupported': {
    status: 415,
    title: 'Unsupported Media Type',
    detail: 'The type of an uploaded file is not supported.',
  },
  'upload-undecodable': {
    status: 422,
    title: 'Unprocessable Content',
    detail: 'An uploaded file is not a valid image.',
  },
  'quota-exceeded': {
    // IETF draft-ietf-httpapi-ratelimit-headers, section "Quota Exceeded".
    type: 'https://iana.org/assignments/http-problem-types#quota-exceeded',
    status: 429,
    title: 'Too Many Requests',
    detail: 'The request exceeds a quota.',
  },
  'store-unavailable': {
    status: 503,
    title: 'Service Unavailable',
    detail: 'The quota cannot be checked right now. Try again later.',
  },
  'internal-error': {
    status: 500,
    title: 'Internal Server Error',
    detail: 'The server could not process this request.',
  },
} as const satisfies Record<string, ProblemKind>;

/** The stable name of a refusal. */
export type ProblemCode = keyof typeof PROBLEMS;

export const PROBLEM_CODES: ReadonlySet<string> = new Set(Object.keys(PROBLEMS));

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
}

interface ProblemCore<C extends ProblemCode> {
  /** The problem type, if one is registered (RFC 9457 section 3.1.1). */
  readonly type?: string;
  readonly title: string;
  readonly status: (typeof PROBLEMS)[C]['status'];
  readonly detail: string;
  readonly code: C;
}

type MembersOf<C extends ProblemCode> = C extends keyof ProblemMembers ? ProblemMembers[C] : unknown;

/** A refusal as a value (RFC 9457). Its `code` says which one. */
export type Problem<C extends ProblemCode = ProblemCode> = C extends ProblemCode
  ? ProblemCore<C> & MembersOf<C>
  : never;

/**
 * A problem of the given code, with the members that this code has.
 *
 * ```ts
 * refuse(problem('upload-too-large', { part: 'file', limit: 1_048_576 }))
 * ```
 */
export function problem<C extends ProblemCode>(
  code: C,
  ...members: C extends keyof ProblemMembers ? [ProblemMembers[C]] : []
): Problem<C>;
/**
 * A problem of the service's own, with any further members. Make it once if it never changes.
 *
 * ```ts
 * refuse(problem({ code: 'model-busy', status: 503, title: 'Service Unavailable', detail: 'The model is busy.' }))
 * ```
 * @throws OptionError for a code or a status that cannot be, and for a code of gatewarden
 */
export function problem<P extends OwnProblem>(own: P): P;
export function problem(codeOrOwn: ProblemCode | OwnProblem, members?: object): object {
  if (typeof codeOrOwn !== 'string') return ownProblem(codeOrOwn, PROBLEM_CODES);
  if (!PROBLEM_CODES.has(codeOrOwn)) throw unknownCode(codeOrOwn);
  return { ...PROBLEMS[codeOrOwn], code: codeOrOwn, ...members };
}

function unknownCode(code: string): OptionError {
  const remedy = 'for a problem of your own, write problem({ code, status, title, detail })';
  return badOption('problem', 'code', 'must be a code of gatewarden', code, remedy);
}

/** A problem in a service's own wire format. */
export interface WireProblem {
  /** 400 to 599. Default the problem's own status. */
  readonly status?: number | undefined;
  /** The body, sent as JSON. */
  readonly body: unknown;
  /** Default `application/json`. */
  readonly contentType?: string | undefined;
}

/**
 * The wire format of each problem code, and `default` for codes that are not listed, the service's own among them. The
 * second argument is the id of the request if `requestId` ran before.
 */
export type ProblemFormats = {
  readonly [C in ProblemCode]?: ((problem: Problem<C>, requestId: string | undefined) => WireProblem) | undefined;
} & {
  readonly default?: ((problem: Problem | OwnProblem, requestId: string | undefined) => WireProblem) | undefined;
};
