// What it costs to keep the account of an exchange, in the memory of one process and without a framework.
import { Exchange, memoryLedger, meterUsage, sequence } from 'gatewarden';
import { nanoseconds } from '../timing.js';

const CLIENTS = 10_000;
const NO_METER = 'no meter';

/** The field lines of an ordinary browser. */
const HEADERS = {
  host: 'api.example.com',
  connection: 'keep-alive',
  'content-type': 'application/json',
  'content-length': '321',
  accept: '*/*',
  'accept-encoding': 'gzip, deflate, br',
  'accept-language': 'en-GB,en;q=0.9',
  origin: 'https://app.example.com',
  'user-agent': 'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36',
  'x-api-key': 'gw_bench',
};
const RAW_HEADERS = Object.entries(HEADERS).flat();

/** As the adapters of node:http do it. */
class View {
  method = 'POST';
  url = '/generate';
  remoteAddress = '127.0.0.1';
  encrypted = false;
  bytesWritten = 0;

  fieldLines(name) {
    if (HEADERS[name] === undefined) return [];
    const lines = [];
    for (let i = 0; i + 1 < RAW_HEADERS.length; i += 2) {
      const field = RAW_HEADERS[i];
      if (field.length === name.length && field.toLowerCase() === name) lines.push(RAW_HEADERS[i + 1]);
    }
    return lines;
  }
}

const RESPONSE_HEADERS = { get: () => undefined, set() {}, remove() {}, onHead() {} };
const ENDS = [
  { kind: 'completed', status: 200 },
  { kind: 'completed', status: 200 },
  { kind: 'refused', status: 429, code: 'quota-exceeded' },
];

/** Exchanges of many clients, each with an end as a service has one anyway, such as a log. */
function exchanges(...meters) {
  const principals = Array.from({ length: CLIENTS }, (_, i) => ({
    id: `client-${i}`,
    scheme: 'api-key',
    scopes: [],
    credentialId: `key-${i}`,
  }));
  let next = 0;
  let ended = 0;
  const guard = sequence(
    ...meters,
    function identify(exchange) {
      exchange.principal = principals[next % CLIENTS];
      return undefined;
    },
    function log(exchange) {
      exchange.onEnd(() => {
        ended++;
      });
      return undefined;
    },
  );
  return (calls) => {
    for (let i = 0; i < calls; i++) {
      const view = new View();
      const exchange = new Exchange(view, RESPONSE_HEADERS);
      guard(exchange);
      view.bytesWritten = 512;
      exchange.end(ENDS[next++ % ENDS.length]);
    }
    if (ended !== next) throw new Error('an exchange did not end');
  };
}

function metered() {
  const ledger = memoryLedger();
  const run = exchanges(meterUsage({ ledger }));
  let calls = 0;
  return (count) => {
    run(count);
    calls += count;
    const { requests = 0 } = ledger.read({ day: ledger.today(), client: 'client-0' }).rows[0] ?? {};
    if (requests !== Math.ceil(calls / CLIENTS)) throw new Error(`${requests} requests of one client were counted`);
  };
}

function side(name, guarantees, create) {
  return { name, guarantees, open: create, run: (_round, work) => nanoseconds(work, { warmUp: 50_000 }) };
}

export const rows = [
  {
    name: 'usage: the account of an exchange, in memory',
    about: 'One exchange from its beginning to its end, of one of 10,000 clients. A third of them is refused.',
    unit: 'ns',
    better: 'lower',
    ratioTo: NO_METER,
    goals: [{ side: 'gatewarden, meterUsage', minus: NO_METER, atMost: 1000 }],
    sides: [
      side(NO_METER, 'two guards that do nothing else', () => exchanges()),
      side(
        'gatewarden, meterUsage',
        'requests, refusals, errors and bytes, for each client by day and in all',
        metered,
      ),
    ],
  },
];
