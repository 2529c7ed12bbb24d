/** What the attacked service is called. */
export const ATTACKED_HOSTS = [
  'example.com',
  '*.example.com',
  'localhost',
  '127.0.0.1',
  '[::1]',
  'ported.test:8443',
  'plain.test:80',
];

export interface HostAttack {
  readonly what: string;
  /** `Host` field lines. */
  readonly hosts: readonly string[];
  /** Default `/`. */
  readonly target?: string;
  readonly version?: '1.0';
  readonly served: boolean;
  /** Some frameworks refuse it themselves. */
  readonly unusual?: boolean;
}

const good = (host: string): HostAttack => ({ what: host, hosts: [host], served: true });
const bad = (host: string): HostAttack => ({ what: JSON.stringify(host), hosts: [host], served: false });

export const HOST_ATTACKS: readonly HostAttack[] = [
  good('example.com'),
  good('EXAMPLE.com'),
  good('example.com.'),
  good('example.com:80'),
  good('example.com:8443'),
  good('www.example.com'),
  good('a.b.example.com:1'),
  good('localhost:8000'),
  good('127.0.0.1'),
  good('127.0.0.1:3000'),
  good('[::1]'),
  good('[::1]:3000'),
  { ...good('[0:0:0:0:0:0:0:1]'), unusual: true },
  good('ported.test:8443'),
  good('plain.test'),
  bad('ported.test'),
  bad('ported.test:8444'),
  bad('plain.test:81'),
  bad('evilexample.com'),
  bad('example.com.evil'),
  bad('example.com@evil.com'),
  bad('evil.com@example.com'),
  bad('example.com,evil.com'),
  bad('example.com evil.com'),
  bad('example.com/evil'),
  bad('example.com#evil'),
  bad('example.com?evil'),
  bad('evil.com\\.example.com'),
  bad('http://example.com'),
  bad('%65xample.com'),
  bad('example.com:'),
  bad('example.com:0'),
  bad('example.com:65536'),
  bad('example.com:080080'),
  bad('example.com:+80'),
  bad('example.com:80:80'),
  bad('example.com..'),
  bad('.example.com'),
  bad('..example.com'),
  bad('*.example.com'),
  bad('ex\u00e4mple.com'),
  bad('evil.test'),
  bad('2130706433'),
  bad('0x7f.1'),
  bad('127.1'),
  bad('0177.0.0.1'),
  bad('127.0.0.2'),
  bad('::1'),
  bad('[::1'),
  bad('[::2]'),
  bad('[::1]evil'),
  bad('[::1%25eth0]'),
  bad('[::ffff:127.0.0.1]'),
  bad(`${'a.'.repeat(200)}example.com`),
  bad(''),
  { what: 'two Host lines, the good one first', hosts: ['example.com', 'evil.test'], served: false },
  { what: 'two Host lines alike', hosts: ['example.com', 'example.com'], served: false },
  { what: 'no Host in HTTP/1.0', hosts: [], version: '1.0', served: false },
  { what: 'no Host in HTTP/1.1', hosts: [], served: false },
  { what: 'a target in absolute form', hosts: ['example.com'], target: 'http://example.com/', served: true },
  { what: 'the same with its default port', hosts: ['example.com'], target: 'http://EXAMPLE.com:80/', served: true },
  { what: 'a target at another host', hosts: ['example.com'], target: 'http://evil.test/', served: false },
  {
    what: 'a target at the host, and Host another',
    hosts: ['evil.test'],
    target: 'http://example.com/',
    served: false,
  },
  { what: 'a target at another port', hosts: ['example.com'], target: 'http://example.com:81/', served: false },
  { what: 'a target with user info', hosts: ['example.com'], target: 'http://example.com@example.com/', served: false },
];
