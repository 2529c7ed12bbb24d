import type { HeaderLine } from '../exchange-fixture.js';

/** The credential that the attacked service takes. */
export const BEARER_SECRET = 'attacked-service-c4n4ry-secret-0123456789';
/** Another that it takes, as an API key in `X-API-Key`. */
export const OTHER_SECRET = 'attacked-service-c4n4ry-other-0123456789';

const T = BEARER_SECRET;
const authorization = (value: string): HeaderLine => ['Authorization', value];

export interface BearerAttack {
  readonly what: string;
  readonly headers: readonly HeaderLine[];
  readonly url?: string;
  /** 200 where it is no attack. */
  readonly status: number;
  /** `WWW-Authenticate` after the realm; absent where there is no such header. */
  readonly challenge: '' | ', error="invalid_request"' | ', error="invalid_token"' | undefined;
}

const good = (what: string, ...headers: HeaderLine[]): BearerAttack => ({
  what,
  headers,
  status: 200,
  challenge: undefined,
});
const bare = (what: string, ...headers: HeaderLine[]): BearerAttack => ({ what, headers, status: 401, challenge: '' });
const bad = (what: string, ...headers: HeaderLine[]): BearerAttack => ({
  what,
  headers,
  status: 401,
  challenge: ', error="invalid_token"',
});
const malformed = (what: string, ...headers: HeaderLine[]): BearerAttack => ({
  what,
  headers,
  status: 400,
  challenge: ', error="invalid_request"',
});

/** RFC 6750 and RFC 9110, and what peers get wrong. */
export const BEARER_ATTACKS: readonly BearerAttack[] = [
  good('Bearer T', authorization(`Bearer ${T}`)),
  good('bearer T', authorization(`bearer ${T}`)),
  good('BEARER T', authorization(`BEARER ${T}`)),
  good('two spaces', authorization(`Bearer  ${T}`)),
  good('the field name in another case', ['aUTHORIZATION', `Bearer ${T}`]),
  malformed('a TAB for the space', authorization(`Bearer\t${T}`)),
  malformed('a word after the token', authorization(`Bearer ${T} x`)),
  malformed('two credentials in one line', authorization(`Bearer ${T}, Bearer ${T}`)),
  malformed('no token', authorization('Bearer')),
  malformed('no token, and spaces', authorization('Bearer   ')),
  malformed('no space', authorization(`Bearer${T}`)),
  malformed('a colon', authorization(`Bearer: ${T}`)),
  malformed('quotes', authorization(`Bearer "${T}"`)),
  malformed('a parameter', authorization(`Bearer token=${T}`)),
  malformed('two Authorization lines', authorization(`Bearer ${T}`), authorization(`Bearer ${T}`)),
  malformed('two that differ, the good one first', authorization(`Bearer ${T}`), authorization(`Bearer ${T}x`)),
  malformed('two that differ, the good one last', authorization('Basic eDp5'), authorization(`Bearer ${T}`)),
  bare('none'),
  bare('an empty line', authorization('')),
  bare('Basic', authorization(`Basic ${Buffer.from(`user:${T}`).toString('base64')}`)),
  bare('Digest', authorization(`Digest username="${T}"`)),
  bare('the token alone', authorization(T)),
  bad('one character less', authorization(`Bearer ${T.slice(0, -1)}`)),
  bad('one character more', authorization(`Bearer ${T}x`)),
  bad('padding', authorization(`Bearer ${T}=`)),
  bad('another case', authorization(`Bearer ${T.toUpperCase()}`)),
  bad('the other credential, which belongs elsewhere', authorization(`Bearer ${OTHER_SECRET}`)),
  {
    what: 'a token of 12 KB',
    headers: [authorization(`Bearer ${'x'.repeat(12_288)}`)],
    status: 431,
    challenge: undefined,
  },
  { ...bare('the token in the query'), url: `/?access_token=${T}` },
  { ...bare('the token in the query, as a bearer'), url: `/?Authorization=Bearer%20${T}` },
  bare('the token in a cookie', ['Cookie', `access_token=${T}; Authorization=Bearer ${T}`]),
  bare('the token in a header of a proxy', ['Proxy-Authorization', `Bearer ${T}`]),
  bare('the token in a forwarded header', ['X-Forwarded-Authorization', `Bearer ${T}`]),
  good('the other credential in its own header', ['X-API-Key', OTHER_SECRET]),
  malformed('both, and they differ', authorization(`Bearer ${T}`), ['X-API-Key', OTHER_SECRET]),
  malformed('both, and they differ, the first bad', authorization('Bearer nonsense'), ['X-API-Key', OTHER_SECRET]),
  malformed('X-API-Key twice', ['X-API-Key', OTHER_SECRET], ['X-API-Key', OTHER_SECRET]),
  bare('X-API-Key blank', ['X-API-Key', ' ']),
];
