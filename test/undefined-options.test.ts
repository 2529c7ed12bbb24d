import {
  type AccessLogOptions,
  type AdminApiKeyOptions,
  type ApiKeyDigest,
  type ApiKeyRecord,
  type ApiKeyRecordOptions,
  type ApiKeySetOptions,
  type ApiKeyStoreOptions,
  type AuditOptions,
  type AuthenticateOptions,
  accessLog,
  adminApiKey,
  apiKeyRecord,
  apiKeys,
  audit,
  authenticate,
  type ClientIpOptions,
  type ConcurrencyOptions,
  type CorsOptions,
  clientIp,
  concurrency,
  cors,
  type DailyQuotaOptions,
  type DevelopmentBypassOptions,
  dailyQuota,
  developmentBypass,
  type FailedAuthLimitOptions,
  failedAuthLimit,
  type GenerateApiKeyOptions,
  type GpuTimeOptions,
  generateApiKey,
  gpuTime,
  type IngestTokenOptions,
  ingestToken,
  type LearnedEstimateOptions,
  type LimitOptions,
  learnedEstimate,
  limit,
  type MemoryLedgerOptions,
  type MemoryReplayStoreOptions,
  type MemoryStoreOptions,
  memoryLedger,
  memoryReplayStore,
  memoryStore,
  OptionError,
  type ParseApiKeysOptions,
  type ProcessTimeOptions,
  parseApiKeys,
  processTime,
  type QueueOptions,
  type RequestIdOptions,
  type RequireScopeOptions,
  type RotateApiKeyOptions,
  requestId,
  requireScope,
  rotateApiKey,
  type SecurityHeadersOptions,
  type SharedSecretOptions,
  type SignedRequestOptions,
  type SigningKeyEntry,
  type SignRequestOptions,
  type SlidingWindowOptions,
  securityHeaders,
  sharedSecret,
  signedRequest,
  signRequest,
  slidingWindow,
  type TrustedHostsOptions,
  trustedHosts,
  type WebSocketOriginOptions,
  webSocketOrigin,
} from 'gatewarden';
import {
  type IdempotentOptions,
  idempotent,
  type JobResultOptions,
  type JobRouteOptions,
  type JobsOptions,
  type JobTaskOptions,
  jobs,
  type MemoryIdempotencyStoreOptions,
  type MemoryJobStoreOptions,
  memoryIdempotencyStore,
  memoryJobStore,
} from 'gatewarden/jobs';
import {
  type CloudflareAccessOptions,
  cloudflareAccess,
  type JwtIssuerOptions,
  type JwtOptions,
  jwt,
  jwtIssuer,
} from 'gatewarden/jwt';
import {
  type RedisIdempotencyStoreOptions,
  type RedisJobStoreOptions,
  type RedisLedgerOptions,
  type RedisReplayStoreOptions,
  type RedisStoreOptions,
  redisIdempotencyStore,
  redisJobStore,
  redisLedger,
  redisReplayStore,
  redisStore,
} from 'gatewarden/redis';
import { type SqliteDatabase, type SqliteStoreOptions, sqliteStore } from 'gatewarden/sqlite';
import { type CreateGuardUpgradeOptions, createGuardUpgrade } from 'gatewarden/upgrade';
import {
  type FieldOptions,
  type FileOptions,
  type ImageInspectorOptions,
  imageInspector,
  type SpoolOptions,
  type UploadOptions,
  upload,
} from 'gatewarden/upload';
import { type CreateGuardedOptions, createGuarded } from 'gatewarden/web';
import { type DeadlineOptions, deadline, type WorkerOptions, worker } from 'gatewarden/worker';
import { describe, expect, it } from 'vitest';

const SECRET = 'c4n4ry-secret-0123456789-0123456789';
const { record } = generateApiKey();

/** Options that do not accept `undefined`: an unset variable would switch off what they check, without a word. */
type Strict =
  | 'issuer'
  | 'audience'
  | 'typ'
  | 'requiredClaims'
  | 'isRevoked'
  | 'pepper'
  | 'authority'
  | 'failedAuthLimit'
  | 'requireHeader'
  | 'decode'
  | 'onFile';

type OptionalKeys<T> = { [K in keyof T]-?: object extends Pick<T, K> ? K : never }[keyof T];

/** Every optional member of `T` that is not strict, as `undefined`. Does not compile if one of them does not accept it. */
type Undefined<T> = { [K in Exclude<OptionalKeys<T>, Strict>]-?: undefined };

/** The compiler accepts each set of options only if every optional one may be `undefined`. */
function absent<T>(options: Undefined<T>): Undefined<T> & Pick<T, never> {
  return options;
}

