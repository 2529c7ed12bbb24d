import type { Column } from './columns.js';
import type { Skips } from './harness/run-suites.js';

type Kind = Column['kind'];

const FEW_RUNS = 'needs more runs of its property than are made here';
/** `http://[0:0::0:0:0.0.0.0]` is such a URL. */
const NO_ORACLE = 'compares with URL, which reads some IPv6 addresses wrongly on this runtime';
const NO_FILES = 'needs files that outlast a request; the option is refused without them';
const NO_SIGNAL = 'the runtime aborts the signal of a request only with enable_request_signal';
const CONTENT_TYPE = 'the runtime gives the response another content type';
const PIPELINED =
  /aborts every open exchange of the connection|twelve requests of one packet|requests of one packet that has no answer|left before the first guard/;
const SERVERS_OWN =
  /in lower case|resets its connection immediately|that breaks off breaks the connection off|trustedHosts serves and refuses the hosts of the table|'two Host lines'|over the limit are refused before the body|refused while they stream in|waits for 100 Continue|in the middle of a body of 64 MB|that break off leave no file|disconnects after 5 MB|connection serves the next request/;

/** Tests that a runtime cannot run, by the name of `suite > test`. What remains must pass. */
const TESTS: readonly (readonly [on: readonly Kind[], file: string, name: RegExp, why: string])[] = [
  [
    ['workerd'],
    'test/edge/cors.property.test.ts',
    /linear time/,
    'measures time, which stands still while a Worker computes',
  ],
  [
    ['node', 'bun', 'deno'],
    'test/edge/cors.property.test.ts',
    /linear time/,
    'measures time, while another runtime runs beside it',
  ],
  [
    ['workerd'],
    'test/auth/api-keys/key-format.test.ts',
    /equally likely/,
    'asks for more random bytes than a Worker gives at once',
  ],
  [['workerd'], 'test/auth/api-keys/keygen.test.ts', /./, 'tests a command-line program'],
  [['workerd'], 'test/auth/jwt/remote-keys.test.ts', /after the timeout/, 'needs the sockets of a server'],
  [['workerd'], 'test/limit/holds.property.test.ts', /sqliteStore/, NO_FILES],
  [
    ['workerd'],
    'test/adapters/web.test.ts',
    /ends the exchange at once|last headers before the exchange ends|HEAD whose body is in memory/,
    'expects an exchange to end before its response is read; workerd does not show that a body is in memory',
  ],
  [['workerd'], 'test/adapters/web.test.ts', /immutable headers/, 'needs a fetch of data: URLs'],
  [['deno'], 'test/worker/ready.test.ts', /refuses connections|could not be sent/, 'fetch gives another cause'],
  [['bun'], 'test/core/address.test.ts', /as the URL standard does/, NO_ORACLE],
  [['bun'], 'test/client-ip/client-ip.test.ts', /^for any header/, NO_ORACLE],
  [['deno'], 'test/limit/queue/burst.test.ts', /./, 'counts what has been read of the sockets of Node'],
  [['workerd'], 'test/adapters/web-contract.test.ts', /./, 'needs sockets'],
  [['node', 'bun', 'deno'], 'test/adapters/hono.test.ts', /of 1000 mutated bodies/, FEW_RUNS],
  [['node', 'bun', 'deno'], 'test/adapters/web-contract.test.ts', /of 1000 mutated bodies/, FEW_RUNS],
  [
    ['workerd'],
    'test/adapters/hono.test.ts',
    /of another server, whose headers are immutable/,
    'needs a fetch of data: URLs',
  ],
  [['workerd'], 'test/adapters/hono.test.ts', /aborts the exchange with the request/, NO_SIGNAL],
  [
    ['workerd'],
    'test/adapters/route-pattern.test.ts',
    /./,
    'expects an exchange to end before its response is read; workerd does not show that a body is in memory',
  ],
  [['workerd'], 'test/upload/options.test.ts', /concurrency of more than 64/, 'needs sharp, which has native code'],
  [
    ['workerd'],
    'test/worker/answers.test.ts',
    /broke off by itself|worker was silent|an encoding that fetch/,
    'needs the sockets of a server',
  ],
  [
    ['workerd'],
    'test/worker/ready.test.ts',
    /if it does not answer|refuses connections|no time to answer|could not be sent/,
    'needs the sockets of a server',
  ],
  [['workerd'], 'test/observe/usage/memory-ledger.test.ts', /"file" must be|the file of memoryLedger/, NO_FILES],
  [
    ['workerd'],
    'test/operator/memory-operator-store.test.ts',
    /with a file|restart|the file is|cannot write|another process|"file"/,
    NO_FILES,
  ],
  // The server of the runtime, not gatewarden, decides these.
  [['bun'], 'test/adapters/web.test.ts', /passes everything on to the handler|of parameters is whole/, CONTENT_TYPE],
  [['bun', 'deno'], 'test/adapters/web-contract.test.ts', PIPELINED, 'the server answers pipelined requests in turn'],
  [
    ['bun', 'deno'],
    'test/adapters/web-contract.test.ts',
    SERVERS_OWN,
    'the server of the runtime decides it, and differs from Node',
  ],
  [
    ['bun', 'deno', 'workerd'],
    'test/adapters/hono.test.ts',
    /\bon Node\b/,
    'is about @hono/node-server; the server of the runtime is in the row above',
  ],
  [
    ['bun', 'deno', 'workerd'],
    'test/auth/jwt/jwk.test.ts',
    /bad exponent > e = ".*" is refused at construction, in every form/,
    'the runtime itself refuses an RSA key with such an exponent, with another message',
  ],
  [['deno'], 'test/auth/api-keys/keygen.test.ts', /^the command/, 'runs the sources with tsx on Node'],
  [['deno'], 'test/operator/memory-operator-store.test.ts', /takes only a part/, 'runs the sources with tsx on Node'],
  [['bun', 'workerd'], 'test/auth/authenticate.test.ts', /of another realm/, 'needs node:vm as on Node'],
  [['bun', 'workerd'], 'test/auth/jwt/jwt.test.ts', /Ed448/, 'the runtime has no Ed448'],
];

/** What a Worker lacks: the reason, or a module of `harness` instead. */
const GAPS: readonly (readonly [name: RegExp, gap: Gap])[] = [
  [/^(?:express4?|fastify|pino|openai|ws|@fastify\/.*)$/, { why: 'needs a package for Node' }],
  [/^sharp$/, { why: 'needs sharp, which has native code' }],
  [/^(?:node:)?child_process$/, { why: 'starts a process' }],
  [/^(?:node:)?http2$/, { why: 'needs HTTP/2' }],
  [/^node:(?:vm|v8)$/, { module: 'gc.ts' }],
];

/** Why a test cannot use a package, or what stands in for it. */
export type Gap = { readonly why: string } | { readonly module: string };

/** What is missing on a runtime under this name. */
export function gapOn(kind: Kind, name: string): Gap | undefined {
  if (kind === 'bun' && /^node:(?:vm|v8)$/.test(name)) return { module: 'gc.ts' };
  return kind === 'workerd' ? GAPS.find(([pattern]) => pattern.test(name))?.[1] : undefined;
}

export function skipsOn(kind: Kind): Skips {
  return TESTS.filter(([on]) => on.includes(kind)).map(([, file, name, why]) => [file, name, why]);
}
