import { createHash } from 'node:crypto';
import type { Exchange } from '../core/exchange.js';
import { problem } from '../core/problem.js';
import { jsonReply, type Reply, refuse } from '../core/reply.js';
import { isUnchanged, rangeOf } from './byte-range.js';
import type { JobFile, JobRecord } from './job-store.js';
import type { ResultFiles } from './result-files.js';

const NOT_FINISHED = refuse(problem('job-not-finished'), [['Retry-After', '1']]);
const CANCELLED = refuse(problem('job-cancelled'));
const NO_FILE = refuse(problem('job-not-found'));

/** The result of a job: its JSON, its only file, or the file of that name. */
export async function resultReply(
  exchange: Exchange,
  record: JobRecord,
  results: ResultFiles | undefined,
  name: string | undefined,
): Promise<Reply> {
  const { state, files, result } = record;
  if (state === 'queued' || state === 'running') return NOT_FINISHED;
  if (state === 'cancelled') return CANCELLED;
  if (state === 'failed') return refuse(record.problem ?? problem('internal-error'));
  const file = name === undefined ? onlyFile(record) : files.find((one) => one.name === name);
  if (file !== undefined && results !== undefined) return fileReply(exchange, record, file, results);
  if (name !== undefined) return NO_FILE;
  if (result !== undefined) return jsonReply(200, JSON.parse(result));
  return jsonReply(200, files.length === 0 ? null : { files });
}

function onlyFile({ result, files }: JobRecord): JobFile | undefined {
  return result === undefined && files.length === 1 ? files[0] : undefined;
}

/** A file, or the part of it that the client asks for. */
async function fileReply(
  exchange: Exchange,
  { id }: JobRecord,
  { name, type, bytes }: JobFile,
  results: ResultFiles,
): Promise<Reply> {
  const { request } = exchange;
  // A file never changes, so its name is as good as its content.
  const etag = `"${createHash('sha256').update(`${id}/${name}`).digest('base64url').slice(0, 22)}"`;
  const common: Reply['headers'] = [
    ['Accept-Ranges', 'bytes'],
    ['Cache-Control', 'private, no-cache'],
    ['ETag', etag],
  ];
  if (isUnchanged(request, etag)) return { status: 304, headers: common, problem: undefined, isAnswer: true };
  const range = rangeOf(request, bytes, etag);
  if (range === 'unsatisfiable') {
    return refuse(problem('range-not-satisfiable'), [['Content-Range', `bytes */${bytes}`]]);
  }
  const length = range === 'whole' ? bytes : range.end - range.start + 1;
  const headers: Reply['headers'] = [
    ...common,
    ['Content-Type', type],
    ['Content-Length', String(length)],
    ['Content-Disposition', disposition(name)],
    // The content is what a model made of a stranger's input.
    ['X-Content-Type-Options', 'nosniff'],
    ['Content-Security-Policy', "default-src 'none'; sandbox"],
    ...(range === 'whole' ? [] : [['Content-Range', `bytes ${range.start}-${range.end}/${bytes}`] as const]),
  ];
  const status = range === 'whole' ? 200 : 206;
  if (request.method === 'HEAD') return { status, headers, problem: undefined, stream: nothing };
  // Opened before the head is sent, so that a file that is missing is a refusal.
  const stream = await results.open(id, name, range === 'whole' ? undefined : range);
  let isSent = false;
  exchange.onEnd(({ kind }) => {
    // Off Node, the exchange is completed before the stream is read.
    if (kind !== 'completed' || !isSent) stream.destroy();
  });
  const open = () => {
    isSent = true;
    return stream;
  };
  return { status, headers, problem: undefined, stream: open };
}

function nothing(): never {
  throw new Error('gatewarden: the response to HEAD has no body');
}

/** RFC 6266: a name for old clients, and the exact one. */
function disposition(name: string): string {
  const ascii = name.replace(/[^\x20-\x7e]|["\\%]/g, '_');
  const exact = encodeURIComponent(name).replace(/['()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`);
  return `attachment; filename="${ascii}"; filename*=UTF-8''${exact}`;
}
