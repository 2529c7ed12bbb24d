import { hash } from 'node:crypto';

/** What a booking needs to know of the exchange of its job. */
export interface AccountOfJob {
  readonly client: string;
  /** Of the ledger. */
  readonly place: string | undefined;
}

const FORM = /^([a-z0-9]{0,16})\.([\w-]{1,600})$/;
const MAX_CLIENT = 128;

/** The text that the worker keeps with a job, so that another gateway can book it. */
export function accountText({ client, place = '' }: AccountOfJob): string {
  return `${place}.${Buffer.from(client, 'utf8').toString('base64url')}`;
}

/** Reads the text of a job. Undefined if no gateway has written it. */
export function accountOf(text: string): AccountOfJob | undefined {
  const [, place, encoded] = FORM.exec(text) ?? [];
  if (encoded === undefined) return undefined;
  const client = Buffer.from(encoded, 'base64url').toString('utf8');
  return client === '' || client.length > MAX_CLIENT ? undefined : { client, place: place === '' ? undefined : place };
}

/** A ledger accepts names of 128 characters. The rest is for the slot and the token. */
const MAX_INSTANCE = 64;

/** The name under which a job is booked, the same for all gateways. */
export function bookedName(instance: string, slot: number, token: number): string {
  const name = instance.length <= MAX_INSTANCE ? instance : hash('sha256', instance, 'base64url');
  return `${name} ${slot} ${token}`;
}
