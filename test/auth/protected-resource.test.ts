import express from 'express';
import { describe, expect, it, onTestFinished } from 'vitest';
import { guard } from '../../src/adapters/express.js';
import {
  apiKeys,
  authenticate,
  generateApiKey,
  OptionError,
  type ProtectedResourceOptions,
  protectedResource,
  requireScope,
  sequence,
  sharedSecret,
} from '../../src/index.js';
import { ask } from '../exchange-fixture.js';

const SECRET = 'c4n4ry-secret-0123456789-0123456789';
const secret = sharedSecret({ secrets: [SECRET] });
const OPTIONS = {
  resource: 'https://api.example.com/mcp',
  authorizationServers: ['https://auth.example.com'],
  scopes: ['generate', 'status'],
};
const URL_OF_METADATA = 'https://api.example.com/.well-known/oauth-protected-resource/mcp';
const bearer = { headers: [['Authorization', `Bearer ${SECRET}`]] } as const;
const wrong = { headers: [['Authorization', 'Bearer wrong']] } as const;

describe('protectedResource', () => {
  it('serves the metadata at its address, and nothing else', async () => {
    const resource = protectedResource({
      ...OPTIONS,
      name: 'Images',
      documentation: 'https://api.example.com/docs',
    });
    expect(resource.metadataUrl).toBe(URL_OF_METADATA);
    const url = '/.well-known/oauth-protected-resource/mcp';
    for (const target of [url, `${url}?x=1`, `https://api.example.com${url}`]) {
      const { status, body, contentType, replyHeaders } = await ask(resource, { url: target });
      expect([status, contentType, replyHeaders['Cache-Control']]).toEqual([
        200,
        'application/json',
        'public, max-age=3600',
      ]);
      expect(JSON.parse(body)).toEqual({
        resource: 'https://api.example.com/mcp',
        authorization_servers: ['https://auth.example.com'],
        scopes_supported: ['generate', 'status'],
        bearer_methods_supported: ['header'],
        resource_name: 'Images',
        resource_documentation: 'https://api.example.com/docs',
      });
    }
    for (const other of ['/', '/mcp', '/.well-known/oauth-protected-resource', `${url}/`, `/a${url}`, `/?${url}`]) {
      expect([other, (await ask(resource, { url: other })).passed]).toEqual([other, true]);
    }
    expect((await ask(resource, { url, method: 'HEAD' })).status).toBe(200);
    for (const method of ['POST', 'OPTIONS', 'DELETE']) {
      expect((await ask(resource, { url, method })).passed).toBe(true);
    }
  });

  it.each([
    ['https://api.example.com', 'https://api.example.com/.well-known/oauth-protected-resource'],
    ['https://api.example.com/', 'https://api.example.com/.well-known/oauth-protected-resource'],
    ['https://api.example.com/a/b', 'https://api.example.com/.well-known/oauth-protected-resource/a/b'],
    ['https://api.example.com:8443/a/', 'https://api.example.com:8443/.well-known/oauth-protected-resource/a/'],
    ['http://localhost:3000/mcp', 'http://localhost:3000/.well-known/oauth-protected-resource/mcp'],
    ['http://[::1]:3000', 'http://[::1]:3000/.well-known/oauth-protected-resource'],
  ])('for %s is at %s, and repeats the resource as it was given', async (resource, url) => {
    const guarded = protectedResource({ resource, authorizationServers: ['https://auth.example.com'] });
    expect(guarded.metadataUrl).toBe(url);
    const { body } = await ask(guarded, { url: new URL(url).pathname });
    expect(JSON.parse(body)).toEqual({
      resource,
      authorization_servers: ['https://auth.example.com'],
      bearer_methods_supported: ['header'],
    });
  });

  const RULE = 'must be a URL with https, or with http on this machine';
  it.each<[string, Partial<Record<keyof ProtectedResourceOptions, unknown>>, string]>([
    ['no resource', { resource: undefined }, `"resource" ${RULE}, got undefined`],
    ['a path', { resource: '/mcp' }, `"resource" ${RULE}`],
    ['http', { resource: 'http://api.example.com' }, `"resource" ${RULE}`],
    ['another scheme', { resource: 'ftp://api.example.com' }, `"resource" ${RULE}`],
    ['a query', { resource: 'https://api.example.com/?a=1' }, '"resource" must not have a query'],
    ['a fragment', { resource: 'https://api.example.com/#a' }, '"resource" must not have a query, a fragment'],
    ['white space', { resource: ' https://api.example.com' }, '"resource" must not have a query'],
    ['a password', { resource: 'https://u:c4n4ry@api.example.com' }, "credentials, got 'https://api.example.com'"],
    ['no issuers', { authorizationServers: undefined }, '"authorizationServers" must be a list of at least one URL'],
    ['an empty list of issuers', { authorizationServers: [] }, '"authorizationServers" must be a list of at least one'],
    ['an issuer that is no URL', { authorizationServers: ['auth'] }, `"authorizationServers[0]" ${RULE}`],
    ['a text for scopes', { scopes: 'generate' }, '"scopes" must be a list of scopes'],
    ['a scope with a quote', { scopes: ['a"b'] }, '"scopes" must be a list of scopes'],
    ['an empty name', { name: '' }, '"name" must be a non-empty string'],
    ['a documentation that is no URL', { documentation: 'docs' }, `"documentation" ${RULE}`],
    ['an unknown option', { resources: 'x' } as never, 'has no option "resources"'],
  ])('refuses %s', (_what, change, message) => {
    const make = () => protectedResource({ ...OPTIONS, ...change } as ProtectedResourceOptions);
    expect(make).toThrow(OptionError);
    expect(make).toThrow(message);
    expect(make).not.toThrow('c4n4ry');
  });

  it('must be before authenticate', () => {
    expect(() => sequence(authenticate(secret), protectedResource(OPTIONS))).toThrow(
      'gatewarden: put protectedResource(...) before authenticate(...): the metadata must be readable without a token',
    );
  });
});

