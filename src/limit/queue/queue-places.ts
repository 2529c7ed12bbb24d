import type { Arrival, FairPlace } from './arrival.js';
import { type ClientSnapshot, replay } from './expected-wait.js';
import type { JobLengths } from './job-lengths.js';
import type { FairTicket } from './queue-client.js';
import { QueueClient } from './queue-client.js';
import type { QueueClients } from './queue-clients.js';

/** The order of a ticket that is not there yet: after all others. */
const NEWCOMER = Number.MAX_SAFE_INTEGER;

/** All tickets that wait, in the order in which they will start. */
export function places(slots: number, clients: QueueClients, lengths: JobLengths, now: number): FairPlace[] {
  const tickets = new Map<number, FairTicket>();
  for (const ticket of clients.waiting()) tickets.set(ticket.order, ticket);
  const snapshots = Array.from(clients, (client) => lengths.snapshot(client, now));
  const found: FairPlace[] = [];
  replay(slots, snapshots, (order, at) => {
    const expectedWait = lengths.areKnown ? at : undefined;
    found.push({ ticket: tickets.get(order) as FairTicket, position: found.length + 1, expectedWait });
    return false;
  });
  return found;
}

/** The place of a request that comes now. */
export function newcomerPlace(
  slots: number,
  clients: QueueClients,
  lengths: JobLengths,
  arrival: Arrival,
  now: number,
): Pick<FairPlace, 'position' | 'expectedWait'> {
  const snapshots = [withNewcomer(clients, lengths, arrival, now)];
  for (const client of clients) if (client.id !== arrival.client) snapshots.push(lengths.snapshot(client, now));
  let position = 1;
  let expectedWait: number | undefined;
  replay(slots, snapshots, (order, at) => {
    if (order !== NEWCOMER) {
      position++;
      return false;
    }
    if (lengths.areKnown) expectedWait = at;
    return true;
  });
  return { position, expectedWait };
}

/** The client of a request that comes now, as if it had come. */
function withNewcomer(clients: QueueClients, lengths: JobLengths, arrival: Arrival, now: number): ClientSnapshot {
  const virtualTime = clients.virtualTime(now);
  const { client: id, weight } = arrival;
  const client = clients.get(id) ?? new QueueClient(id, weight, virtualTime, now);
  const { service, running, waiting } = lengths.snapshot(client, now);
  return {
    service: waiting.length > 0 ? service : Math.max(service, virtualTime),
    weight,
    running,
    waiting: [...waiting, { order: NEWCOMER, length: 0 }],
  };
}
