import { type Guard, type Problem, type ProblemFormats, problem, problemFormat, refuse } from 'gatewarden';

/** The body of every error of this service. */
export interface ErrorBody {
  readonly error: true;
  readonly error_code: string;
  readonly message: string;
}

export function errorBody(error_code: string, message: string): ErrorBody {
  return { error: true, error_code, message };
}

export const KEY_REQUIRED = errorBody('AUTHENTICATION_REQUIRED', 'API key required');
const INVALID_KEY = errorBody('INVALID_API_KEY', 'Invalid API key');
const NOT_ADMIN = errorBody('INSUFFICIENT_PERMISSIONS', 'Invalid admin API key');
const WINDOWS: Readonly<Record<string, string>> = { minute: 'per minute', hour: 'per hour' };

/** What all refusals look like: the problem's code in capitals, with the words of the guide where it has some. */
const formats: ProblemFormats = {
  'credentials-missing': () => ({ body: KEY_REQUIRED }),
  'credentials-malformed': () => ({ status: 401, body: KEY_REQUIRED }),
  'credentials-invalid': () => ({ status: 403, body: INVALID_KEY }),
  'scope-insufficient': () => ({ body: NOT_ADMIN }),
  'quota-exceeded': ({ policies: [policy] }) => {
    const message =
      policy?.name === 'gpu-seconds'
        ? 'The GPU time of this key is used up for today'
        : `Rate limit exceeded: ${policy?.limit} requests ${WINDOWS[policy?.name ?? ''] ?? ''}`;
    return { body: errorBody('RATE_LIMIT_EXCEEDED', message) };
  },
  'concurrency-exceeded': ({ policies: [policy] }) => ({
    body: errorBody('RATE_LIMIT_EXCEEDED', `Too many jobs are under way: at most ${policy?.limit}`),
  }),
  'authentication-throttled': ({ detail }) => ({ body: errorBody('RATE_LIMIT_EXCEEDED', detail) }),
  'upload-too-large': ({ part, limit }) => ({ body: { ...tooLarge(part), limit } }),
  'upload-malformed': ({ reason }) => ({ body: errorBody('VALIDATION_ERROR', `The upload is not valid: ${reason}`) }),
  'upload-type-unsupported': ({ found, allowed }) => ({
    body: { ...errorBody('VALIDATION_ERROR', `Files of the type ${found} are not accepted`), allowed },
  }),
  'upload-undecodable': ({ reason }) => ({ body: errorBody('VALIDATION_ERROR', `A file is not an image: ${reason}`) }),
  default: ({ code, detail }) => ({ body: errorBody(code.toUpperCase().replaceAll('-', '_'), detail) }),
};

function tooLarge(part: Extract<Problem, { code: 'upload-too-large' }>['part']): ErrorBody {
  return part === 'file'
    ? errorBody('FILE_TOO_LARGE', 'A file is too large')
    : errorBody('UPLOAD_TOO_LARGE', `The upload is too large: ${part}`);
}

export const regularErrors = problemFormat(formats);
/** On an administrator's endpoints, every key that is not the administrator's is answered in the same way. */
export const adminErrors = problemFormat({
  ...formats,
  'credentials-invalid': () => ({ status: 403, body: NOT_ADMIN }),
});

const CLOSED = refuse(
  problem({
    code: 'authentication-required',
    status: 500,
    title: 'Internal Server Error',
    detail: KEY_REQUIRED.message,
  }),
);

/** Refuses everyone: in production, a service without keys must not be open. */
export const closed: Guard = () => CLOSED;
