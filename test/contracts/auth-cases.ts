import { describe, expect, it, onTestFinished } from 'vitest';
import { jwt } from '../../src/auth/jwt/index.js';
import {
  type ApiKeyRecord,
  apiKeys,
  authenticate,
  type Exchange,
  type Guard,
  ingestToken,
  reportFaults,
  sharedSecret,
} from '../../src/index.js';
import { API_KEY_CASES, RECORDS, SECRETS } from '../auth/api-keys/api-key-cases.js';
import { NOW as KEYS_NOW } from '../auth/api-keys/key-fixture.js';
import { BEARER_CASES, BEARER_SECRET, type BearerCase, OTHER_SECRET, titleOf } from '../auth/bearer-cases.js';
import { GOOD_CLAIMS, goodToken, HMAC_SECRET, JWT_ATTACKS, NOW, RSA_PUBLIC, rsaToken } from '../auth/jwt/tokens.js';
import { ask } from '../exchange-fixture.js';
import { type Answer, Client, requestText } from '../raw-client.js';
import type { Route, Serve } from './adapter/index.js';

/** The guard under test: it accepts a bearer secret, and another secret in its own header. */
export function guardOfTwoSecrets(): { readonly guard: Guard; readonly verified: string[] } {
  const verified: string[] = [];
  const schemes = [
    sharedSecret({ secrets: [BEARER_SECRET] }),
    ingestToken({ tokens: [OTHER_SECRET], header: 'X-API-Key' }),
  ].map((scheme) => ({
    ...scheme,
    challenge: 'Bearer',
    verify(token: string, exchange: Exchange) {
      verified.push(token);
      return scheme.verify(token, exchange);
    },
  }));
  return { guard: authenticate(schemes), verified };
}

/** The result of one case, through the core or through an adapter. */
interface Result {
  readonly status: number;
  readonly challenge: string | undefined;
  readonly verified: number;
}

function expectedResult({ status, challenge }: BearerCase): Result {
  return {
    status,
    challenge: challenge === undefined ? undefined : `Bearer realm="api"${challenge}`,
    // Missing, malformed and overlong credentials are never hashed.
    verified: status === 200 || challenge === ', error="invalid_token"' ? 1 : 0,
  };
}

/** The cases of bearer credentials, directly at the guard. */
export function coreBearerCases(): void {
  describe('bearer credentials, through the core', () => {
    it.each(BEARER_CASES.map((testCase) => [titleOf(testCase), testCase] as const))('%s', async (_title, testCase) => {
      const { guard, verified } = guardOfTwoSecrets();
      const { passed, status, replyHeaders, faults } = await ask(guard, {
        headers: testCase.headers,
        url: testCase.url ?? '/',
      });
      expect(faults).toEqual([]);
      const result: Result = {
        status: passed ? 200 : (status ?? 0),
        challenge: replyHeaders['WWW-Authenticate'],
        verified: verified.length,
      };
      expect(result).toEqual(expectedResult(testCase));
    });
  });
}

/** A service with one guarded route, and a client that sends exact bytes to it. */
async function serviceOf(serve: Serve, guard: Guard, method: Route['method'] = 'GET') {
  const faults: unknown[] = [];
  let entered = 0;
  const { port, close } = await serve({
    guards: [[reportFaults((error) => faults.push(error))]],
    routes: [{ method, path: '/', guards: [[guard]], handler: { does: 'answer', status: 200, body: {} } }],
    entered: () => {
      entered++;
    },
  });
  onTestFinished(close);
  const client = await Client.connect(port);
  onTestFinished(() => void client.socket.destroy());
  return {
    faults,
    /** How often the handler was called. */
    entered: () => entered,
    ask(line: string, fields: readonly string[]): Promise<Answer> {
      client.socket.write(Buffer.from(requestText(line, ...fields), 'latin1'));
      return client.answer();
    },
  };
}

