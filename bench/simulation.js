// Gateways, keys and Redis servers by a simulated clock. All times are microseconds, unless a name says otherwise.

const SECOND = 1e6;

/** Random numbers from 0 to 1, the same in each run. */
export function randomNumbers(seed = 1) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** A Redis server: it runs calls one after another. */
export class Shard {
  #freeAt = 0;
  busy = 0;
  calls = 0;

  /** Runs a call that arrives at a moment, and returns when it is done. */
  run(at, cost) {
    this.calls++;
    this.busy += cost;
    this.#freeAt = Math.max(at, this.#freeAt) + cost;
    return this.#freeAt;
  }
}

/** Times in steps of 10 µs, up to a second. */
class Latencies {
  #steps = new Uint32Array(1e5);
  #count = 0;

  add(time) {
    this.#steps[Math.min(this.#steps.length - 1, Math.floor(time / 10))]++;
    this.#count++;
  }

  /** In milliseconds. */
  percentile(part) {
    let seen = 0;
    const step = this.#steps.findIndex((count) => {
      seen += count;
      return seen >= part * this.#count;
    });
    return (step + 1) / 100;
  }
}

/**
 * Requests about many keys, some of which are asked for much more often than others. In a Cluster, each decision is a
 * call of its own. A single server gets all decisions of one turn of a gateway's event loop in one call.
 *
 * @param cost `{ call, operation }`: server time of a call, and of each decision in it
 * @param bytes `{ key, entry }`: memory of a key with its first request in the window, and of each further request
 */
export function simulateKeys({
  gateways = 1000,
  keys = 10_000_000,
  requestsPerSecond,
  shards,
  seconds = 60,
  cost,
  bytes,
  roundTrip = 300,
  turn = 200,
  limit = 60,
  random = randomNumbers(),
}) {
  const servers = Array.from({ length: shards }, () => new Shard());
  const latencies = new Latencies();
  const requestsOf = new Uint8Array(keys);
  const memory = new Float64Array(shards);
  /** Calls that are being collected, in the order in which they go out; and how many decisions each gateway has in its. */
  const open = [];
  const waiting = new Uint16Array(gateways);
  const end = seconds * SECOND;
  const logKeys = Math.log(keys + 1);
  let liveKeys = 0;
  for (let now = 0; now < end; now += (-Math.log(1 - random()) * SECOND) / requestsPerSecond) {
    // The n-th key is asked for half as often as the one at n / 2.
    const key = Math.min(keys, Math.floor(Math.exp(random() * logKeys))) - 1;
    const shard = key % shards;
    if (requestsOf[key] === 0) {
      liveKeys++;
      memory[shard] += bytes.key;
    }
    if (requestsOf[key] < limit) {
      requestsOf[key]++;
      memory[shard] += bytes.entry;
    }
    const gateway = Math.floor(random() * gateways);
    if (shards > 1) {
      latencies.add(servers[shard].run(now, cost.call + cost.operation) + roundTrip - now);
      continue;
    }
    for (let call = open[0]; call !== undefined && call.sent <= now; call = open[0]) {
      open.shift();
      const done = servers[0].run(call.sent, cost.call + cost.operation * waiting[call.gateway]);
      latencies.add(done + roundTrip - call.sent + turn);
      waiting[call.gateway] = 0;
    }
    if (waiting[gateway]++ === 0) open.push({ gateway, sent: now + turn });
  }
  const busiest = servers.reduce((most, { busy }) => Math.max(most, busy), 0);
  return {
    utilization: servers.reduce((sum, { busy }) => sum + busy, 0) / shards / end,
    busiest: busiest / end,
    p50: latencies.percentile(0.5),
    p99: latencies.percentile(0.99),
    liveKeys,
    mebibytes: Math.max(...memory) / 2 ** 20,
  };
}

/** The log of a sliding window by ticks, as Redis keeps it. */
class WindowLog {
  #entries = [];
  total = 0;

