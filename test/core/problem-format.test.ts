import { STATUS_CODES } from 'node:http';
import { describe, expect, it } from 'vitest';
import { OptionError } from '../../src/core/option.js';
import { PROBLEM_CODES, type Problem, type ProblemFormats, problem, type WireProblem } from '../../src/core/problem.js';
import { problemFormat, type RenderedProblem, renderProblem } from '../../src/core/problem-format.js';
import { type Reply, refuse } from '../../src/core/reply.js';
import { testExchange } from '../exchange-fixture.js';

const QUOTA = {
  'violated-policies': ['day'],
  policies: [{ name: 'day', limit: 5, remaining: 0, resetAt: 1_760_054_400_000 }],
  limit: 5,
  remaining: 0,
  resetAt: 1_760_054_400_000,
  retryAt: 1_760_054_400_000,
};

const FULL = {
  'violated-policies': ['concurrency'],
  policies: [{ name: 'concurrency', limit: 1, remaining: 0, resetAt: 1_760_054_400_000 }],
  limit: 1,
  remaining: 0,
};

const PROBLEMS: readonly (readonly [problem: Problem, status: number])[] = [
  [problem('credentials-missing'), 401],
  [problem('credentials-malformed'), 400],
  [problem('credentials-invalid'), 401],
  [problem('credentials-too-large'), 431],
  [problem('scope-insufficient'), 403],
  [problem('authentication-throttled'), 429],
  [problem('authentication-unavailable'), 503],
  [problem('headers-too-many'), 431],
  [problem('client-address-missing'), 400],
  [problem('host-untrusted'), 400],
  [problem('origin-untrusted'), 403],
  [problem('preflight-refused'), 403],
  [problem('content-too-large'), 413],
  [problem('upload-malformed', { reason: 'no file' }), 400],
  [problem('upload-too-large', { part: 'file', limit: 5 }), 413],
  [problem('upload-type-unsupported', { found: 'text/html', allowed: ['image/png'] }), 415],
  [problem('upload-undecodable', { reason: 'cut short' }), 422],
  [problem('quota-exceeded', QUOTA), 429],
  [problem('concurrency-exceeded', FULL), 429],
  [problem('capacity-exceeded', FULL), 503],
  [problem('store-unavailable'), 503],
  [problem('idempotency-key-missing'), 400],
  [problem('idempotency-key-malformed'), 400],
  [problem('idempotency-key-reused'), 422],
  [problem('idempotency-conflict'), 409],
  [problem('idempotency-answer-too-large'), 409],
  [problem('idempotency-unavailable'), 503],
  [problem('queue-full'), 503],
  [problem('queue-timeout'), 503],
  [problem('job-not-found'), 404],
  [problem('job-not-finished'), 409],
  [problem('job-cancelled'), 410],
  [problem('job-lost'), 500],
  [problem('job-streams-exceeded'), 429],
  [problem('jobs-full'), 503],
  [problem('jobs-unavailable'), 503],
  [problem('client-suspended'), 403],
  [problem('controls-unavailable'), 503],
  [problem('operator-request-malformed'), 400],
  [problem('operator-request-foreign'), 403],
  [problem('operator-action-failed'), 503],
  [problem('operator-streams-exceeded'), 429],
  [problem('range-not-satisfiable'), 416],
  [problem('not-ready'), 503],
  [problem('query-malformed', { reason: 'limit must be a whole number' }), 400],
  [problem('deadline-malformed'), 400],
  [problem('deadline-exceeded'), 504],
  [problem('worker-failed'), 502],
  [problem('worker-unavailable'), 503],
  [problem('internal-error'), 500],
];

/** Of RFC 9110, where Node has those of RFC 7231. */
const NEWER_PHRASES: Readonly<Record<number, string>> = { 413: 'Content Too Large', 422: 'Unprocessable Content' };

function render(reply: Reply, formats?: ProblemFormats) {
  const { exchange, faults } = testExchange();
  if (formats !== undefined) expect(problemFormat(formats)(exchange)).toBeUndefined();
  return { rendered: renderProblem(reply, exchange), faults };
}

