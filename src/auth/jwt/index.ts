export { type CloudflareAccessOptions, cloudflareAccess } from './cloudflare-access.js';
export { jwt } from './jwt.js';
export { type JwtIssuer, type JwtIssuerOptions, jwtIssuer } from './jwt-issuer.js';
export type { JwtOptions } from './jwt-options.js';
export type { JwtAlgorithm, JwtKey } from './key.js';
export type { JwksOptions } from './remote-keys.js';
export type { JwtCacheOptions } from './token-cache.js';
export type { JwtKeyEntry } from './verification-keys.js';
