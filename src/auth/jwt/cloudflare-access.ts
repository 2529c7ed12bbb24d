import { badOption, checkOptionNames, OptionError } from '../../core/option.js';
import type { Authenticator } from '../authenticator.js';
import { readFieldToken } from '../field-token.js';
import { jwtAuthenticator } from './jwt.js';
import type { JwksOptions } from './remote-keys.js';

/** What `cloudflareAccess` takes. */
export interface CloudflareAccessOptions {
  /** The team's domain: `my-team`, or `my-team.cloudflareaccess.com`. */
  readonly teamDomain: string;
  /** The Application Audience (AUD) tag, or several. */
  readonly audience: string | readonly string[];
  /** Where the team's keys are, if elsewhere than under its domain: behind a proxy, or in tests. */
  readonly certsUrl?: string;
  /** How the keys are asked for. */
  readonly jwks?: JwksOptions;
  /** Epoch milliseconds. Default `Date.now`. */
  readonly now?: () => number;
}

const SUFFIX = '.cloudflareaccess.com';
const TEAM = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;

/**
 * Lets in whoever Cloudflare Access has let in: verifies `Cf-Access-Jwt-Assertion` against the team's keys, issuer and
 * audience. `Cf-Access-Authenticated-User-Email` and the like mean nothing by themselves: anybody can send them who finds
 * a way around Cloudflare. `principal.id` is the user's email address, or a service token's common name.
 *
 * ```ts
 * authenticate(cloudflareAccess({ teamDomain: 'my-team', audience: process.env.ACCESS_AUD ?? '' }))
 * ```
 * @throws OptionError
 * @see https://developers.cloudflare.com/cloudflare-one/access-controls/applications/http-apps/authorization-cookie/validating-json/
 */
export function cloudflareAccess(options: CloudflareAccessOptions): Authenticator {
  const factory = 'cloudflareAccess';
  checkOptionNames(factory, options, ['teamDomain', 'audience', 'certsUrl', 'jwks', 'now']);
  const { teamDomain, audience, jwks = {}, now = Date.now } = options;
  const team =
    typeof teamDomain === 'string' && teamDomain.endsWith(SUFFIX) ? teamDomain.slice(0, -SUFFIX.length) : teamDomain;
  if (typeof team !== 'string' || !TEAM.test(team)) {
    throw badOption(factory, 'teamDomain', `must be the name of a team, or that and ${SUFFIX}`, teamDomain);
  }
  if (audience === undefined) throw new OptionError(`gatewarden: ${factory} "audience" must be given`);
  const origin = `https://${team}${SUFFIX}`;
  return jwtAuthenticator(
    factory,
    'cloudflare-access',
    'Cloudflare-Access',
    (request) => readFieldToken(request, 'cf-access-jwt-assertion'),
    {
      algorithms: ['RS256'],
      jwksUrl: options.certsUrl ?? `${origin}/cdn-cgi/access/certs`,
      jwks,
      issuer: origin,
      audience,
      subject: ({ email, common_name: name }) =>
        [email, name].find((id) => typeof id === 'string' && id !== '') as string,
      now,
    },
  );
}
