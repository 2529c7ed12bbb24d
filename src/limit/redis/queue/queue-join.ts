import type { QueuePlace } from '../../../core/queue-place.js';
import type { JoinAnswer } from './queue-reply.js';
import type { RedisTicket } from './queue-ticket.js';
import type { QueueView } from './queue-view.js';

/**
 * What becomes of a new ticket.
 * - `again`: it joins once more, and may push out another.
 * - `refused`: Redis has it, and must forget it.
 */
export type JoinDecision =
  | { readonly kind: 'again' }
  | { readonly kind: 'turn'; readonly grant: number }
  | { readonly kind: 'waiting'; readonly place: QueuePlace }
  | { readonly kind: 'full' | 'refused'; readonly expectedWait: number };

/**
 * Decides about a new ticket from Redis' answer and the snapshot that came with it. `grant` is the number of its turn, if it
 * has one. `without` has the orders of the tickets of this reply that were refused before it.
 */
export function decideJoin(
  view: QueueView,
  { weight, maxWait }: RedisTicket,
  mayPushOut: boolean,
  answer: JoinAnswer,
  grant: number | undefined,
  without: ReadonlySet<number>,
): JoinDecision {
  if (answer.kind === 'joined') {
    if (grant !== undefined) return { kind: 'turn', grant };
    const place = view.placeOfLast(answer.order, without);
    // What was pushed out does not come back.
    if (!mayPushOut && isTooLong(place, maxWait)) return { kind: 'refused', expectedWait: place.expectedWait };
    return { kind: 'waiting', place: place ?? { position: 1, expectedWait: undefined } };
  }
  const place = view.placeOfNewcomer(answer.client, weight, answer.service);
  if (answer.kind === 'over' && !isTooLong(place, maxWait)) return { kind: 'again' };
  return { kind: 'full', expectedWait: place?.expectedWait ?? maxWait };
}

function isTooLong(place: QueuePlace | undefined, maxWait: number): place is QueuePlace & { expectedWait: number } {
  return place?.expectedWait !== undefined && place.expectedWait > maxWait;
}
