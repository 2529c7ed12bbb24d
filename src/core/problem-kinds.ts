import { OPERATOR_PROBLEMS } from './operator-problem-kinds.js';

/** What every problem of one code has in common. */
export interface ProblemKind {
  readonly status: number;
  /** The HTTP status phrase, as RFC 9457 section 4.2.1 requires for a problem without a `type`. */
  readonly title: string;
  readonly detail: string;
  readonly type?: string;
}

/** Every refusal of gatewarden by its stable code: status, title and default detail. */
export const PROBLEMS = {
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
  'origin-untrusted': {
    status: 403,
    title: 'Forbidden',
    detail: 'Pages of this origin may not open a connection to this service.',
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
  'concurrency-exceeded': {
    type: 'https://iana.org/assignments/http-problem-types#quota-exceeded',
    status: 429,
    title: 'Too Many Requests',
    detail: 'Too many requests of this client are under way.',
  },
  'capacity-exceeded': {
    // Or 429, by an option of `limit`.
    status: 503 as 429 | 503,
    title: 'Service Unavailable',
    detail: 'The service is at its capacity. Try again later.',
  },
  'queue-full': {
    status: 503 as 429 | 503,
    title: 'Service Unavailable',
    detail: 'Too many requests are waiting for this service. Try again later.',
  },
  'queue-timeout': {
    status: 503 as 429 | 503,
    title: 'Service Unavailable',
    detail: 'The request waited too long for its turn. Try again later.',
  },
  'store-unavailable': {
    status: 503,
    title: 'Service Unavailable',
    detail: 'The quota cannot be checked right now. Try again later.',
  },
  'idempotency-key-missing': {
    status: 400,
    title: 'Bad Request',
    detail: 'This resource requires an Idempotency-Key header.',
  },
  'idempotency-key-malformed': {
    status: 400,
    title: 'Bad Request',
    detail: 'The Idempotency-Key header must be sent once, with 1 to 255 printable characters.',
  },
  'idempotency-key-reused': {
    status: 422,
    title: 'Unprocessable Content',
    detail: 'Another request was sent with this Idempotency-Key. Use a new key for each new request.',
  },
  'idempotency-conflict': {
    status: 409,
    title: 'Conflict',
    detail: 'A request with this Idempotency-Key is still under way. Try again later.',
  },
  'idempotency-answer-too-large': {
    status: 409,
    title: 'Conflict',
    detail: 'The request with this Idempotency-Key was answered before, and its answer is too large to be repeated.',
  },
  'idempotency-unavailable': {
    status: 503,
    title: 'Service Unavailable',
    detail: 'The Idempotency-Key cannot be checked right now. Try again later.',
  },
  'not-ready': {
    status: 503,
    title: 'Service Unavailable',
    detail: 'The service is starting and cannot accept work yet. Try again later.',
  },
  'query-malformed': {
    status: 400,
    title: 'Bad Request',
    detail: 'The query of the URL cannot be used.',
  },
  'deadline-malformed': {
    status: 400,
    title: 'Bad Request',
    detail: 'The requested deadline must be one whole number of milliseconds, 1 or more.',
  },
  'deadline-exceeded': {
    status: 504,
    title: 'Gateway Timeout',
    detail: 'The work was not done by its deadline, and was stopped.',
  },
  'worker-failed': {
    status: 502,
    title: 'Bad Gateway',
    detail: 'The work failed.',
  },
  'worker-unavailable': {
    status: 503,
    title: 'Service Unavailable',
    detail: 'The work could not be done right now. Try again later.',
  },
  'job-not-found': {
    status: 404,
    title: 'Not Found',
    detail: 'There is no such job.',
  },
  'job-not-finished': {
    status: 409,
    title: 'Conflict',
    detail: 'The job has not finished yet. Ask for its status, and for the result when it has succeeded.',
  },
  'job-cancelled': {
    status: 410,
    title: 'Gone',
    detail: 'The job was cancelled and has no result.',
  },
  'job-lost': {
    status: 500,
    title: 'Internal Server Error',
    detail: 'The process that ran this job has stopped. Submit the job again.',
  },
  'job-streams-exceeded': {
    status: 429,
    title: 'Too Many Requests',
    detail: 'Too many connections follow this job. Close one of them, or ask for its status instead.',
  },
  'jobs-full': {
    status: 503,
    title: 'Service Unavailable',
    detail: 'The service cannot accept more jobs right now. Try again later.',
  },
  'jobs-unavailable': {
    status: 503,
    title: 'Service Unavailable',
    detail: 'Jobs cannot be submitted or read right now. Try again later.',
  },
  ...OPERATOR_PROBLEMS,
  'range-not-satisfiable': {
    status: 416,
    title: 'Range Not Satisfiable',
    detail: 'The requested range is not within the file.',
  },
  'internal-error': {
    status: 500,
    title: 'Internal Server Error',
    detail: 'The server could not process this request.',
  },
} as const satisfies Record<string, ProblemKind>;
