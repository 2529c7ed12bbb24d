import type { Exchange } from '../core/exchange.js';
import { problem } from '../core/problem.js';
import { jsonReply, type Reply, refuse } from '../core/reply.js';
import type { ActedRecord, OperatorAction } from './operator-action.js';
import { CLIENT_ACTIONS } from './operator-action.js';
import type { OperatorControls } from './operator-controls.js';

const MAX_BYTES = 8192;
const MAX_NAME = 1024;
const FOREIGN = refuse(problem('operator-request-foreign'));
const FAILED = refuse(problem('operator-action-failed'));
const NO_JOB = refuse(problem('job-not-found'));
const TOO_LARGE = refuse(problem('content-too-large'));

/** Does the action that a request asks for. Undefined for the name of no action. */
export async function actionReply(
  exchange: Exchange,
  controls: OperatorControls,
  name: string,
): Promise<Reply | undefined> {
  if (!controls.actions.some((action) => action === name)) return undefined;
  if (isForeign(exchange)) return FOREIGN;
  const { request } = exchange;
  if (request.readBody === undefined)
    throw new TypeError('gatewarden: operatorPage needs an adapter that reads bodies');
  const body = await request.readBody(MAX_BYTES);
  if (body === 'aborted') return undefined;
  if (body === 'too-large') return TOO_LARGE;
  if (body === 'consumed') {
    throw new TypeError('gatewarden: operatorPage cannot read the body, which something has read before; put it first');
  }
  const action = actionOf(name, body);
  if (typeof action === 'string') return refuse({ ...problem('operator-request-malformed'), detail: action });
  return replyOf(await controls.act(exchange, action));
}

/**
 * Whether the page of another site may have sent the request. A form cannot send JSON, and a script of another site is marked by
 * the browser, by `Sec-Fetch-Site` or by `Origin`. So this holds also where a cookie, or no key at all, lets operators in.
 */
function isForeign({ request }: Exchange): boolean {
  const [type = ''] = request.fieldLines('content-type');
  if (!/^application\/json *(?:;|$)/i.test(type)) return true;
  const [site] = request.fieldLines('sec-fetch-site');
  if (site !== undefined) return site !== 'same-origin' && site !== 'none';
  // Browsers send `Sec-Fetch-Site` to secure origins only. They never add a bearer key by themselves, as they do a password.
  const [authorization = ''] = request.fieldLines('authorization');
  if (/^Bearer /i.test(authorization)) return false;
  const [origin] = request.fieldLines('origin');
  const [host] = request.fieldLines('host');
  return origin !== undefined && (!URL.canParse(origin) || new URL(origin).host !== host?.toLowerCase());
}

/** The action, or what is wrong with the body. */
function actionOf(name: string, body: Uint8Array): OperatorAction | string {
  const parsed = json(body);
  const clientAction = CLIENT_ACTIONS.find((action) => action === name);
  const member = clientAction === undefined ? 'job' : 'client';
  const value = parsed?.[member];
  if (typeof value !== 'string' || value === '' || value.length > MAX_NAME) {
    return `The body must be a JSON object with "${member}", a text of 1 to ${MAX_NAME} characters.`;
  }
  return clientAction === undefined
    ? { action: 'cancel-job', job: value }
    : ({ action: clientAction, client: value } satisfies OperatorAction);
}

function json(body: Uint8Array): Readonly<Record<string, unknown>> | undefined {
  try {
    const parsed: unknown = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(body));
    return typeof parsed === 'object' && parsed !== null ? (parsed as Readonly<Record<string, unknown>>) : undefined;
  } catch {
    return undefined;
  }
}

function replyOf({ action, client, job, result, until, at, isRecorded }: ActedRecord): Reply {
  if (result === 'failed') return FAILED;
  if (result === 'not-found') return NO_JOB;
  return jsonReply(200, { action, client, job, result, until, at, isRecorded: isRecorded ? undefined : false });
}
