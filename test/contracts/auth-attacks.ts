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
import { API_KEY_ATTACKS, ATTACKED_RECORDS, ATTACKED_SECRETS } from '../auth/api-keys/attacks.js';
import { NOW as KEYS_NOW } from '../auth/api-keys/key-fixture.js';
import { BEARER_ATTACKS, BEARER_SECRET, type BearerAttack, OTHER_SECRET } from '../auth/bearer-attacks.js';
import { GOOD_CLAIMS, goodToken, HMAC_SECRET, JWT_ATTACKS, NOW, RSA_PUBLIC, rsaToken } from '../auth/jwt/tokens.js';
import { ask } from '../exchange-fixture.js';
import { type Answer, Client, requestText } from '../raw-client.js';
import type { Route, Serve } from './adapter.js';

/** What the attacks are run against: a bearer secret, and another in a header of its own. */
export function attackedGuard(): { readonly guard: Guard; readonly verified: string[] } {
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

/** The account of one attack, however it was run. */
interface Came {
  readonly status: number;
  readonly challenge: string | undefined;
  readonly verified: number;
}

function expected({ status, challenge }: BearerAttack): Came {
  return {
    status,
    challenge: challenge === undefined ? undefined : `Bearer realm="api"${challenge}`,
    // Nothing is hashed of what is malformed, missing or too long.
    verified: status === 200 || challenge === ', error="invalid_token"' ? 1 : 0,
  };
}

/** The attacks on bearer credentials, straight at the guard. */
export function coreAttacks(): void {
  describe('attacks on bearer credentials, through the core', () => {
    it.each(BEARER_ATTACKS.map((attack) => [attack.what, attack] as const))('%s', async (_what, attack) => {
      const { guard, verified } = attackedGuard();
      const { passed, status, replyHeaders, faults } = await ask(guard, {
        headers: attack.headers,
        url: attack.url ?? '/',
      });
      expect(faults).toEqual([]);
      const came: Came = {
        status: passed ? 200 : (status ?? 0),
        challenge: replyHeaders['WWW-Authenticate'],
        verified: verified.length,
      };
      expect(came).toEqual(expected(attack));
    });
  });
}

/** A service with one guarded route, and a client that sends exact bytes to it. */
async function attacked(serve: Serve, guard: Guard, method: Route['method'] = 'GET') {
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
    /** How often the handler began. */
    entered: () => entered,
    ask(line: string, fields: readonly string[]): Promise<Answer> {
      client.socket.write(Buffer.from(requestText(line, ...fields), 'latin1'));
      return client.answer();
    },
  };
}

/** The same attacks over real sockets, through an adapter. */
export function adapterAttacks(name: string, serve: Serve): void {
  describe(`attacks on bearer credentials, through ${name}`, () => {
    async function attack(line: string, fields: readonly string[]) {
      const { guard, verified } = attackedGuard();
      const { ask, faults, entered } = await attacked(serve, guard);
      const answer = await ask(line, fields);
      expect(faults).toEqual([]);
      return { answer, verified, entered: entered() };
    }

    it.each(BEARER_ATTACKS.map((of) => [of.what, of] as const))('%s', async (_what, of) => {
      const { answer, verified, entered } = await attack(
        `GET ${of.url ?? '/'}`,
        of.headers.map(([field, value]) => `${field}: ${value}`),
      );
      const came: Came = {
        status: answer.status,
        challenge: answer.field('www-authenticate'),
        verified: verified.length,
      };
      expect(came).toEqual(expected(of));
      expect(entered).toBe(of.status === 200 ? 1 : 0);
      if (of.status !== 200) expect(answer.body.toString()).not.toContain(BEARER_SECRET);
    });

    it('a refusal is the same to the byte, whatever was wrong', async () => {
      const bodies = new Set<string>();
      for (const of of BEARER_ATTACKS.filter(({ challenge }) => challenge === ', error="invalid_token"')) {
        const { answer } = await attack(
          'GET /',
          of.headers.map(([field, value]) => `${field}: ${value}`),
        );
        bodies.add(`${answer.status} ${answer.field('www-authenticate')} ${answer.body.toString()}`);
      }
      expect(bodies.size).toBe(1);
    });
  });

  it(`an unauthorised preflight to a guarded route never reaches its handler, through ${name}`, async () => {
    const { ask, entered } = await attacked(serve, attackedGuard().guard, 'OPTIONS');
    const fields = ['Origin: https://a.example', 'Access-Control-Request-Method: GET'];
    const answer = await ask('OPTIONS /', [...fields, 'Access-Control-Request-Headers: authorization']);
    expect([answer.status, entered()]).toEqual([401, 0]);
  });

  it(`attacks on API keys come to the same through ${name}`, async () => {
    const lookups: string[] = [];
    const records = new Map<string, ApiKeyRecord>();
    for (const record of ATTACKED_RECORDS) for (const { digest } of record.digests) records.set(digest, record);
    const scheme = apiKeys({
      store: {
        async findByDigest(digest) {
          lookups.push(digest);
          return records.get(digest);
        },
      },
      now: () => KEYS_NOW,
    });
    const { ask, faults, entered } = await attacked(serve, authenticate(scheme));
    const refusals = new Set<string>();
    for (const { what, headers, url = '/', status, challenge, lookups: expected } of API_KEY_ATTACKS) {
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
      for (const secret of ATTACKED_SECRETS) expect(answer.body.toString()).not.toContain(secret);
    }
    expect(refusals.size).toBe(1);
    expect(faults).toEqual([]);
  });

  describe(`attacks on signed tokens, through ${name}`, () => {
    it.each([
      ['HS256', HMAC_SECRET],
      ['RS256', RSA_PUBLIC],
    ] as const)('of a service that takes %s get nobody in', async (algorithm, key) => {
      const scheme = jwt({
        algorithms: [algorithm],
        key,
        issuer: 'https://auth.example',
        audience: 'api',
        now: () => NOW,
      });
      const { ask: send, faults, entered } = await attacked(serve, authenticate(scheme));
      const ask = async (token: string) => {
        const answer = await send('GET /', [`Authorization: Bearer ${token}`]);
        return `${answer.status} ${answer.field('www-authenticate')} ${answer.body}`;
      };
      const answers = new Map<string, string>();
      for (const { what, token, against } of JWT_ATTACKS)
        if (against === algorithm) answers.set(what, await ask(token));
      const [first = ''] = answers.values();
      expect(first).toMatch(/^401 Bearer realm="api", error="invalid_token" /);
      // To the byte: nothing tells one kind of bad token from another.
      expect([...answers].filter(([, answer]) => answer !== first)).toEqual([]);
      expect(await ask(algorithm === 'HS256' ? goodToken() : rsaToken({ alg: 'RS256' }, GOOD_CLAIMS))).toMatch(/^200 /);
      expect([faults, entered()]).toEqual([[], 1]);
    });
  });
}
