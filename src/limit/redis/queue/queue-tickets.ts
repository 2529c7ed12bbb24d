import type { Joined, JoinRequest, QueueSettings } from '../../queue/waiting-queue.js';
import type { StoreError } from '../../store.js';
import { tagText } from '../layout.js';
import { isOutage } from '../outage.js';
import { type QueueStep, steps } from './queue-call.js';
import { decideJoin } from './queue-join.js';
import type { QueueKeys } from './queue-key.js';
import { type LinkedTickets, QueueLink } from './queue-link.js';
import { type JoinAnswer, type QueueReply, readQueueReply } from './queue-reply.js';
import { type QueueSurroundings, waitingLease } from './queue-surroundings.js';
import { RedisTicket, type TicketPort } from './queue-ticket.js';
import { TicketTimeouts } from './queue-timeouts.js';
import { QueueView } from './queue-view.js';

/** Running tickets are renewed at this part of their lease, if no others wait. */
const RENEW_AFTER = 1 / 4;
const MAX_PAUSE_MS = 10_000;

interface Join {
  readonly ticket: RedisTicket;
  mayPushOut: boolean;
  resolve(joined: Joined): void;
  reject(error: unknown): void;
}

/** The tickets that this process has in one queue. */
export class QueueTickets implements LinkedTickets, TicketPort {
  readonly #around: QueueSurroundings;
  readonly #keys: QueueKeys;
  readonly #onIdle: () => void;
  readonly #link = new QueueLink(this);
  readonly #timeouts: TicketTimeouts;
  /** All that are not gone, by their numbers. */
  readonly #tickets = new Map<number, RedisTicket>();
  readonly #joins = new Map<number, Join>();
  readonly #view: QueueView;
  /** The policy's limit may change from request to request. */
  #settings: QueueSettings;
  /** When Redis last answered, by the steady clock. */
  #heardAt: number;

  /** `onIdle` is called when no ticket is left. It may be called again. */
  constructor(around: QueueSurroundings, keys: QueueKeys, settings: QueueSettings, onIdle: () => void) {
    this.#around = around;
    this.#keys = keys;
    this.#settings = settings;
    this.#onIdle = onIdle;
    this.#heardAt = around.clock.steady();
    this.#view = new QueueView(around.clock);
    this.#timeouts = new TicketTimeouts(around.clock, (ticket) => this.#end(ticket, 'timeout'));
  }

  join(settings: QueueSettings, request: JoinRequest): Promise<Joined> {
    this.#settings = settings;
    const { clock, nextNumber } = this.#around;
    const ticket = new RedisTicket(nextNumber(), request, clock.steady(), this);
    this.#tickets.set(ticket.number, ticket);
    return new Promise((resolve, reject) => {
      this.#joins.set(ticket.number, { ticket, mayPushOut: false, resolve, reject });
      this.#link.push(steps.join(ticket, false));
    });
  }

