import type { Authenticator } from '../authenticator.js';
import { readBearer } from '../bearer.js';
import { jwtAuthenticator } from './jwt-authenticator.js';
import type { JwtOptions } from './jwt-options.js';

/**
 * Accepts signed tokens (RFC 7519) in `Authorization: Bearer`. jose verifies the signatures. Before that, any token
 * that two parsers could read differently is refused: base64url that is not canonical, a member that appears twice,
 * bytes that are not UTF-8, JSON that is not an object (RFC 8725). `exp` is required. Keys inside the token (`jwk`,
 * `jku`, `x5c`, `x5u`) are ignored. A token without a dot is not a JWT, and the next scheme may accept it.
 *
 * ```ts
 * const key = process.env.JWT_SECRET ?? ''
 * authenticate(jwt({ algorithms: ['HS256'], key, issuer: 'https://auth.example', audience: 'api' }))
 * ```
 * @throws OptionError if there is no algorithm or they are of two families, for a key that is missing, too weak or does
 * not fit the algorithms (an HMAC secret must be as long as its hash), or for a bad option. No message contains a key.
 */
export function jwt(options: JwtOptions): Authenticator {
  return jwtAuthenticator('jwt', 'jwt', 'Bearer', readBearer, options);
}
