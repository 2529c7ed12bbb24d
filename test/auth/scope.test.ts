import { describe, expect, it, vi } from 'vitest';
import { apiKeyRecord } from '../../src/auth/api-keys/api-key-record.js';
import { apiKeys } from '../../src/auth/api-keys/api-keys.js';
import { generateApiKey } from '../../src/auth/api-keys/generate.js';
import { digestApiKey } from '../../src/auth/api-keys/key-digest.js';
import { developmentBypass } from '../../src/auth/development-bypass.js';
import { ingestToken } from '../../src/auth/ingest-token.js';
import { requireScope } from '../../src/auth/require-scope.js';
import { sharedSecret } from '../../src/auth/shared-secret.js';
import { memoryReplayStore } from '../../src/auth/signed-request/memory-replay-store.js';
import { signedRequest } from '../../src/auth/signed-request/signed-request.js';
import { OptionError } from '../../src/core/option.js';

const SECRET = 'a-c4n4ry-secret-of-more-than-32-characters';

/** Every public function that accepts a list of scopes. */
const OWNERS: readonly (readonly [owner: string, make: (scopes: readonly string[]) => unknown])[] = [
  ['sharedSecret', (scopes) => sharedSecret({ secrets: [SECRET], scopes })],
  ['ingestToken', (scopes) => ingestToken({ tokens: [SECRET], scopes })],
  ['an open ingestToken', (scopes) => ingestToken({ tokens: [], whenUnset: 'open', scopes })],
  ['developmentBypass', (scopes) => developmentBypass({ enabled: true, env: {}, scopes })],
  [
    'a key of signedRequest',
    (scopes) => signedRequest({ keys: [{ id: 'k', secret: SECRET, scopes }], replayStore: memoryReplayStore() }),
  ],
  [
    'a record of apiKeys',
    (scopes) => apiKeys({ keys: [{ id: 'r', clientId: 'c', digests: [{ digest: digestApiKey(SECRET) }], scopes }] }),
  ],
  ['apiKeyRecord', (scopes) => apiKeyRecord(SECRET, { clientId: 'c', scopes })],
  ['generateApiKey', (scopes) => generateApiKey({ scopes })],
  ['requireScope', (scopes) => requireScope(scopes)],
];

describe.each(OWNERS)('the scopes of %s', (_owner, make) => {
  vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined);

  it.each(['a b', '', ' a', 'a\n', 'quo"te', 'back\\slash', 'caf\u00e9'])('refuse %j', (scope) => {
    for (const scopes of [[scope], ['generate', scope]]) {
      expect(() => make(scopes)).toThrow(OptionError);
      expect(() => make(scopes)).toThrow(/scopes" must be a (list of scopes|scope)/);
    }
  });

  it('accept every scope token of RFC 6749', () => {
    expect(() => make(['generate', 'jobs:read', "!#$%&'()*+,-./:;<=>?@[]^_`{|}~"])).not.toThrow();
  });
});
