import { badOption, checkOptionNames, OptionError, type OptionNames } from '../../core/option.js';
import type { Authenticator } from '../authenticator.js';
import { readFieldToken } from '../field-token.js';
import { jwtAuthenticator } from './jwt-authenticator.js';
import { type JwksOptions, jwksUrl } from './remote-keys.js';
import type { Claims } from './token-principal.js';

/** The options of `cloudflareAccess`. */
export interface CloudflareAccessOptions {
  /** The team domain: `my-team` or `my-team.cloudflareaccess.com`. */
  readonly teamDomain: string;
  /** The Application Audience (AUD) tag, or several. */
  readonly audience: string | readonly string[];
  /**
   * The URL of the team's keys. Default `/cdn-cgi/access/certs` of the team domain. Set it behind a proxy or in tests.
   */
  readonly certsUrl?: string | undefined;
  /** How the keys are fetched and cached. */
  readonly jwks?: JwksOptions | undefined;
  /** The clock, in epoch milliseconds. Default `Date.now`. */
  readonly now?: (() => number) | undefined;
}

const FACTORY = 'cloudflareAccess';
const OPTIONS: OptionNames<CloudflareAccessOptions> = {
  teamDomain: true,
  audience: true,
  certsUrl: true,
  jwks: true,
  now: true,
};
const SUFFIX = '.cloudflareaccess.com';
const TEAM = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;

/**
 * Accepts users and services that Cloudflare Access has authenticated. It verifies the token in
 * `Cf-Access-Jwt-Assertion` against the keys, issuer and audience of the team. `principal.id` is the user's email
 * address, or the common name of a service token.
 *
 * It ignores `Cf-Access-Authenticated-User-Email` and similar headers: a client that reaches the service directly can
 * send any value in them.
 *
 * ```ts
 * authenticate(cloudflareAccess({ teamDomain: 'my-team', audience: process.env.ACCESS_AUD ?? '' }))
 * ```
 * @throws OptionError for a bad team domain, a missing audience, or any other bad option
 * @see https://developers.cloudflare.com/cloudflare-one/access-controls/applications/http-apps/authorization-cookie/validating-json/
 */
export function cloudflareAccess(options: CloudflareAccessOptions): Authenticator {
  checkOptionNames(FACTORY, options, OPTIONS);
  const { audience, jwks = {}, now } = options;
  const origin = `https://${teamName(options.teamDomain)}${SUFFIX}`;
  if (audience === undefined)
    throw new OptionError(`gatewarden: ${FACTORY} "audience" must be given; use the AUD tag of the Access application`);
  const certsUrl = jwksUrl(FACTORY, 'certsUrl', options.certsUrl ?? `${origin}/cdn-cgi/access/certs`);
  return jwtAuthenticator(
    FACTORY,
    'cloudflare-access',
    'Cloudflare-Access',
    (request) => readFieldToken(request, 'cf-access-jwt-assertion'),
    {
      algorithms: ['RS256'],
      jwksUrl: certsUrl.href,
      jwks,
      issuer: origin,
      audience,
      subject: emailOrCommonName,
      ...(now === undefined ? {} : { now }),
    },
  );
}

function teamName(teamDomain: unknown): string {
  const name =
    typeof teamDomain === 'string' && teamDomain.endsWith(SUFFIX) ? teamDomain.slice(0, -SUFFIX.length) : teamDomain;
  if (typeof name !== 'string' || !TEAM.test(name)) {
    throw badOption(FACTORY, 'teamDomain', `must be a team name, alone or followed by ${SUFFIX}`, teamDomain);
  }
  return name;
}

/** Tokens of users have an email address. Tokens of services have a common name instead. */
function emailOrCommonName({ email, common_name: commonName }: Claims): string | undefined {
  return [email, commonName].find((id): id is string => typeof id === 'string' && id !== '');
}
