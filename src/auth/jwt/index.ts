/**
 * JSON Web Tokens (RFC 7519): verifies and issues them, and verifies those of Cloudflare Access.
 * @module gatewarden/jwt
 */
export { type CloudflareAccessOptions, cloudflareAccess } from './cloudflare-access.js';
export { jwt } from './jwt.js';
export { type JwtIssuer, type JwtIssuerOptions, jwtIssuer } from './jwt-issuer.js';
export type { JwtOptions } from './jwt-options.js';
export type { JwtAlgorithm, JwtKey } from './key.js';
export type { JwksOptions } from './remote-keys.js';
export type { JwtCacheOptions } from './token-cache.js';
export type { JwtKeyEntry } from './verification-keys.js';