const now = undefined;

describe('an option that is undefined counts as absent', () => {
  it.each<[string, () => unknown]>([
    [
      'accessLog',
      () =>
        accessLog({
          logger: console,
          ...absent<AccessLogOptions>({ hashKey: undefined, skip: undefined, start: undefined }),
        }),
    ],
    ['adminApiKey', () => adminApiKey(SECRET, absent<AdminApiKeyOptions>({ clientId: undefined, id: undefined }))],
    [
      'apiKeyRecord',
      () =>
        apiKeyRecord(SECRET, {
          clientId: 'acme',
          ...absent<ApiKeyRecordOptions>({
            id: undefined,
            name: undefined,
            scopes: undefined,
            expiresAt: undefined,
            limits: undefined,
            metadata: undefined,
          }),
        }),
    ],
    [
      'apiKeys with keys',
      () =>
        apiKeys({
          keys: [
            {
              ...record,
              digests: [
                {
                  digest: record.digests[0]?.digest ?? '',
                  ...absent<ApiKeyDigest>({ notBefore: undefined, expiresAt: undefined }),
                },
              ],
              ...absent<ApiKeyRecord>({
                name: undefined,
                scopes: undefined,
                enabled: undefined,
                limits: undefined,
                metadata: undefined,
              }),
            },
          ],
          ...absent<ApiKeySetOptions>({ header: undefined, bearer: undefined, prefix: undefined, now }),
        }),
    ],
    [
      'apiKeys with keys, and undefined for a store',
      () => apiKeys({ keys: [record], store: undefined, cache: undefined, timeout: undefined } as ApiKeySetOptions),
    ],
    [
      'apiKeys with a store, and undefined for keys',
      () => apiKeys({ store: { findByDigest: async () => undefined }, keys: undefined } as ApiKeyStoreOptions),
    ],
    [
      'apiKeys with a store',
      () =>
        apiKeys({
          store: { findByDigest: async () => undefined },
          ...absent<ApiKeyStoreOptions>({
            header: undefined,
            bearer: undefined,
            prefix: undefined,
            now,
            cache: undefined,
            missCache: undefined,
            timeout: undefined,
          }),
        }),
    ],
    [
      'the caches of apiKeys',
      () =>
        apiKeys({
          store: { findByDigest: async () => undefined },
          cache: { maxEntries: undefined, maxAge: undefined },
          missCache: { maxEntries: undefined, maxAge: undefined },
        }),
    ],
    [
      'audit',
      () =>
        audit({
          sink: () => undefined,
          ...absent<AuditOptions>({ waitForStatus: undefined, hashKey: undefined, now }),
        }),
    ],
    [
      'authenticate',
      () =>
        authenticate(
          sharedSecret({ secrets: [SECRET] }),
          absent<AuthenticateOptions>({
            optional: undefined,
            realm: undefined,
            resourceMetadata: undefined,
            scopes: undefined,
          }),
        ),
    ],
    [
      'clientIp',
      () =>
        clientIp(
          absent<ClientIpOptions>({
            preset: undefined,
            trust: undefined,
            forwarder: undefined,
            headers: undefined,
            ipv6Prefix: undefined,
            trustUnixSocket: undefined,
          }),
        ),
    ],
    [
      'cloudflareAccess',
      () =>
        cloudflareAccess({
          teamDomain: 'my-team',
          audience: 'x',
          ...absent<CloudflareAccessOptions>({ certsUrl: undefined, jwks: undefined, now }),
        }),
    ],
    [
      'cors',
      () =>
        cors({
          origin: '*',
          ...absent<CorsOptions>({
            methods: undefined,
            allowedHeaders: undefined,
            exposedHeaders: undefined,
            credentials: undefined,
            maxAge: undefined,
            privateNetwork: undefined,
          }),
        }),
    ],
    [
      'createGuarded',
      () =>
        createGuarded(absent<CreateGuardedOptions>({ address: undefined, params: undefined, routePattern: undefined })),
    ],
    [
      'createGuardUpgrade',
      () => createGuardUpgrade(absent<CreateGuardUpgradeOptions>({ origin: undefined, timeout: undefined })),
    ],
    ['webSocketOrigin', () => webSocketOrigin(absent<WebSocketOriginOptions>({ origin: undefined }))],
    [
      'concurrency',
      () =>
        concurrency({
          limit: 1,
          ...absent<ConcurrencyOptions>({ by: undefined, lease: undefined, name: undefined, cost: undefined }),
        }),
    ],
    [
      'gpuTime',
      () =>
        gpuTime({
          limit: '1m',
          window: '1h',
          estimate: '1s',
          ...absent<GpuTimeOptions>({ lease: undefined, name: undefined, by: undefined, timeZone: undefined }),
        }),
    ],
    [
      'learnedEstimate',
      () =>
        learnedEstimate(
          absent<LearnedEstimateOptions>({
            initial: undefined,
            quantile: undefined,
            by: undefined,
            maxEntries: undefined,
          }),
        ),
    ],
    [
      'dailyQuota',
      () =>
        dailyQuota({
          limit: 1,
          ...absent<DailyQuotaOptions>({ timeZone: undefined, name: undefined, by: undefined, cost: undefined }),
        }),
    ],
    [
      'developmentBypass',
      () =>
        developmentBypass({
          enabled: false,
          ...absent<DevelopmentBypassOptions>({ clientId: undefined, scopes: undefined, env: undefined }),
        }),
    ],
    [
      'failedAuthLimit',
      () =>
        failedAuthLimit({
          limit: 1,
          window: '1m',
          ...absent<FailedAuthLimitOptions>({ store: undefined, by: undefined, name: undefined }),
        }),
    ],
    [
      'generateApiKey',
      () =>
        generateApiKey(
          absent<GenerateApiKeyOptions>({
            clientId: undefined,
            name: undefined,
            scopes: undefined,
            limits: undefined,
            metadata: undefined,
            expiresAt: undefined,
            prefix: undefined,
            now,
          }),
        ),
    ],
    [
      'rotateApiKey',
      () =>
        rotateApiKey(record, {
          overlap: '1d',
          ...absent<RotateApiKeyOptions>({ expiresAt: undefined, prefix: undefined, now }),
        }),
    ],
    [
      'ingestToken',
      () =>
        ingestToken({
          tokens: [SECRET],
          ...absent<IngestTokenOptions>({
            header: undefined,
            whenUnset: undefined,
            clientId: undefined,
            scopes: undefined,
            now,
          }),
        }),
    ],
    [
      'jwt',
      () =>
        jwt({
          algorithms: ['HS256'],
          ...absent<JwtOptions>({
            key: undefined,
            keys: undefined,
            jwksUrl: undefined,
            jwks: undefined,
            clockTolerance: undefined,
            subject: undefined,
            scopes: undefined,
            timeout: undefined,
            cache: undefined,
            now,
          }),
          key: SECRET,
        }),
    ],
    [
      'the cache of jwt',
      () => jwt({ algorithms: ['HS256'], key: SECRET, cache: { maxEntries: undefined, maxAge: undefined } }),
    ],
    [
      'the key set of jwt',
      () =>
        jwt({
          algorithms: ['RS256'],
          jwksUrl: 'https://auth.example/keys',
          jwks: { timeout: undefined, maxAge: undefined, staleIfError: undefined, cooldown: undefined },
        }),
    ],
    [
      'jwtIssuer',
      () =>
        jwtIssuer({
          algorithm: 'HS256',
          key: SECRET,
          expiresIn: '1h',
          ...absent<JwtIssuerOptions>({ kid: undefined, subject: undefined, now }),
        }),
    ],
    [
      'the queue of limit',
      () =>
        limit({
          policies: concurrency({ limit: 1, by: 'global' }),
          queue: absent<QueueOptions>({
            maxWait: undefined,
            maxWaiting: undefined,
            by: undefined,
            weight: undefined,
            headers: undefined,
            onQueue: undefined,
          }),
        }),
    ],
    [
      'limit',
      () =>
        limit({
          policies: slidingWindow({
            limit: 1,
            window: '1m',
            ...absent<SlidingWindowOptions>({ name: undefined, by: undefined, cost: undefined }),
          }),
          by: 'global',
          ...absent<Omit<LimitOptions, 'by'>>({
            store: undefined,
            cost: undefined,
            refundOn: undefined,
            skip: undefined,
            headers: undefined,
            legacyHeaders: undefined,
            capacityStatus: undefined,
            queue: undefined,
            enforce: undefined,
            onDecision: undefined,
          }),
        }),
    ],
    [
      'idempotent',
      () =>
        idempotent(
          absent<IdempotentOptions>({
            store: undefined,
            ttl: undefined,
            maxBytes: undefined,
            maxRequestBytes: undefined,
            required: undefined,
            join: undefined,
            joinTimeout: undefined,
            lease: undefined,
            handlerTimeout: undefined,
            remember: undefined,
            timeout: undefined,
          }),
        ),
    ],
    [
      'memoryIdempotencyStore',
      () =>
        memoryIdempotencyStore(
          absent<MemoryIdempotencyStoreOptions>({
            maxEntries: undefined,
            maxEntriesPerClient: undefined,
            maxBytes: undefined,
            now,
          }),
        ),
    ],
    ['memoryReplayStore', () => memoryReplayStore(absent<MemoryReplayStoreOptions>({ maxEntries: undefined, now }))],
    ['memoryStore', () => memoryStore(absent<MemoryStoreOptions>({ maxEntries: undefined, journal: undefined, now }))],
    ['parseApiKeys', () => parseApiKeys(`${SECRET}:acme:1`, absent<ParseApiKeysOptions>({ limitName: undefined }))],
    ['processTime', () => processTime(absent<ProcessTimeOptions>({ serverTiming: undefined }))],
    ['requestId', () => requestId(absent<RequestIdOptions>({ generate: undefined }))],
    [
      'requireScope',
      () => requireScope('admin', absent<RequireScopeOptions>({ realm: undefined, resourceMetadata: undefined })),
    ],
    [
      'redisLedger',
      () =>
        redisLedger({
          client: client(),
          ...absent<RedisLedgerOptions>({
            prefix: undefined,
            timeZone: undefined,
            keepDays: undefined,
            interval: undefined,
            timeout: undefined,
            now,
          }),
        }),
    ],
    [
      'redisStore',
      () =>
        redisStore({
          client: client(),
          ...absent<RedisStoreOptions>({
            prefix: undefined,
            timeout: undefined,
            onStoreFailure: undefined,
            instances: undefined,
            ahead: undefined,
            refusalCache: undefined,
            subscriber: undefined,
            queueInterval: undefined,
            onEvent: undefined,
            now,
          }),
        }),
    ],
    [
      'sqliteStore',
      () =>
        sqliteStore({
          database: sqliteDatabase(),
          ...absent<Omit<SqliteStoreOptions, 'database'>>({
            path: undefined,
            timeout: undefined,
            maxEntries: undefined,
            onEvent: undefined,
            now,
          }),
        }),
    ],
    [
      'redisIdempotencyStore',
      () => redisIdempotencyStore({ client: client(), ...absent<RedisIdempotencyStoreOptions>({ prefix: undefined }) }),
    ],
    [
      'redisJobStore',
      () =>
        redisJobStore({
          client: client(),
          ...absent<RedisJobStoreOptions>({
            prefix: undefined,
            subscriber: undefined,
            pollInterval: undefined,
            timeout: undefined,
            now,
          }),
        }),
    ],
    [
      'redisReplayStore',
      () =>
        redisReplayStore({
          client: client(),
          ...absent<RedisReplayStoreOptions>({ prefix: undefined, timeout: undefined, now }),
        }),
    ],
    [
      'securityHeaders',
      () =>
        securityHeaders(
          absent<SecurityHeadersOptions>({
            preset: undefined,
            xContentTypeOptions: undefined,
            xFrameOptions: undefined,
            contentSecurityPolicy: undefined,
            xXssProtection: undefined,
            strictTransportSecurity: undefined,
            referrerPolicy: undefined,
            permissionsPolicy: undefined,
            crossOriginResourcePolicy: undefined,
            crossOriginOpenerPolicy: undefined,
            crossOriginEmbedderPolicy: undefined,
            originAgentCluster: undefined,
          }),
        ),
    ],
    [
      'sharedSecret',
      () =>
        sharedSecret({
          secrets: [{ secret: SECRET, id: undefined }],
          ...absent<SharedSecretOptions>({ clientId: undefined, scopes: undefined, now }),
        }),
    ],
    [
      'signedRequest',
      () =>
        signedRequest({
          keys: [{ id: 'main', secret: SECRET, clientId: undefined, scopes: undefined } satisfies SigningKeyEntry],
          replayStore: memoryReplayStore(),
          ...absent<SignedRequestOptions>({ tolerance: undefined, maxBytes: undefined, timeout: undefined, now }),
        }),
    ],
    [
      'signRequest',
      () =>
        signRequest({
          keyId: 'main',
          secret: SECRET,
          method: 'GET',
          url: 'http://localhost',
          ...absent<SignRequestOptions>({ body: undefined, timestamp: undefined, nonce: undefined }),
        }),
    ],
    [
      'trustedHosts',
      () => trustedHosts({ hosts: ['localhost'], ...absent<TrustedHostsOptions>({ forwardedHost: undefined }) }),
    ],
    [
      'upload',
      () =>
        upload({
          files: {
            types: ['image/png'],
            maxBytes: '1mb',
            ...absent<FileOptions>({
              maxCount: undefined,
              minCount: undefined,
              fields: undefined,
              maxPixels: undefined,
              animated: undefined,
            }),
          },
          ...absent<UploadOptions>({ fields: undefined, spool: undefined }),
        }),
    ],
    [
      'the fields and the spool of upload',
      () =>
        upload({
          files: { types: ['image/png'], maxBytes: '1mb' },
          fields: absent<FieldOptions>({ maxCount: undefined, maxBytes: undefined }),
          spool: absent<SpoolOptions>({ memoryBytes: undefined, directory: undefined }),
        }),
    ],
    [
      'memoryLedger',
      () =>
        memoryLedger(
          absent<MemoryLedgerOptions>({
            timeZone: undefined,
            keepDays: undefined,
            maxClients: undefined,
            file: undefined,
            interval: undefined,
            now,
          }),
        ),
    ],
    [
      'worker',
      () =>
        worker({
          url: 'http://127.0.0.1:8090',
          ...absent<WorkerOptions>({
            slots: undefined,
            deadline: undefined,
            grace: undefined,
            probeMaxAge: undefined,
            probeTimeout: undefined,
            chargeFailures: undefined,
            headers: undefined,
            ledger: undefined,
            onEvent: undefined,
            fetch: undefined,
          }),
        }),
    ],
    [
      'jobs',
      async () => {
        const store = memoryJobStore({ ...absent<MemoryJobStoreOptions>({ maxJobs: undefined, now }) });
        const queue = jobs({
          store,
          ...absent<JobsOptions>({
            ttl: undefined,
            path: undefined,
            results: undefined,
            maxResultBytes: undefined,
            maxBytes: undefined,
            maxFiles: undefined,
            lease: undefined,
            wait: undefined,
            cancelOnLeave: undefined,
            adminScope: undefined,
            maxStreams: undefined,
            heartbeat: undefined,
            tasks: undefined,
            onFault: undefined,
          }),
        });
        jobs({ store, tasks: { task: { run: () => 1, ...absent<JobTaskOptions>({ guards: undefined }) } } });
        const route = absent<JobRouteOptions>({ param: undefined });
        for (const guard of [queue.status, queue.events, queue.cancel, queue.requireOwner]) guard(route);
        queue.result(absent<JobResultOptions>({ param: undefined, file: undefined }));
        await queue.close({ wait: undefined });
      },
    ],
    ['deadline', () => deadline({ max: '1s', ...absent<DeadlineOptions>({ header: undefined }) })],
    [
      'imageInspector',
      () =>
        imageInspector({
          types: ['image/png'],
          maxBytes: '1mb',
          ...absent<ImageInspectorOptions>({ maxPixels: undefined, animated: undefined }),
        }),
    ],
  ])('%s', (_name, make) => {
    expect(make).not.toThrow();
  });

  it('adminApiKey has its default client', () => {
    expect(adminApiKey(SECRET, { clientId: undefined })).toMatchObject({ id: 'admin', clientId: 'admin' });
  });
});

