const timestamp = { type: 'string', format: 'date-time', description: 'UTC' } as const;
const problem = (description: string) => ({
  description,
  content: { 'application/json': { schema: { $ref: '#/components/schemas/Error' } } },
});
const json = (description: string, properties: object) => ({
  description,
  content: { 'application/json': { schema: { type: 'object', required: Object.keys(properties), properties } } },
});
const PROTECTED = {
  security: [{ APIKeyHeader: [] }],
} as const;
const REFUSALS = {
  403: problem('The key is missing or invalid.'),
  429: problem('Too many requests from this address. `Retry-After` says how many seconds to wait.'),
};

/** The description of the service that `/docs` and `/redoc` show (OpenAPI 3.1). */
export function openApi(version: string) {
  return {
    openapi: '3.1.0',
    info: {
      title: 'AI Factory Testing Server',
      version,
      description: 'Send the key in `X-API-Key`. The lock at the top right of `/docs` adds it to every call.',
    },
    components: {
      securitySchemes: { APIKeyHeader: { type: 'apiKey', in: 'header', name: 'X-API-Key' } },
      schemas: {
        Error: {
          type: 'object',
          required: ['detail', 'timestamp'],
          properties: { detail: { description: 'A sentence, or a list of errors in the body.' }, timestamp },
        },
        TestRequest: {
          type: 'object',
          required: ['test_name'],
          properties: {
            test_name: { type: 'string', minLength: 1, maxLength: 200 },
            iterations: { type: 'integer', minimum: 1, maximum: 1000, default: 1 },
            timeout: { type: 'integer', minimum: 1, maximum: 300, default: 30, description: 'Seconds' },
          },
        },
      },
    },
    paths: {
      '/health': {
        get: {
          summary: 'Whether the server is up',
          responses: {
            200: json('The server is up.', { status: { const: 'healthy' }, timestamp, version: { type: 'string' } }),
          },
        },
      },
      '/health/detailed': {
        get: {
          summary: 'Whether the server is up, with its configuration',
          ...PROTECTED,
          responses: {
            200: json('The server is up.', {
              status: { const: 'healthy' },
              timestamp,
              version: { type: 'string' },
              environment: { type: 'string' },
              rate_limiting: { enum: ['enabled', 'disabled'] },
              cors_origins: { type: 'array', items: { type: 'string' } },
            }),
            ...REFUSALS,
          },
        },
      },
      '/protected': {
        get: {
          summary: 'An example of a protected resource',
          ...PROTECTED,
          responses: {
            200: json('Access granted.', { message: { type: 'string' }, api_key: { type: 'string' }, timestamp }),
            ...REFUSALS,
          },
        },
      },
      '/api/test': {
        post: {
          summary: 'Run a test',
          ...PROTECTED,
          requestBody: {
            required: true,
            content: { 'application/json': { schema: { $ref: '#/components/schemas/TestRequest' } } },
          },
          responses: {
            200: json('The test has run.', {
              success: { type: 'boolean' },
              test_id: { type: 'string' },
              received_data: { $ref: '#/components/schemas/TestRequest' },
              timestamp,
            }),
            ...REFUSALS,
            422: problem('The body is invalid.'),
          },
        },
      },
      '/api/status': {
        get: {
          summary: 'Status and configuration',
          ...PROTECTED,
          responses: {
            200: json('Running.', {
              api_status: { const: 'running' },
              authentication: { const: 'enabled' },
              rate_limiting: {
                type: 'object',
                properties: { enabled: { type: 'boolean' }, limit: { type: 'string' } },
              },
              cors: {
                type: 'object',
                properties: { allowed_origins: { type: 'array', items: { type: 'string' } } },
              },
              timestamp,
            }),
            ...REFUSALS,
          },
        },
      },
    },
  } as const;
}