/** All cases of authentication over real sockets, through an adapter. */
export function adapterAuthCases(name: string, serve: Serve): void {
  describe(`bearer credentials, through ${name}`, () => {
    async function answerTo(line: string, fields: readonly string[]) {
      const { guard, verified } = guardOfTwoSecrets();
      const { ask, faults, entered } = await serviceOf(serve, guard);
      const answer = await ask(line, fields);
      expect(faults).toEqual([]);
      return { answer, verified, entered: entered() };
    }

    // In a web request, both lines are one, which names another scheme first.
    const cases = BEARER_CASES.filter(
      (testCase) => !serve.isWeb || !titleOf(testCase).includes('two different lines, the valid one last'),
    );

    it.each(cases.map((testCase) => [titleOf(testCase), testCase] as const))('%s', async (_title, testCase) => {
      const { answer, verified, entered } = await answerTo(
        `GET ${testCase.url ?? '/'}`,
        testCase.headers.map(([field, value]) => `${field}: ${value}`),
      );
      const result: Result = {
        status: answer.status,
        challenge: answer.field('www-authenticate'),
        verified: verified.length,
      };
      expect(result).toEqual(expectedResult(testCase));
      expect(entered).toBe(testCase.status === 200 ? 1 : 0);
      if (testCase.status !== 200) expect(answer.body.toString()).not.toContain(BEARER_SECRET);
    });

    it('refuses every invalid token with the same bytes', async () => {
      const bodies = new Set<string>();
      for (const testCase of BEARER_CASES.filter(({ challenge }) => challenge === ', error="invalid_token"')) {
        const { answer } = await answerTo(
          'GET /',
          testCase.headers.map(([field, value]) => `${field}: ${value}`),
        );
        bodies.add(`${answer.status} ${answer.field('www-authenticate')} ${answer.body.toString()}`);
      }
      expect(bodies.size).toBe(1);
    });
  });

  it(`never calls the handler of a guarded route for a preflight without credentials, through ${name}`, async () => {
    const { ask, entered } = await serviceOf(serve, guardOfTwoSecrets().guard, 'OPTIONS');
    const fields = ['Origin: https://a.example', 'Access-Control-Request-Method: GET'];
    const answer = await ask('OPTIONS /', [...fields, 'Access-Control-Request-Headers: authorization']);
    expect([answer.status, entered()]).toEqual([401, 0]);
  });

  it(`accepts and refuses API keys through ${name} as through the core`, async () => {
    const lookups: string[] = [];
    const records = new Map<string, ApiKeyRecord>();
    for (const record of RECORDS) for (const { digest } of record.digests) records.set(digest, record);
    const scheme = apiKeys({
      store: {
        async findByDigest(digest) {
          lookups.push(digest);
          return records.get(digest);
        },
      },
      now: () => KEYS_NOW,
    });
    const { ask, faults, entered } = await serviceOf(serve, authenticate(scheme));
    const refusals = new Set<string>();
    for (const { what, headers, url = '/', status, challenge, lookups: expected } of API_KEY_CASES) {
      scheme.invalidateAll();
      lookups.length = 0;
      const before = entered();
      const answer = await ask(
        `GET ${url}`,
        headers.map(([field, value]) => `${field}: ${value}`),
      );
      expect({
        what,
        status: answer.status,
        challenge: answer.field('www-authenticate'),
        lookups: lookups.length,
        entered: entered() - before,
      }).toEqual({
        what,
        status,
        challenge: challenge === undefined ? undefined : `Bearer realm="api"${challenge}`,
        lookups: expected,
        entered: status === 200 ? 1 : 0,
      });
      if (challenge === ', error="invalid_token"') refusals.add(answer.body.toString());
      for (const secret of SECRETS) expect(answer.body.toString()).not.toContain(secret);
    }
    expect(refusals.size).toBe(1);
    expect(faults).toEqual([]);
  });

  describe(`attacks on JWTs, through ${name}`, () => {
    it.each([
      ['HS256', HMAC_SECRET],
      ['RS256', RSA_PUBLIC],
    ] as const)('all fail against a service that accepts %s', async (algorithm, key) => {
      const scheme = jwt({
        algorithms: [algorithm],
        key,
        issuer: 'https://auth.example',
        audience: 'api',
        now: () => NOW,
      });
      const { ask: send, faults, entered } = await serviceOf(serve, authenticate(scheme));
      const ask = async (token: string) => {
        const answer = await send('GET /', [`Authorization: Bearer ${token}`]);
        return `${answer.status} ${answer.field('www-authenticate')} ${answer.body}`;
      };
      const answers = new Map<string, string>();
      for (const { what, token, against } of JWT_ATTACKS)
        if (against === algorithm) answers.set(what, await ask(token));
      const [first = ''] = answers.values();
      expect(first).toMatch(/^401 Bearer realm="api", error="invalid_token" /);
      // Identical bytes: the answer does not reveal what is wrong with a token.
      expect([...answers].filter(([, answer]) => answer !== first)).toEqual([]);
      expect(await ask(algorithm === 'HS256' ? goodToken() : rsaToken({ alg: 'RS256' }, GOOD_CLAIMS))).toMatch(/^200 /);
      expect([faults, entered()]).toEqual([[], 1]);
    });
  });
}
