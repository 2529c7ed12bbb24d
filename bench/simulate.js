// The capacity model of docs/scaling.md, with what this machine measures:
// 1. server and client time of a decision, alone and in a call of 25;
// 2. decisions a second of 1, 2 and 4 processes on two cores, predicted and real;
// 3. 1,000 gateways and ten million keys, by a simulated clock;
// 4. one counter of 1,000 gateways, with and without units that are taken ahead.
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { Redis } from 'ioredis';
import { startRedis } from './redis-server.js';
import { predictThroughput, simulateHotKey, simulateKeys } from './simulation.js';

const CORES = Math.min(2, availableParallelism());
const IN_CALL = 25;
const ROUNDS = 5;

/** What a key takes with one request in the window and a daily quota, and each further request: docs/limits-in-redis.md. */
const BYTES = { key: 148, entry: 6 };

const median = (values) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];
const percent = (part) => `${(part * 100).toFixed(1)} %`;

function print(title, rows) {
  console.log(`\n${title}\n`);
  const names = Object.keys(rows[0]);
  const cells = [names, ...rows.map((row) => names.map((name) => String(row[name])))];
  const widths = names.map((_, i) => Math.max(...cells.map((line) => line[i].length)));
  for (const line of cells) console.log(line.map((cell, i) => cell.padStart(widths[i])).join('  '));
}

const server = await startRedis();
const observer = new Redis(server.port, '127.0.0.1');

async function serverCpu() {
  const info = await observer.info('cpu');
  const seconds = (name) => Number(new RegExp(`^${name}:([\\d.]+)`, 'm').exec(info)?.[1]);
  return (seconds('used_cpu_user') + seconds('used_cpu_sys')) * 1e6;
}

const file = fileURLToPath(new URL('simulate-gateway.js', import.meta.url));
const gateways = Array.from({ length: 4 }, () => fork(file, [String(server.port)]));
await Promise.all(gateways.map((gateway) => once(gateway, 'message')));

/** Lets some processes decide, and returns decisions a second, and server and client time of a decision. */
async function measure(processes, callers, ms = 1000) {
  const before = await serverCpu();
  const results = await Promise.all(
    gateways.slice(0, processes).map(async (gateway) => {
      gateway.send({ callers, ms });
      return (await once(gateway, 'message'))[0];
    }),
  );
  const decisions = results.reduce((sum, result) => sum + result.decisions, 0);
  const ofServer = (await serverCpu()) - before;
  const ofClients = results.reduce((sum, result) => sum + result.cpu, 0);
  return {
    perSecond: results.reduce((sum, result) => sum + (result.decisions * 1000) / result.ms, 0),
    server: ofServer / decisions,
    client: ofClients / decisions,
    // How many cores the processes got. Something else may run on the machine.
    cores: (ofServer + ofClients) / (Math.max(...results.map((result) => result.ms)) * 1000),
  };
}

await measure(4, IN_CALL);
const alone = [];
const together = [];
for (let round = 0; round < ROUNDS; round++) {
  alone.push(await measure(1, 1, 600));
  together.push(await measure(1, IN_CALL, 600));
}

/** Time of a call and of each decision in it, from that of a decision alone and in a call of 25. */
function costOf(side) {
  const one = median(alone.map((result) => result[side]));
  const many = median(together.map((result) => result[side]));
  const call = Math.max(0, ((one - many) * IN_CALL) / (IN_CALL - 1));
  return { call, operation: one - call };
}
const cost = { server: costOf('server'), client: costOf('client') };
print(
  'Time of a decision in microseconds (a window and a daily quota), all that the process does included',
  ['server', 'client'].map((side) => ({
    of: side,
    alone: (cost[side].call + cost[side].operation).toFixed(1),
    'in a call of 25': (cost[side].call / IN_CALL + cost[side].operation).toFixed(1),
    'a call': cost[side].call.toFixed(1),
    'a decision in it': cost[side].operation.toFixed(1),
  })),
);

const real = [];
for (const processes of [1, 2, 4]) {
  const runs = [];
  for (let round = 0; round < ROUNDS; round++) {
    const { perSecond, cores } = await measure(processes, IN_CALL, 600);
    const predicted = predictThroughput({ processes, callers: IN_CALL, cores, ...cost });
    runs.push({ perSecond, cores, predicted, ratio: perSecond / predicted });
  }
  const middle = (name) => median(runs.map((run) => run[name]));
  real.push({
    processes,
    'on two cores': Math.round(predictThroughput({ processes, callers: IN_CALL, cores: CORES, ...cost })),
    'cores got': middle('cores').toFixed(2),
    predicted: Math.round(middle('predicted')),
    measured: Math.round(middle('perSecond')),
    'measured / predicted': middle('ratio').toFixed(2),
  });
}
print('Decisions a second, 25 callers in each process: predicted for the cores that the processes got', real);

for (const gateway of gateways) gateway.disconnect();
observer.disconnect();
await server.stop();

/** What a server of this machine can decide, one decision in a call, rounded. */
const capacity = Number((1e6 / (cost.server.call + cost.server.operation)).toPrecision(2));

print(
  '1,000 gateways, ten million keys, one minute: utilization of the shards, decision in ms, memory of the fullest shard',
  [
    [0.6, 1],
    [0.9, 1],
    [0.6, 3],
    [0.6, 6],
    [0.6, 12],
    [0.8, 12],
  ].map(([load, shards]) => {
    const requestsPerSecond = Math.round(load * capacity * shards);
    const result = simulateKeys({ requestsPerSecond, shards, cost: cost.server, bytes: BYTES });
    return {
      'requests/s': requestsPerSecond,
      shards,
      mean: percent(result.utilization),
      busiest: percent(result.busiest),
      p50: result.p50.toFixed(2),
      p99: result.p99 >= 1000 ? 'overloaded' : result.p99.toFixed(2),
      'live keys': result.liveKeys,
      MiB: Math.round(result.mebibytes),
    };
  }),
);

// Twice what one server can decide.
const HOT_LIMIT = capacity * 2 * 60;
print(
  `One counter of ${HOT_LIMIT.toLocaleString('en')} a minute under 1,000 gateways, an even load of a part of the limit`,
  [
    [0.9, undefined],
    [0.9, { share: 0.01, maxAgeMs: 1000 }],
    [1, undefined],
    [1, { share: 0.01, maxAgeMs: 1000 }],
  ].map(([load, ahead]) => {
    const result = simulateHotKey({ limit: HOT_LIMIT, load, cost: cost.server, ahead });
    if (result.fullest > HOT_LIMIT) throw new Error(`${result.fullest} were admitted in one window`);
    return {
      load: percent(load),
      ahead: ahead === undefined ? 'no' : '1 %, 1 s',
      'calls/s': Math.round(result.callsPerSecond),
      'of one shard': percent(result.utilization),
      'refused early': percent(result.refusedEarly),
    };
  }),
);