describe('a problem in its ordinary form', () => {
  it('is listed here for every code that exists', () => {
    expect(new Set(PROBLEMS.map(([{ code }]) => code))).toEqual(PROBLEM_CODES);
  });

  it.each(PROBLEMS.map(([value, status]) => [value.code, value, status] as const))('%s', (code, value, status) => {
    const { rendered, faults } = render(refuse(value));
    expect(rendered).toMatchObject({ status, contentType: 'application/problem+json' });
    const body = JSON.parse(rendered?.body ?? '') as Record<string, unknown>;
    expect(body).toMatchObject({
      code,
      status,
      title: NEWER_PHRASES[status] ?? STATUS_CODES[status],
      detail: expect.stringMatching(/^[A-Z].*\.$/),
    });
    expect(body).toEqual(JSON.parse(JSON.stringify(value)));
    const { type = 'about:blank' } = body;
    expect(() => new URL(String(type))).not.toThrow();
    expect(faults).toEqual([]);
  });

  it('carries the figures of a quota, and the registered type', () => {
    const { rendered } = render(refuse(problem('quota-exceeded', { ...QUOTA, retryAt: null })));
    expect(JSON.parse(rendered?.body ?? '')).toEqual({
      type: 'https://iana.org/assignments/http-problem-types#quota-exceeded',
      title: 'Too Many Requests',
      status: 429,
      detail: 'The request exceeds a quota.',
      code: 'quota-exceeded',
      ...QUOTA,
      retryAt: null,
    });
  });

  it('is none for a reply without a problem', () => {
    const reply: Reply = { status: 204, headers: [], problem: undefined };
    expect(render(reply).rendered).toBeUndefined();
    expect(render(reply, { default: () => ({ body: 'x' }) }).rendered).toBeUndefined();
  });
});

it('a problem tells the id of its request, where that has one', () => {
  const { exchange } = testExchange();
  exchange.requestId = 'r-1';
  const { body } = renderProblem(refuse(problem('credentials-missing')), exchange) ?? {};
  expect(JSON.parse(body ?? '')).toEqual({ ...problem('credentials-missing'), requestId: 'r-1' });
  problemFormat({ default: (_problem, requestId) => ({ body: requestId }) })(exchange);
  expect(renderProblem(refuse(problem('credentials-missing')), exchange)?.body).toBe('"r-1"');
});

it('a format of JavaScript that gives a promise which fails ends no process', async () => {
  const later = (() => Promise.reject(new Error('no table'))) as unknown as () => WireProblem;
  const { rendered, faults } = render(refuse(problem('credentials-missing')), { default: later });
  expect([rendered?.status, rendered?.contentType]).toEqual([401, 'application/problem+json']);
  expect(faults).toHaveLength(1);
  await new Promise((turn) => setImmediate(turn));
});

