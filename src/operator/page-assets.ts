import { hash } from 'node:crypto';
import { Readable } from 'node:stream';
import uplotScript from 'uplot/dist/uPlot.iife.min.js?raw';
import uplotStyle from 'uplot/dist/uPlot.min.css?raw';
import uplotLicence from 'uplot/LICENSE?raw';
import type { Reply } from '../core/reply.js';
import type { RequestView } from '../core/request-view.js';
import charts from './page/charts.js?raw';
import connection from './page/connection.js?raw';
import style from './page/desk.css?raw';
import page from './page/desk.html?raw';
import script from './page/desk.js?raw';
import icon from './page/icon.svg?raw';
import tables from './page/tables.js?raw';

interface Asset {
  readonly headers: Reply['headers'];
  readonly etag: string;
  readonly body: Buffer;
}

const JAVASCRIPT = 'text/javascript; charset=utf-8';
const CSS = 'text/css; charset=utf-8';

/** Nothing inline, nothing from another host, no frame around it, and no text that becomes markup. */
const CONTENT_SECURITY_POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self'",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
  "require-trusted-types-for 'script'",
  "trusted-types 'none'",
].join('; ');

const PAGE_HEADERS: Reply['headers'] = [
  ['Content-Security-Policy', CONTENT_SECURITY_POLICY],
  ['X-Frame-Options', 'DENY'],
  ['X-Content-Type-Options', 'nosniff'],
  ['Referrer-Policy', 'no-referrer'],
  ['Cross-Origin-Opener-Policy', 'same-origin'],
  ['Cross-Origin-Resource-Policy', 'same-origin'],
  ['X-Robots-Tag', 'noindex, nofollow'],
  // With a new release, the files change together.
  ['Cache-Control', 'no-cache'],
];

/** What the page is made of, by its path below that of the page. It says nothing about the service. */
const ASSETS: ReadonlyMap<string, Asset> = new Map([
  asset('', 'text/html; charset=utf-8', page),
  asset('desk.css', CSS, style),
  asset('desk.js', JAVASCRIPT, script),
  asset('charts.js', JAVASCRIPT, charts),
  asset('connection.js', JAVASCRIPT, connection),
  asset('tables.js', JAVASCRIPT, tables),
  asset('icon.svg', 'image/svg+xml', icon),
  asset('uplot.css', CSS, uplotStyle),
  asset('uplot.js', JAVASCRIPT, `/*\n${uplotLicence.trim()}\n*/\n${uplotScript}`),
]);

function asset(name: string, type: string, text: string): [string, Asset] {
  const body = Buffer.from(text);
  const etag = `"${hash('sha256', body, 'base64url').slice(0, 22)}"`;
  const headers: Reply['headers'] = [
    ...PAGE_HEADERS,
    ['Content-Type', type],
    ['Content-Length', String(body.length)],
    ['ETag', etag],
  ];
  return [name, { headers, etag, body }];
}

/** The answer to a request for a file of the page. Undefined if there is none of that name. */
export function assetReply(name: string, request: RequestView): Reply | undefined {
  const found = ASSETS.get(name);
  if (found === undefined) return undefined;
  const { headers, etag, body } = found;
  if (knows(request, etag)) {
    return { status: 304, headers: [...PAGE_HEADERS, ['ETag', etag]], problem: undefined, isAnswer: true };
  }
  return { status: 200, headers, problem: undefined, stream: () => Readable.from([body]) };
}

/** Whether the client has this version (RFC 9110 section 13.1.2). */
function knows(request: RequestView, etag: string): boolean {
  const known = request.fieldLines('if-none-match').join(',').split(',');
  return known.some((tag) => tag.trim() === '*' || tag.trim().replace(/^W\//, '') === etag);
}

/** Sends a browser from the path of the page to its slash, on which the names of its files depend. */
export function toSlash(path: string): Reply {
  const location = `${path.slice(path.lastIndexOf('/') + 1)}/`;
  return {
    status: 308,
    headers: [
      ['Location', location],
      ['Cache-Control', 'no-store'],
    ],
    problem: undefined,
    isAnswer: true,
  };
}