describe('a challenge', () => {
  const metadata = `resource_metadata="${URL_OF_METADATA}"`;

  it.each<[string, object, string]>([
    ['401 without credentials', {}, `Bearer realm="api", scope="generate status", ${metadata}`],
    ['401 for a wrong token', wrong, `Bearer realm="api", error="invalid_token", scope="generate status", ${metadata}`],
    [
      '400 for a malformed token',
      { headers: [['Authorization', 'Bearer a b']] },
      `Bearer realm="api", error="invalid_request", scope="generate status", ${metadata}`,
    ],
    ['403 without the scope', bearer, `Bearer realm="api", error="insufficient_scope", scope="admin", ${metadata}`],
  ])('names the metadata of a protectedResource before it: %s', async (_what, request, expected) => {
    const guards = sequence(protectedResource(OPTIONS), authenticate(secret), requireScope('admin'));
    for (const _again of [1, 2]) {
      expect((await ask(guards, request)).replyHeaders['WWW-Authenticate']).toBe(expected);
    }
  });

  it('names what the options say, without a protectedResource', async () => {
    const options = { resourceMetadata: URL_OF_METADATA };
    const guards = sequence(authenticate(secret, { ...options, scopes: ['a', 'b'] }), requireScope('admin', options));
    expect((await ask(guards)).replyHeaders['WWW-Authenticate']).toBe(`Bearer realm="api", scope="a b", ${metadata}`);
    expect((await ask(guards, bearer)).replyHeaders['WWW-Authenticate']).toBe(
      `Bearer realm="api", error="insufficient_scope", scope="admin", ${metadata}`,
    );
  });

  it('names what the options say, rather than a protectedResource', async () => {
    const other = 'https://other.example/.well-known/oauth-protected-resource';
    const guards = sequence(
      protectedResource(OPTIONS),
      authenticate(secret, { resourceMetadata: other, scopes: [] }),
      requireScope('admin', { resourceMetadata: other }),
    );
    expect((await ask(guards)).replyHeaders['WWW-Authenticate']).toBe(
      `Bearer realm="api", resource_metadata="${other}"`,
    );
    expect((await ask(guards, bearer)).replyHeaders['WWW-Authenticate']).toContain(`resource_metadata="${other}"`);
  });

  it('names nothing of one request in another', async () => {
    const shared = authenticate(secret);
    const elsewhere = protectedResource({ ...OPTIONS, resource: 'https://b.example' });
    const seen = [];
    for (const guards of [sequence(protectedResource(OPTIONS), shared), sequence(elsewhere, shared), shared]) {
      seen.push((await ask(guards)).replyHeaders['WWW-Authenticate']);
    }
    expect(seen).toEqual([
      `Bearer realm="api", scope="generate status", ${metadata}`,
      'Bearer realm="api", scope="generate status", resource_metadata="https://b.example/.well-known/oauth-protected-resource"',
      'Bearer realm="api"',
    ]);
  });

  it('has them for schemes with tokens only', async () => {
    const keys = apiKeys({ keys: [generateApiKey().record], bearer: false });
    const guards = sequence(protectedResource(OPTIONS), authenticate([keys, secret]));
    expect((await ask(guards)).replyHeaders['WWW-Authenticate']).toBe(
      `X-API-Key realm="api", Bearer realm="api", scope="generate status", ${metadata}`,
    );
    for (const options of [{ resourceMetadata: URL_OF_METADATA }, { scopes: ['a'] }]) {
      expect(() => authenticate(keys, options)).toThrow('need a scheme with bearer tokens, such as jwt(...)');
    }
  });

  it.each<[string, () => unknown, string]>([
    ['authenticate', () => authenticate(secret, { resourceMetadata: '/x' }), 'authenticate "resourceMetadata" must be'],
    ['authenticate', () => authenticate(secret, { scopes: ['a b'] }), 'authenticate "scopes" must be a list of scopes'],
    ['requireScope', () => requireScope('a', { resourceMetadata: 'x"y' }), 'requireScope "resourceMetadata" must be'],
  ])('%s refuses bad values', (_name, make, message) => {
    expect(make).toThrow(OptionError);
    expect(make).toThrow(message);
  });
});