describe('problemFormat', () => {
  const missing = refuse(problem('credentials-missing'));
  const invalid = refuse(problem('credentials-invalid'));

  it.each<readonly [string, Reply, ProblemFormats, RenderedProblem]>([
    [
      'words a code',
      missing,
      { 'credentials-missing': () => ({ status: 403, body: { detail: 'Not authenticated' } }) },
      { status: 403, contentType: 'application/json', body: '{"detail":"Not authenticated"}' },
    ],
    [
      'keeps the status where none is given',
      missing,
      { 'credentials-missing': () => ({ body: {} }) },
      { status: 401, contentType: 'application/json', body: '{}' },
    ],
    [
      'sets the content type',
      missing,
      { 'credentials-missing': () => ({ body: null, contentType: 'application/vnd.api+json; charset=utf-8' }) },
      { status: 401, contentType: 'application/vnd.api+json; charset=utf-8', body: 'null' },
    ],
    [
      'words the codes that are not named by default',
      invalid,
      {
        'credentials-missing': () => ({ body: 1 }),
        default: ({ detail, code }) => ({ body: { error: detail, code } }),
      },
      {
        status: 401,
        contentType: 'application/json',
        body: '{"error":"The credentials are not valid.","code":"credentials-invalid"}',
      },
    ],
    [
      'prefers the code to the default',
      missing,
      { 'credentials-missing': () => ({ body: 'own' }), default: () => ({ body: 'default' }) },
      { status: 401, contentType: 'application/json', body: '"own"' },
    ],
    [
      'leaves the ordinary form to codes not named, without a default',
      invalid,
      { 'credentials-missing': () => ({ body: 1 }) },
      { status: 401, contentType: 'application/problem+json', body: JSON.stringify(invalid.problem) },
    ],
    [
      'reads the members of its code',
      refuse(problem('quota-exceeded', QUOTA)),
      {
        'quota-exceeded': ({ limit, remaining, resetAt }) => ({
          body: { detail: { error: 'rate_limit', limit, remaining, reset_time: resetAt / 1000 } },
        }),
      },
      {
        status: 429,
        contentType: 'application/json',
        body: '{"detail":{"error":"rate_limit","limit":5,"remaining":0,"reset_time":1760054400}}',
      },
    ],
    [
      'may give the lowest status',
      missing,
      { default: () => ({ status: 400, body: 1 }) },
      { status: 400, contentType: 'application/json', body: '1' },
    ],
    [
      'may give the highest status',
      missing,
      { default: () => ({ status: 599, body: 1 }) },
      { status: 599, contentType: 'application/json', body: '1' },
    ],
  ])('%s', (_promise, reply, formats, expected) => {
    expect(render(reply, formats)).toEqual({ rendered: expected, faults: [] });
  });

  const cyclic: { self?: unknown } = {};
  cyclic.self = cyclic;

  const unusable: readonly (readonly [what: string, format: () => unknown])[] = [
    [
      'throws',
      () => {
        throw new Error('format');
      },
    ],
    ['gives null', () => null],
    ['gives a promise', async () => ({ body: 1 })],
    ['gives text', () => 'refused'],
    ['gives the status 200', () => ({ status: 200, body: 1 })],
    ['gives the status 399', () => ({ status: 399, body: 1 })],
    ['gives the status 600', () => ({ status: 600, body: 1 })],
    ['gives the status 404.5', () => ({ status: 404.5, body: 1 })],
    ['gives the status NaN', () => ({ status: Number.NaN, body: 1 })],
    ['gives a status in text', () => ({ status: '403', body: 1 })],
    ['gives no body', () => ({ status: 403 })],
    ['gives the body undefined', () => ({ body: undefined })],
    ['gives a function for a body', () => ({ body: () => 1 })],
    ['gives a symbol for a body', () => ({ body: Symbol('body') })],
    ['gives a cyclic body', () => ({ body: cyclic })],
    ['gives a BigInt for a body', () => ({ body: 5n })],
    ['gives a BigInt within its body', () => ({ body: { limit: 5n } })],
    ['gives a content type that splits the response', () => ({ body: 1, contentType: 'text/html\r\nX-Own: 1' })],
    ['gives an empty content type', () => ({ body: 1, contentType: '' })],
    ['gives a number for a content type', () => ({ body: 1, contentType: 5 })],
  ];

  it.each(unusable)('goes out in the ordinary form, and is reported, where a format %s', (_what, format) => {
    const own = format as () => WireProblem;
    for (const formats of [{ 'credentials-missing': own }, { default: own }]) {
      const { rendered, faults } = render(missing, formats);
      expect(rendered).toEqual({
        status: 401,
        contentType: 'application/problem+json',
        body: JSON.stringify(missing.problem),
      });
      expect(faults).toEqual([expect.any(Error)]);
    }
  });

  it('is the last one that stood before', () => {
    const { exchange } = testExchange();
    problemFormat({ default: () => ({ body: 'first' }) })(exchange);
    problemFormat({ 'credentials-missing': () => ({ body: 'second' }) })(exchange);
    expect(renderProblem(missing, exchange)?.body).toBe('"second"');
    expect(renderProblem(invalid, exchange)?.contentType).toBe('application/problem+json');
  });

  it('is fixed at construction', () => {
    const formats: { default: () => WireProblem } = { default: () => ({ body: 'before' }) };
    const { exchange } = testExchange();
    const guard = problemFormat(formats);
    formats.default = () => ({ body: 'after' });
    guard(exchange);
    expect(renderProblem(missing, exchange)?.body).toBe('"before"');
  });

  it.each([
    ['a code that does not exist', { 'credentials-mising': () => ({ body: 1 }) }, 'credentials-mising'],
    ['a status in the place of a code', { 401: () => ({ body: 1 }) }, '401'],
    ['a name out of Object.prototype', { toString: () => '' }, 'toString'],
    ['a format that is a value', { default: { body: 1 } }, 'default'],
    ['a format that is null', { 'credentials-missing': null }, 'credentials-missing'],
    ['a function in the place of formats', () => ({ body: 1 }), 'problemFormat'],
    ['null', null, 'problemFormat'],
    ['a list', [], 'problemFormat'],
  ])('refuses %s', (_what, formats, named) => {
    const act = () => problemFormat(formats as unknown as ProblemFormats);
    expect(act).toThrow(OptionError);
    expect(act).toThrow(named);
  });
});
