/** One client of a queue, at one moment. */
export interface ClientSnapshot {
  /** Worker time per weight that it was served so far, in milliseconds. */
  readonly service: number;
  readonly weight: number;
  /** How much longer each of its running jobs will take, in milliseconds. */
  readonly running: readonly number[];
  /** Its tickets that wait, first in first out. */
  readonly waiting: readonly WaitingSnapshot[];
}

/** A ticket that waits. */
export interface WaitingSnapshot {
  /** Rises with each ticket of the queue. */
  readonly order: number;
  /** How long its job will take, in milliseconds. */
  readonly length: number;
}

/** Receives a ticket that starts `at` milliseconds from now. Returns true to stop. */
type OnStart = (order: number, at: number) => boolean;

/** A client in the replay. */
interface Replayed {
  readonly client: ClientSnapshot;
  /** Its service at `since`. */
  service: number;
  since: number;
  running: number;
  /** How many of its waiting tickets have started. */
  started: number;
}

/**
 * Replays a queue from now on, as if no request arrived or left: whenever a slot is free, the next ticket in fair order
 * starts and runs for its length. Calls `onStart` for each ticket in the order in which they start.
 */
export function replay(slots: number, clients: readonly ClientSnapshot[], onStart: OnStart): void {
  const ends: [at: number, client: Replayed][] = [];
  /** Clients with waiting tickets and nothing running: their service stands still. The least served is last. */
  const resting: Replayed[] = [];
  /** Clients with waiting tickets and running jobs: no more than there are slots. */
  const busy: Replayed[] = [];
  for (const client of clients) {
    const replayed = { client, service: client.service, since: 0, running: client.running.length, started: 0 };
    for (const left of client.running) insert(ends, [left, replayed], endsLater);
    if (client.waiting.length === 0) continue;
    if (replayed.running > 0) busy.push(replayed);
    else resting.push(replayed);
  }
  resting.sort((a, b) => (isBefore(a, b, 0) ? 1 : -1));
  let now = 0;
  while (resting.length + busy.length > 0) {
    while (ends.length >= slots) {
      const [at, client] = ends.pop() as [number, Replayed];
      now = Math.max(now, at);
      fold(client, now);
      client.running--;
      if (client.running > 0 || client.started >= client.client.waiting.length) continue;
      busy.splice(busy.indexOf(client), 1);
      insert(resting, client, (a, b) => isBefore(b, a, now));
    }
    let next = resting.at(-1);
    for (const client of busy) if (next === undefined || isBefore(client, next, now)) next = client;
    if (next === undefined) return;
    const ticket = next.client.waiting[next.started] as WaitingSnapshot;
    if (onStart(ticket.order, now)) return;
    fold(next, now);
    if (next.running === 0) {
      resting.pop();
      busy.push(next);
    }
    next.running++;
    next.started++;
    if (next.started === next.client.waiting.length) busy.splice(busy.indexOf(next), 1);
    insert(ends, [now + ticket.length, next], endsLater);
  }
}

function serviceAt({ client, service, running, since }: Replayed, now: number): number {
  return service + (running * (now - since)) / client.weight;
}

function fold(client: Replayed, now: number): void {
  client.service = serviceAt(client, now);
  client.since = now;
}

/** Whether `a` is served before `b`: least served, then fewest running, then the earliest ticket. */
function isBefore(a: Replayed, b: Replayed, now: number): boolean {
  const difference = serviceAt(a, now) - serviceAt(b, now);
  if (difference !== 0) return difference < 0;
  if (a.running !== b.running) return a.running < b.running;
  return headOf(a) < headOf(b);
}

function headOf({ client, started }: Replayed): number {
  return client.waiting[started]?.order ?? Number.POSITIVE_INFINITY;
}

function endsLater([a]: [number, Replayed], [b]: [number, Replayed]): boolean {
  return a > b;
}

/** Inserts into a sorted list, before what does not precede `item`. */
function insert<T>(list: T[], item: T, precedes: (a: T, b: T) => boolean): void {
  let low = 0;
  let high = list.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (precedes(list[middle] as T, item)) low = middle + 1;
    else high = middle;
  }
  list.splice(low, 0, item);
}