  /** Forgets what has left the window. */
  forget(before) {
    while (this.#entries.length > 0 && this.#entries[0].time <= before) this.total -= this.#entries.shift().units;
  }

  add(time, units) {
    const newest = this.#entries.at(-1);
    if (newest !== undefined && newest.time >= time) newest.units += units;
    else this.#entries.push({ time, units });
    this.total += units;
  }

  /** Removes units that were added at the newest entry or before. */
  remove(time, units) {
    const entry = this.#entries.find((one) => one.time >= time);
    if (entry === undefined) return;
    entry.units -= units;
    this.total -= units;
  }
}

/**
 * One counter of all gateways. With `ahead`, each takes units for the rest of a tick, as many as it used in the last one
 * and a quarter more, and gives back what it has not used.
 *
 * @param load requests a second, as a part of the limit a second
 */
export function simulateHotKey({
  gateways = 1000,
  limit,
  windowMs = 60_000,
  load = 1,
  seconds = 150,
  cost,
  ahead,
  random = randomNumbers(),
}) {
  const window = windowMs * 1000;
  const tick =
    Math.floor(windowMs / 64) *
    1000 *
    (ahead === undefined ? 1 : Math.max(1, Math.floor(ahead.maxAgeMs / Math.floor(windowMs / 64))));
  const most = ahead === undefined ? 0 : Math.floor(limit * ahead.share);
  const rate = (load * limit * SECOND) / window;
  const server = new Shard();
  const log = new WindowLog();
  const left = new Uint32Array(gateways);
  const used = new Uint32Array(gateways);
  const usedBefore = new Uint32Array(gateways);
  /** Units admitted in each hundredth of a second. */
  const admittedIn = new Uint32Array(seconds * 100);
  const end = seconds * SECOND;
  let asked = 0;
  let refused = 0;
  let tickEnd = tick;
  for (let now = 0; now < end; now += (-Math.log(1 - random()) * SECOND) / rate) {
    while (now > tickEnd) {
      for (let gateway = 0; gateway < gateways; gateway++) {
        if (left[gateway] > 0) {
          log.remove(tickEnd, left[gateway]);
          server.run(tickEnd, cost.call + cost.operation);
        }
        left[gateway] = 0;
        usedBefore[gateway] = used[gateway];
        used[gateway] = 0;
      }
      tickEnd += tick;
    }
    const gateway = Math.floor(random() * gateways);
    const isFull = now > window;
    if (isFull) asked++;
    let isAdmitted = left[gateway] > 0;
    if (isAdmitted) left[gateway]--;
    else {
      log.forget(now - window);
      const expected = Math.max(usedBefore[gateway], used[gateway]) * 1.25 * ((tickEnd - now) / tick);
      let wanted = Math.min(Math.ceil(expected), most);
      if (log.total + wanted > limit) wanted = Math.floor((limit - log.total) / 4);
      const units = ahead === undefined || wanted < 16 ? 1 : wanted;
      server.run(now, cost.call + cost.operation);
      isAdmitted = log.total + units <= limit;
      if (isAdmitted) {
        log.add(tickEnd, units);
        left[gateway] = units - 1;
      }
    }
    if (isAdmitted) {
      used[gateway]++;
      admittedIn[Math.floor(now / 10_000)]++;
    } else if (isFull) refused++;
  }
  return {
    callsPerSecond: server.calls / seconds,
    utilization: server.busy / end,
    refusedEarly: refused / asked,
    // What was admitted in any window, to a hundredth of a second.
    fullest: fullestInterval(admittedIn, windowMs / 10 - 1),
  };
}

function fullestInterval(counts, length) {
  let units = 0;
  let most = 0;
  counts.forEach((count, i) => {
    units += count - (i >= length ? counts[i - length] : 0);
    most = Math.max(most, units);
  });
  return most;
}

/**
 * Decisions a second of processes on one machine, which all ask as fast as they are answered. Server and processes share
 * the cores, and a server uses one at most.
 *
 * @param server `{ call, operation }`: server time of a call, and of each decision in it
 * @param client the same of a process
 */
export function predictThroughput({ processes, callers, cores, server, client, mostInCall = 25 }) {
  const inCall = callers / Math.ceil(callers / mostInCall);
  const serverTime = server.call / inCall + server.operation;
  const clientTime = client.call / inCall + client.operation;
  return Math.min(SECOND / serverTime, (processes * SECOND) / clientTime, (cores * SECOND) / (serverTime + clientTime));
}
