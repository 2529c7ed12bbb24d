/** What a ticket looks like in a call. */
export interface TicketData {
  /** Its number in the process. */
  readonly number: number;
  /** As `clientName` returns it. */
  readonly client: string;
  readonly weight: number;
  /** What the service thinks that its job takes, in milliseconds. */
  readonly estimate: number | undefined;
  /** Its place by arrival in Redis; -1 before it has one. */
  readonly order: number;
}

/** One step of a ticket, as queue.lua describes it. A step that runs twice does no more than once. */
export type QueueStep = readonly (string | number)[];

export const steps = {
  /** `mayPushOut`: if the queue is full, another ticket goes. */
  join: (ticket: TicketData, mayPushOut: boolean): QueueStep => ['join', ...dataOf(ticket), mayPushOut ? 1 : 0],
  leave: (number: number): QueueStep => ['leave', number],
  /** As `leave`, for a ticket that has just come and must not wait. */
  refuse: (number: number): QueueStep => ['refuse', number],
  /** `grant` is the number of the turn that is given back. */
  setAside: (number: number, grant: number): QueueStep => ['aside', number, grant],
  start: (ticket: TicketData): QueueStep => ['start', ...dataOf(ticket)],
  end: (number: number): QueueStep => ['stop', number],
  /** All tickets of the process. Those that it does not name are gone. */
  list: (numbers: readonly number[]): QueueStep => ['list', numbers.join(' ')],
};

function dataOf({ number, client, weight, estimate, order }: TicketData): QueueStep {
  return [number, client, weight, estimate ?? -1, order];
}
