import type { HeaderLine } from '../exchange-fixture.js';

/** The secret that the service under test accepts as a bearer token. */
export const BEARER_SECRET = 'attacked-service-c4n4ry-secret-0123456789';
/** Another secret that it accepts, as an API key in `X-API-Key`. */
export const OTHER_SECRET = 'attacked-service-c4n4ry-other-0123456789';

const T = BEARER_SECRET;
const authorization = (value: string): HeaderLine => ['Authorization', value];

export interface BearerCase {
  readonly what: string;
  readonly headers: readonly HeaderLine[];
  readonly url?: string;
  /** 200 if the handler runs. */
  readonly status: number;
  /** `WWW-Authenticate` after the realm; undefined if the answer has no such header. */
  readonly challenge: '' | ', error="invalid_request"' | ', error="invalid_token"' | undefined;
}

const accepted = (what: string, ...headers: HeaderLine[]): BearerCase => ({
  what,
  headers,
  status: 200,
  challenge: undefined,
});
const missing = (what: string, ...headers: HeaderLine[]): BearerCase => ({ what, headers, status: 401, challenge: '' });
const invalid = (what: string, ...headers: HeaderLine[]): BearerCase => ({
  what,
  headers,
  status: 401,
  challenge: ', error="invalid_token"',
});
const malformed = (what: string, ...headers: HeaderLine[]): BearerCase => ({
  what,
  headers,
  status: 400,
  challenge: ', error="invalid_request"',
});

/** The title of a test: what is expected, and of what. */
export function titleOf({ what, status }: { readonly what: string; readonly status: number }): string {
  return status === 200 ? `accepts ${what}` : `refuses ${what} with ${status}`;
}

/** What RFC 6750 and RFC 9110 require, and mistakes of similar packages. */
export const BEARER_CASES: readonly BearerCase[] = [
  accepted('Bearer T', authorization(`Bearer ${T}`)),
  accepted('bearer T', authorization(`bearer ${T}`)),
  accepted('BEARER T', authorization(`BEARER ${T}`)),
  accepted('two spaces before the token', authorization(`Bearer  ${T}`)),
  accepted('the field name in another case', ['aUTHORIZATION', `Bearer ${T}`]),
  malformed('a TAB instead of the space', authorization(`Bearer\t${T}`)),
  malformed('a word after the token', authorization(`Bearer ${T} x`)),
  malformed('two credentials in one line', authorization(`Bearer ${T}, Bearer ${T}`)),
  malformed('Bearer without a token', authorization('Bearer')),
  malformed('Bearer with only spaces', authorization('Bearer   ')),
  malformed('no space before the token', authorization(`Bearer${T}`)),
  malformed('a colon after Bearer', authorization(`Bearer: ${T}`)),
  malformed('a quoted token', authorization(`Bearer "${T}"`)),
  malformed('the token as a parameter', authorization(`Bearer token=${T}`)),
  malformed('two Authorization lines', authorization(`Bearer ${T}`), authorization(`Bearer ${T}`)),
  malformed('two different lines, the valid one first', authorization(`Bearer ${T}`), authorization(`Bearer ${T}x`)),
  malformed('two different lines, the valid one last', authorization('Basic eDp5'), authorization(`Bearer ${T}`)),
  missing('a request without credentials'),
  missing('an empty Authorization line', authorization('')),
  missing('Basic credentials', authorization(`Basic ${Buffer.from(`user:${T}`).toString('base64')}`)),
  missing('Digest credentials', authorization(`Digest username="${T}"`)),
  missing('the token without a scheme', authorization(T)),
  invalid('the token without its last character', authorization(`Bearer ${T.slice(0, -1)}`)),
  invalid('the token with one more character', authorization(`Bearer ${T}x`)),
  invalid('the token with padding', authorization(`Bearer ${T}=`)),
  invalid('the token in another case', authorization(`Bearer ${T.toUpperCase()}`)),
  invalid('the credential of another header', authorization(`Bearer ${OTHER_SECRET}`)),
  {
    what: 'a token of 12 KB',
    headers: [authorization(`Bearer ${'x'.repeat(12_288)}`)],
    status: 431,
    challenge: undefined,
  },
  { ...missing('the token in the query'), url: `/?access_token=${T}` },
  { ...missing('an Authorization parameter in the query'), url: `/?Authorization=Bearer%20${T}` },
  missing('the token in a cookie', ['Cookie', `access_token=${T}; Authorization=Bearer ${T}`]),
  missing('the token in Proxy-Authorization', ['Proxy-Authorization', `Bearer ${T}`]),
  missing('the token in X-Forwarded-Authorization', ['X-Forwarded-Authorization', `Bearer ${T}`]),
  accepted('the other credential in its own header', ['X-API-Key', OTHER_SECRET]),
  malformed('two different credentials', authorization(`Bearer ${T}`), ['X-API-Key', OTHER_SECRET]),
  malformed('two different credentials, the first one invalid', authorization('Bearer nonsense'), [
    'X-API-Key',
    OTHER_SECRET,
  ]),
  malformed('X-API-Key twice', ['X-API-Key', OTHER_SECRET], ['X-API-Key', OTHER_SECRET]),
  missing('a blank X-API-Key', ['X-API-Key', ' ']),
];