  /** Something has happened to the queue. */
  wake(): void {
    if (this.#tickets.size > 0) this.#link.poll();
  }

  /** Rejects all that wait. Nothing is sent after this. */
  stop(error: StoreError): void {
    for (const { ticket, reject } of this.#joins.values()) {
      this.#tickets.delete(ticket.number);
      reject(error);
    }
    this.#joins.clear();
    this.#rejectAll(error);
    this.#timeouts.stop();
    this.#link.stop();
  }

  setAside(ticket: RedisTicket): void {
    this.#timeouts.add(ticket);
    this.#link.push(steps.setAside(ticket.number, ticket.grant));
  }

  started(ticket: RedisTicket): void {
    this.#timeouts.remove(ticket);
    this.#link.push(steps.start(ticket));
  }

  gone(ticket: RedisTicket, hadStarted: boolean): void {
    this.#timeouts.remove(ticket);
    this.#tickets.delete(ticket.number);
    this.#link.push(hadStarted ? steps.end(ticket.number) : steps.leave(ticket.number));
  }

  numbers(): readonly number[] {
    return [...this.#tickets.keys()];
  }

  get pollAfter(): number | undefined {
    const interval = this.#around.intervalFor(this.#view.waiting);
    const { lease } = this.#settings.policy;
    if (this.#tickets.size === 0) {
      // Redis may still have a ticket that is gone. After its lease it has not.
      const silent = this.#around.clock.steady() - this.#heardAt;
      return this.#link.isUnsure && silent <= Math.max(lease, waitingLease(interval)) ? interval : undefined;
    }
    for (const { state } of this.#tickets.values()) if (state !== 'running') return interval;
    return Math.max(interval, Math.min(lease * RENEW_AFTER, MAX_PAUSE_MS));
  }

  now(): number {
    return this.#around.clock.isManual ? this.#around.clock.now() : -1;
  }

  async call(sent: readonly QueueStep[], now: number): Promise<void> {
    const { script, owner, timeout, channel, intervalFor } = this.#around;
    const interval = intervalFor(this.#view.waiting);
    const { policy, maxWaiting } = this.#settings;
    const turnTime = waitingLease(interval) + 4 * timeout;
    const header = [now, owner, interval, policy.limit, maxWaiting, policy.lease, turnTime, this.#known(sent)];
    const reply = await script.call(this.#keys, [...header, channel(), tagText(policy), ...sent.flat()]);
    this.#read(readQueueReply(reply, policy.limit));
    if (this.pollAfter === undefined) this.#onIdle();
  }

  failed(sent: readonly QueueStep[], error: StoreError): void {
    for (const [step, number] of sent) {
      const join = step === 'join' ? this.#joins.get(number as number) : undefined;
      if (join === undefined) continue;
      this.#joins.delete(join.ticket.number);
      this.#tickets.delete(join.ticket.number);
      join.ticket.state = 'gone';
      join.reject(error);
    }
    const silent = this.#around.clock.steady() - this.#heardAt;
    if (silent > waitingLease(this.#around.intervalFor(this.#view.waiting)) || !isOutage(error)) this.#rejectAll(error);
    if (this.pollAfter === undefined) this.#onIdle();
  }

  /** The version of the snapshot that need not be sent again. Empty: no snapshot is needed. */
  #known(sent: readonly QueueStep[]): string | number {
    if (sent.some(([step]) => step === 'join')) return -1;
    for (const { state } of this.#tickets.values()) if (state === 'waiting') return this.#view.version;
    return '';
  }

  #read(reply: QueueReply): void {
    this.#heardAt = this.#around.clock.steady();
    // Their places were in the snapshot before this one.
    for (const number of reply.pushedOut) this.#wasPushedOut(number);
    const isNew = this.#view.update(reply);
    const refused = new Set<number>();
    for (const [number, answer] of reply.joins) {
      const join = this.#joins.get(number);
      if (join !== undefined) this.#joined(join, answer, reply.turns.get(number), refused);
      else if (answer.kind !== 'joined') this.#wasPushedOut(number);
    }
    for (const [number, grant] of reply.turns) this.#hasTurn(number, grant);
    for (const number of reply.unknown) this.#wasForgotten(number);
    if (isNew) this.#tellPlaces();
    this.#timeouts.check();
  }

  #tellPlaces(): void {
    for (const ticket of [...this.#tickets.values()]) {
      if (ticket.state === 'waiting' && ticket.onPlace !== undefined) ticket.tell(this.#view.placeOf(ticket));
    }
  }

  #joined(join: Join, answer: JoinAnswer, grant: number | undefined, refused: Set<number>): void {
    const { ticket, resolve } = join;
    const { number } = ticket;
    const decision = decideJoin(this.#view, ticket, join.mayPushOut, answer, grant, refused);
    if (decision.kind === 'again') {
      join.mayPushOut = true;
      this.#link.push(steps.join(ticket, true));
      return;
    }
    this.#joins.delete(number);
    if (answer.kind === 'joined') ticket.order = answer.order;
    if (decision.kind === 'turn') {
      ticket.grant = decision.grant;
      ticket.state = 'turn';
      resolve({ kind: 'turn', ticket });
    } else if (decision.kind === 'waiting') {
      const { place } = decision;
      ticket.state = 'waiting';
      ticket.knows(place);
      this.#timeouts.add(ticket);
      resolve({ kind: 'waiting', ticket, place });
    } else {
      ticket.state = 'gone';
      this.#tickets.delete(number);
      if (decision.kind === 'refused') {
        refused.add(ticket.order);
        this.#link.push(steps.refuse(number));
      }
      resolve({ kind: 'full', expectedWait: decision.expectedWait });
    }
  }

  /** It has a turn in Redis. A turn that it had before may have been taken back, or the step that follows it was lost. */
  #hasTurn(number: number, grant: number): void {
    const ticket = this.#tickets.get(number);
    if (ticket === undefined) this.#link.push(steps.leave(number));
    else if (ticket.state === 'running') this.#link.push(steps.start(ticket));
    else if (ticket.state === 'turn') ticket.grant = grant;
    else if (ticket.state === 'waiting' && grant <= ticket.grant) this.#link.push(steps.setAside(number, grant));
    else if (ticket.state === 'waiting') {
      ticket.grant = grant;
      ticket.state = 'turn';
      this.#timeouts.remove(ticket);
      ticket.finish({ kind: 'turn' });
    }
  }

  #wasPushedOut(number: number): void {
    const ticket = this.#tickets.get(number);
    if (ticket?.state === 'waiting') this.#end(ticket, 'pushed-out');
  }

  /** Redis has lost it, or got no news of it for too long. It comes back to its place. */
  #wasForgotten(number: number): void {
    const ticket = this.#tickets.get(number);
    if (ticket?.state === 'waiting') {
      // Its turns are counted from the beginning.
      ticket.grant = 0;
      this.#link.push(steps.join(ticket, true));
    } else if (ticket?.state === 'running') this.#link.push(steps.start(ticket));
  }

  /** It waits no longer, without a turn. */
  #end(ticket: RedisTicket, kind: 'timeout' | 'pushed-out'): void {
    const expectedWait = this.#view.waitAfter(ticket) ?? ticket.maxWait;
    ticket.state = 'gone';
    this.gone(ticket, false);
    ticket.finish({ kind, expectedWait });
  }

  #rejectAll(error: StoreError): void {
    for (const ticket of [...this.#tickets.values()]) {
      if (ticket.state !== 'waiting') continue;
      ticket.state = 'gone';
      this.gone(ticket, false);
      ticket.finish(error);
    }
  }
}
