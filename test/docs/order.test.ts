import { describe, expect, it } from 'vitest';
import {
  audit,
  authenticate,
  clientIp,
  cors,
  failedAuthLimit,
  type Guard,
  limit,
  OptionError,
  requireScope,
  sequence,
  sharedSecret,
  slidingWindow,
  webSocketOrigin,
} from '../../src/index.js';
import { idempotent } from '../../src/jobs/idempotency/idempotent.js';
import { upload } from '../../src/upload/index.js';
import { ENVIRONMENT } from './environment.js';
import { pageText } from './snippets.js';

const scheme = sharedSecret({ secrets: [ENVIRONMENT.SECRET_KEY] });
const policies = slidingWindow({ limit: 60, window: '1m' });

/** The guards of the page's table, as it names them. */
const GUARDS: Readonly<Record<string, () => Guard>> = {
  '`audit`': () => audit({ sink: () => undefined }),
  '`authenticate`': () => authenticate(scheme),
  '`authenticate` with `failedAuthLimit`': () =>
    authenticate(scheme, { failedAuthLimit: failedAuthLimit({ limit: 10, window: '1m' }) }),
  '`clientIp`': () => clientIp(),
  '`clientIp` with `forwarder`': () => clientIp({ forwarder: () => true }),
  '`cors`': () => cors({ origin: 'https://app.example.com' }),
  '`idempotent`': () => idempotent(),
  '`limit`': () => limit({ by: 'global', policies }),
  "`limit` by `'client-ip'`": () => limit({ by: 'client-ip', policies }),
  "`limit` by `'principal'` or `'principal-or-client-ip'`": () => limit({ by: 'principal-or-client-ip', policies }),
  "`limit` by `'principal'`": () => limit({ by: 'principal', policies }),
  '`requireScope`': () => requireScope('generate'),
  '`webSocketOrigin`': () => webSocketOrigin(),
  '`upload`': () => upload({ files: { types: ['image/png'], maxBytes: '1mb' } }),
};

const ORDERS = [...pageText('docs/order-of-guards.md').matchAll(/^\| (`[^|]+) \| (`[^|]+) \| [^|]+ \|$/gm)].map(
  ([, first = '', second = '']) => ({ first, second }),
);

function guardOf(name: string): Guard {
  const make = GUARDS[name];
  if (make === undefined) throw new Error(`no guard for ${name}`);
  return make();
}

const factoryOf = (name: string) => /^`(\w+)`/.exec(name)?.[1];

describe('the order of guards in the documentation', () => {
  it('is a table', () => {
    expect(ORDERS.length).toBeGreaterThan(10);
  });

  it.each(ORDERS)('accepts $first before $second and reports the reverse', ({ first, second }) => {
    expect(() => sequence(guardOf(first), guardOf(second))).not.toThrow();
    const wrong = () => sequence(guardOf(second), guardOf(first));
    expect(wrong).toThrow(OptionError);
    expect(wrong).toThrow(`put ${factoryOf(first)}(...) before ${factoryOf(second)}(...)`);
  });

  it('quotes the message', () => {
    const wrong = () => sequence(guardOf("`limit` by `'principal'`"), guardOf('`authenticate`'));
    expect(wrong).toThrow(/`(put .+)`:/.exec(pageText('docs/order-of-guards.md'))?.[1]);
  });

  it('reports the same limit twice', () => {
    const twice = guardOf('`limit`');
    expect(() => sequence(twice, twice)).toThrow(OptionError);
  });
});