describe('an option that switches a check on must have a value', () => {
  const jwtOptions = { algorithms: ['HS256'], key: SECRET } as const;
  const signed = { keys: [{ id: 'main', secret: SECRET }], replayStore: memoryReplayStore() };
  const unset = process.env.GATEWARDEN_UNSET;
  it.each<[string, () => unknown]>([
    // @ts-expect-error An unset variable does not compile.
    ['jwt "audience"', () => jwt({ ...jwtOptions, audience: unset })],
    // @ts-expect-error An unset variable does not compile.
    ['jwt "issuer"', () => jwt({ ...jwtOptions, issuer: unset })],
    // @ts-expect-error An unset variable does not compile.
    ['signedRequest "authority"', () => signedRequest({ ...signed, authority: unset })],
  ])('%s', (start, make) => {
    expect(make).toThrow(OptionError);
    expect(make).toThrow(
      `gatewarden: ${start} must have a value, got undefined; to skip this check, leave the option out`,
    );
  });
});

/** A client that is never used. */
/** Has the tables of a store. Not every Node has `node:sqlite`. */
function sqliteDatabase(): SqliteDatabase {
  return {
    exec: () => undefined,
    prepare: () => ({
      get: () => ({ version: 1 }),
      all: () => [{ name: 'gatewarden_limits_info' }],
      run: () => undefined,
    }),
  };
}

function client(): never {
  const unused = () => Promise.reject(new Error('not used'));
  return {
    set: unused,
    exists: unused,
    info: unused,
    on: () => undefined,
    eval: unused,
    evalsha: unused,
    incr: unused,
    zadd: unused,
    zrem: unused,
    evalshaBuffer: unused,
    evalBuffer: unused,
    script: unused,
  } as never;
}
