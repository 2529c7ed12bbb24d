/** What the snippets read from the environment. */
export const ENVIRONMENT = {
  ACCESS_AUD: 'aud-tag',
  ACCESS_TEAM: 'my-team',
  ADMIN_API_KEY: 'c4n4ry-key-of-the-admin-000000',
  API_KEY: 'c4n4ry-key-000000000000',
  API_KEYS: 'c4n4ry-key-of-one-000000:one:2, c4n4ry-key-of-two-000000:two:1',
  ENVIRONMENT: 'development',
  INGEST_TOKEN: 'c4n4ry-ingest-token-0123',
  JWT_SECRET: 'c4n4ry-jwt-secret-0123456789-0123456789',
  NODE_ENV: 'test',
  OLD_SECRET_KEY: 'c4n4ry-earlier-secret-0123456789-0123456789',
  PARTNER_KEY: 'c4n4ry-key-of-a-partner-000000',
  PEPPER: 'c4n4ry-pepper-0123456789-0123456789-0123456789',
  SECRET_KEY: 'c4n4ry-shared-secret-0123456789-0123456789',
  SIGNING_SECRET: 'c4n4ry-signing-secret-0123456789-0123456789',
} as const;
