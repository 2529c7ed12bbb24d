export {
  type ApiKeySet,
  type ApiKeySetOptions,
  type ApiKeyStoreOptions,
  apiKeys,
  type StoredApiKeys,
} from './auth/api-keys/api-keys.js';
export {
  type GenerateApiKeyOptions,
  type GeneratedApiKey,
  generateApiKey,
  type RotateApiKeyOptions,
  rotateApiKey,
} from './auth/api-keys/generate.js';
export { type DigestApiKeyOptions, digestApiKey } from './auth/api-keys/key-digest.js';
export type { ApiKeyCacheOptions, ApiKeyStore } from './auth/api-keys/key-store.js';
export type { KeyTime } from './auth/api-keys/key-time.js';
export {
  type AdminApiKeyOptions,
  adminApiKey,
  type OpaqueApiKeyOptions,
  opaqueApiKey,
} from './auth/api-keys/opaque-key.js';
export { type ParseApiKeysOptions, parseApiKeys } from './auth/api-keys/parse-api-keys.js';
export type { ApiKeyDigest, ApiKeyRecord } from './auth/api-keys/record.js';
export { type AuditOptions, type AuditRecord, audit } from './auth/audit.js';
export { type AuthenticateOptions, authenticate, type FailureLimit } from './auth/authenticate.js';
export type { Authenticator, Credentials, Verdict } from './auth/authenticator.js';
export { type DevelopmentBypassOptions, developmentBypass } from './auth/development-bypass.js';
export { type IngestTokenOptions, ingestToken } from './auth/ingest-token.js';
export { type RequireScopeOptions, requireScope } from './auth/require-scope.js';
export type { SharedSecretEntry } from './auth/secret-set.js';
export { type SharedSecretOptions, sharedSecret } from './auth/shared-secret.js';
export {
  type MemoryReplayStore,
  type MemoryReplayStoreOptions,
  memoryReplayStore,
} from './auth/signed-request/memory-replay-store.js';
export type { Remembered, ReplayStore } from './auth/signed-request/replay-store.js';
export { type SignatureHeaders, type SignOptions, sign } from './auth/signed-request/sign.js';
export { type SignedRequestOptions, signedRequest } from './auth/signed-request/signed-request.js';
export type { SigningKeyEntry } from './auth/signed-request/signing-keys.js';
export { addressKey } from './client-ip/address.js';
export { type ClientIpOptions, clientIp, type ForwardingHeader } from './client-ip/client-ip.js';
export { type AccessLogFields, type AccessLogOptions, accessLog, type Logger } from './edge/access-log.js';
export { type CorsOptions, cors } from './edge/cors.js';
export { type ProcessTimeOptions, processTime } from './edge/process-time.js';
export { type RequestIdOptions, requestId } from './edge/request-id.js';
export { type SecurityHeadersOptions, securityHeaders } from './edge/security-headers.js';
export { type TrustedHostsOptions, trustedHosts } from './edge/trusted-hosts.js';
export {
  type Admission,
  type AuthenticationDecision,
  type AuthenticationListener,
  type ClientIp,
  type ClientIpReason,
  Exchange,
  type FaultReporter,
  type Guard,
  type Outcome,
  type Principal,
  principalOf,
  type Reply,
  type RequestBody,
  type RequestView,
  type ResponseHeaders,
  refuse,
  reportFaults,
  type SettledHook,
  type Upload,
  type UploadedFile,
} from './exchange.js';
export { type FailedAuthLimit, type FailedAuthLimitOptions, failedAuthLimit } from './limit/failed-auth-limit.js';
export { type LimitGuard, type LimitOptions, limit, type RefundCause } from './limit/limit.js';
export { type MemoryStore, type MemoryStoreOptions, memoryStore } from './limit/memory-store.js';
export {
  type DailyQuota,
  type DailyQuotaOptions,
  dailyQuota,
  type PartitionBy,
  type QuotaPolicy,
  type SlidingWindow,
  type SlidingWindowOptions,
  slidingWindow,
} from './limit/policy.js';
export { type Decision, type LimitStore, type Receipt, StoreError, type Violation } from './limit/store.js';
export { type Duration, OptionError, type Size } from './option.js';
export {
  type Problem,
  type ProblemCode,
  type ProblemFormats,
  type ProblemMembers,
  problem,
  type QuotaState,
  type WireProblem,
} from './problem.js';
export { problemFormat } from './problem-format.js';
export { sequence } from './sequence.js';