it('a client finds its way in from a 401, as MCP clients do', async () => {
  const app = express();
  const server = app.listen(0);
  onTestFinished(() => void server.close());
  const { port } = server.address() as { port: number };
  const resource = `http://127.0.0.1:${port}/mcp`;
  app.use(
    guard(protectedResource({ resource, authorizationServers: ['https://auth.example.com'], scopes: ['tools'] })),
  );
  app.post('/mcp', guard(authenticate(secret)), (_request, response) => void response.end('in'));

  const refused = await fetch(resource, { method: 'POST' });
  expect(refused.status).toBe(401);
  const challenge = refused.headers.get('www-authenticate') ?? '';
  const url = /resource_metadata="([^"]+)"/.exec(challenge)?.[1] ?? '';
  expect(/scope="([^"]+)"/.exec(challenge)?.[1]).toBe('tools');
  const found = await fetch(url);
  expect([found.status, found.headers.get('content-type')]).toEqual([200, 'application/json']);
  expect(await found.json()).toMatchObject({ resource, authorization_servers: ['https://auth.example.com'] });
  const head = await fetch(url, { method: 'HEAD' });
  expect([head.status, Number(head.headers.get('content-length')) > 50, await head.text()]).toEqual([200, true, '']);
  const admitted = await fetch(resource, { method: 'POST', headers: { Authorization: `Bearer ${SECRET}` } });
  expect(await admitted.text()).toBe('in');
});
