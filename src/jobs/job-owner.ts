import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import type { Exchange } from '../core/exchange.js';
import type { JobRecord } from './job-store.js';

/** The request header in which a caller without credentials shows the token of its job. */
export const JOB_TOKEN = 'Job-Token';

/** What the owner of an anonymous caller's job begins with. */
const TOKEN_OWNER = 'token:';

/** 128 bits in base64url, with an end that only 128 bits can have. */
const ID = /^[A-Za-z0-9_-]{21}[AQgw]$/;

/** Whose a new job is. */
export interface NewOwner {
  /** As stores keep it. */
  readonly owner: string;
  /** What an anonymous caller must show later. Undefined if the caller has a principal. */
  readonly token: string | undefined;
}

/** 128 random bits. */
export function randomId(): string {
  return randomBytes(16).toString('base64url');
}

export function isJobId(value: string | undefined): value is string {
  return value !== undefined && ID.test(value);
}

/** The owner of a job that this caller submits. A principal owns by its id, so that its next key owns too. */
export function newOwner({ principal }: Exchange): NewOwner {
  if (principal !== undefined) return { owner: ownerOfPrincipal(principal.id), token: undefined };
  const token = randomId();
  return { owner: ownerOfToken(token), token };
}

/** Who shares in what a store has room for. Anonymous callers are one: each of their jobs has an owner of its own. */
export function shareOf(owner: string): string {
  return owner.startsWith(TOKEN_OWNER) ? TOKEN_OWNER : owner;
}

/** Whether the caller may see a job. Takes the same time whether it may or not, and for a job that is missing. */
export function mayAccess(exchange: Exchange, record: JobRecord | undefined, adminScope: string | undefined): boolean {
  const { principal } = exchange;
  const isAdmin = adminScope !== undefined && principal?.scopes.includes(adminScope) === true;
  const owner = record?.owner ?? '';
  const isOwner = principal !== undefined && isEqual(ownerOfPrincipal(principal.id), owner);
  const tokens = exchange.request.fieldLines('job-token');
  const [token = ''] = tokens;
  const hasToken = tokens.length === 1 && isJobId(token) && isEqual(ownerOfToken(token), owner);
  return record !== undefined && (isAdmin || isOwner || hasToken);
}

function ownerOfPrincipal(id: string): string {
  return `principal:${id}`;
}

/** A token is stored only as its digest. */
function ownerOfToken(token: string): string {
  return `${TOKEN_OWNER}${digest(token).toString('base64url')}`;
}

function isEqual(a: string, b: string): boolean {
  return timingSafeEqual(digest(a), digest(b));
}

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}
