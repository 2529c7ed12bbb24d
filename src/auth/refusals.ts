import type { Exchange } from '../core/exchange.js';
import { OptionError } from '../core/option.js';
import { problem } from '../core/problem.js';
import { type Reply, refuse } from '../core/reply.js';
import type { Authenticator } from './authenticator.js';
import { challenge, checkRealm, isTokenScheme, repliesByMetadata } from './challenge.js';
import { checkUrl } from './protected-resource.js';
import { scopeList } from './scope.js';

const FACTORY = 'authenticate';
const RETRY_AFTER_SECONDS = '5';

/** The refusals of `authenticate`, made once for each `protectedResource`. @throws OptionError */
export function authenticationRefusals(
  schemes: readonly Authenticator[],
  realm: string,
  options: { readonly resourceMetadata?: string | undefined; readonly scopes?: readonly string[] | undefined },
) {
  checkRealm(FACTORY, realm);
  const { resourceMetadata } = options;
  if (resourceMetadata !== undefined) checkUrl('resourceMetadata', resourceMetadata, FACTORY);
  const scopes = options.scopes === undefined ? undefined : scopeList(FACTORY, 'scopes', options.scopes);
  const challengeNames = [...new Set(schemes.map((scheme) => scheme.challenge))];
  if ((resourceMetadata !== undefined || scopes !== undefined) && !challengeNames.some(isTokenScheme)) {
    throw new OptionError(
      'gatewarden: authenticate "resourceMetadata" and "scopes" need a scheme with bearer tokens, such as jwt(...)',
    );
  }
  const repliesFor = repliesByMetadata((found) => {
    const parameters = { scopes: scopes ?? found?.scopes, resourceMetadata: resourceMetadata ?? found?.url };
    const challenges = (error?: string): Reply['headers'] => [
      [
        'WWW-Authenticate',
        challengeNames
          .map((name) => challenge(name, realm, isTokenScheme(name) ? { error, ...parameters } : { error }))
          .join(', '),
      ],
    ];
    return {
      missing: refuse(problem('credentials-missing'), challenges()),
      malformed: refuse(problem('credentials-malformed'), challenges('invalid_request')),
      invalid: refuse(problem('credentials-invalid'), challenges('invalid_token')),
      tooLarge: refuse(problem('credentials-too-large')),
      contentTooLarge: refuse(problem('content-too-large')),
      unavailable: refuse(problem('authentication-unavailable'), [['Retry-After', RETRY_AFTER_SECONDS]]),
    };
  });
  return (exchange: Exchange) => repliesFor(exchange.resourceMetadata);
}
