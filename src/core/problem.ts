import type { QuotaState } from './quota-state.js';

interface ProblemKind {
  readonly status: number;
  /** The HTTP status phrase, as RFC 9457 section 4.2.1 asks of a problem without a `type` of its own. */
  readonly title: string;
  readonly detail: string;
  readonly type?: string;
}

/** Every refusal that gatewarden can give: its stable code, its status, its title and its ordinary detail. */
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

/** What a problem of one code says beyond the members of RFC 9457. */
export interface ProblemMembers {
  'upload-malformed': {
    /** What is wrong: `not multipart`, `no boundary`, `cut short`, `no file` and so on. */
    readonly reason: string;
  };
  'upload-too-large': {
    /** What is too large: a `file`, a `field`, the `body`, the number of `parts`, or the `pixels` of an image. */
    readonly part: 'file' | 'field' | 'body' | 'parts' | 'pixels';
    /** How much of it this resource takes. */
    readonly limit: number;
  };
  'upload-type-unsupported': {
    /** The media type by the file's content; `unknown` where that tells none. */
    readonly found: string;
    readonly allowed: readonly string[];
  };
  'upload-undecodable': {
    readonly reason: string;
  };
  'quota-exceeded': {
    /** Names of the policies that stood in the way (IETF RateLimit draft). */
    readonly 'violated-policies': readonly string[];
    /** The same policies with their figures. */
    readonly policies: readonly QuotaState[];
    /** The limit of the policy that holds the request back longest. */
    readonly limit: number;
    /** What that policy has left: less than the request costs. */
    readonly remaining: number;
    /** When that policy has further units, in epoch milliseconds. */
    readonly resetAt: number;
    /** The earliest time at which this request could pass, in epoch milliseconds; null where it never can. */
    readonly retryAt: number | null;
  };
}

interface ProblemCore<C extends ProblemCode> {
  /** The problem type, where one is registered (RFC 9457 section 3.1.1). */
  readonly type?: string;
  readonly title: string;
  readonly status: (typeof PROBLEMS)[C]['status'];
  readonly detail: string;
  readonly code: C;
}

type MembersOf<C extends ProblemCode> = C extends keyof ProblemMembers ? ProblemMembers[C] : unknown;

/** A refusal as a value (RFC 9457), told apart by `code`. */
export type Problem<C extends ProblemCode = ProblemCode> = C extends ProblemCode
  ? ProblemCore<C> & MembersOf<C>
  : never;

/** A problem of the given code, with the members which that code asks for. */
export function problem<C extends ProblemCode>(
  code: C,
  ...members: C extends keyof ProblemMembers ? [ProblemMembers[C]] : []
): Problem<C>;
export function problem(code: ProblemCode, members?: object): object {
  return { ...PROBLEMS[code], code, ...members };
}

/** A problem as one service's clients expect to read it. */
export interface WireProblem {
  /** 400 to 599; the problem's own status when left out. */
  readonly status?: number;
  /** What stands in the body, as JSON. */
  readonly body: unknown;
  /** Default `application/json`. */
  readonly contentType?: string;
}

/**
 * For each problem code, how a service words it; `default` for the codes not named. The id of the request is told where
 * `requestId` stood before.
 */
export type ProblemFormats = {
  readonly [C in ProblemCode]?: (problem: Problem<C>, requestId: string | undefined) => WireProblem;
} & { readonly default?: (problem: Problem, requestId: string | undefined) => WireProblem };
