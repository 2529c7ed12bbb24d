/**
 * All guards except `upload`, limits in memory, and the authentication schemes that need no other package. Also the
 * contracts for guards, stores and authenticators of your own.
 * @module gatewarden
 */
export {
  type AdminApiKeyOptions,
  type ApiKeyRecordOptions,
  adminApiKey,
  apiKeyRecord,
} from './auth/api-keys/api-key-record.js';
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
export type { ApiKeyCacheOptions, ApiKeyLookupOptions, ApiKeyStore } from './auth/api-keys/key-store.js';
export { type ParseApiKeysOptions, parseApiKeys } from './auth/api-keys/parse-api-keys.js';
export type { ApiKeyDigest, ApiKeyRecord, ApiKeyRow } from './auth/api-keys/record.js';
export { type AuthenticateOptions, authenticate, type FailureLimit } from './auth/authenticate.js';
export type { Authenticator, Credentials, Verdict } from './auth/authenticator.js';
export { type DevelopmentBypassOptions, developmentBypass } from './auth/development-bypass.js';
export { type IngestTokenOptions, ingestToken } from './auth/ingest-token.js';
export { type ProtectedResource, type ProtectedResourceOptions, protectedResource } from './auth/protected-resource.js';
export { type RequireScopeOptions, requireScope } from './auth/require-scope.js';
export type { SharedSecretEntry } from './auth/secret-set.js';
export { type SharedSecretOptions, sharedSecret } from './auth/shared-secret.js';
export {
  type MemoryReplayStore,
  type MemoryReplayStoreOptions,
  memoryReplayStore,
} from './auth/signed-request/memory-replay-store.js';
export type { Remembered, ReplayStore } from './auth/signed-request/replay-store.js';
export { type SignatureHeaders, type SignRequestOptions, signRequest } from './auth/signed-request/sign-request.js';
export { type SignedRequestOptions, signedRequest } from './auth/signed-request/signed-request.js';
export type { SigningKeyEntry } from './auth/signed-request/signing-keys.js';
export { type ClientIpOptions, clientIp, type ForwardingHeader } from './client-ip/client-ip.js';
export { addressKey } from './core/address.js';
export type { Admission, AdmissionHold } from './core/admission.js';
export type { ClientIp, ClientIpReason } from './core/client-ip.js';
export type { Duration } from './core/duration.js';
export { type EndHook, Exchange, type ExchangeLocals, type FaultReporter } from './core/exchange.js';
export type { Guard } from './core/guard.js';
export type {
  JobBooking,
  Ledger,
  Usage,
  UsageChange,
  UsageOrder,
  UsagePage,
  UsageQuery,
  UsageRow,
} from './core/ledger.js';
export { OptionError } from './core/option.js';
export type { Outcome } from './core/outcome.js';
export type { OwnProblem } from './core/own-problem.js';
export { type Principal, principalOf } from './core/principal.js';
export {
  type Problem,
  type ProblemCode,
  type ProblemFormats,
  problem,
  type WireProblem,
} from './core/problem.js';
export { problemFormat } from './core/problem-format.js';
export type { ProblemMembers } from './core/problem-members.js';
export type { QueuePlace } from './core/queue-place.js';
export type { QuotaState } from './core/quota-state.js';
export { type RenderedReply, renderReply } from './core/render-reply.js';
export { jsonReply, type Reply, refuse } from './core/reply.js';
export { reportFaults } from './core/report-faults.js';
export type {
  CapturedResponse,
  RequestBody,
  RequestView,
  ResponseHeaders,
  ResponseReceiver,
} from './core/request-view.js';
export { sequence } from './core/sequence.js';
export type { Size } from './core/size.js';
export type { Time } from './core/time.js';
export { type SaveOptions, type Upload, type UploadedFile, uploadOf } from './core/uploaded-file.js';
export { type WebSocketOriginOptions, webSocketOrigin } from './core/web-socket-origin.js';
export type { CspDirectives } from './edge/content-security-policy.js';
export { type CorsOptions, cors } from './edge/cors.js';
export { type SecurityHeadersOptions, securityHeaders } from './edge/security-headers.js';
export { type TrustedHostsOptions, trustedHosts } from './edge/trusted-hosts.js';
export type { Cost } from './limit/cost.js';
export { type FailedAuthLimit, type FailedAuthLimitOptions, failedAuthLimit } from './limit/failed-auth-limit.js';
export { limit } from './limit/limit.js';
export type { LimitDecision } from './limit/limit-decision.js';
export type { LimitGuard } from './limit/limit-guard.js';
export type { LimitOptions } from './limit/limit-options.js';
export type { JournalEvent } from './limit/memory/journal/journal-events.js';
export type { JournalOptions, OnJournalFailure } from './limit/memory/journal/journal-options.js';
export type { MemoryStore } from './limit/memory/memory-limit-store.js';
export { type MemoryStoreOptions, memoryStore } from './limit/memory/memory-store.js';
export { type Concurrency, type ConcurrencyOptions, concurrency } from './limit/policies/concurrency.js';
export { type DailyQuota, type DailyQuotaOptions, dailyQuota } from './limit/policies/daily-quota.js';
export { type Estimate, type GpuTime, type GpuTimeOptions, gpuTime } from './limit/policies/gpu-time.js';
export {
  type LearnedEstimate,
  type LearnedEstimateOptions,
  learnedEstimate,
} from './limit/policies/learned-estimate.js';
export type { PartitionBy } from './limit/policies/policy-core.js';
export { type SlidingWindow, type SlidingWindowOptions, slidingWindow } from './limit/policies/sliding-window.js';
export type { QuotaPolicy } from './limit/policy.js';
export type { QueueOptions, QueueWeight } from './limit/queue/queue-options.js';
export type {
  Joined,
  JoinRequest,
  QueueSettings,
  Ticket,
  TurnResult,
  WaitingQueue,
} from './limit/queue/waiting-queue.js';
export type { CapacityStatus } from './limit/quota-refusal.js';
export type { RefundCause } from './limit/refund.js';
export { type Decision, type Hold, type LimitStore, type Receipt, StoreError, type Violation } from './limit/store.js';
export {
  type AccessLogFields,
  type AccessLogOptions,
  type AccessLogStart,
  type AccessLogStartFields,
  accessLog,
  type Logger,
} from './observe/access-log.js';
export { type AuditOptions, type AuditRecord, audit } from './observe/audit.js';
export { type ProcessTimeOptions, processTime } from './observe/process-time.js';
export { type RequestIdOptions, requestId } from './observe/request-id.js';
export { type MemoryLedger, type MemoryLedgerOptions, memoryLedger } from './observe/usage/memory-ledger.js';
export { type MeterUsageOptions, meterUsage } from './observe/usage/meter-usage.js';
export { type UsageReportOptions, usageReport } from './observe/usage/usage-report.js';
