import { describe, expect, it } from 'vitest';
import { problem } from '../../src/core/problem.js';
import { problemFormat } from '../../src/core/problem-format.js';
import { renderReply } from '../../src/core/render-reply.js';
import { jsonReply, type Reply, refuse } from '../../src/core/reply.js';
import { testExchange } from '../exchange-fixture.js';

describe('renderReply', () => {
  it('renders a problem as a JSON body with its headers, and the outcome', () => {
    const { exchange, faults } = testExchange();
    const reply = refuse(problem('credentials-missing'), [['WWW-Authenticate', 'Bearer']]);
    const { status, headers, body = '', outcome } = renderReply(reply, exchange);
    expect(status).toBe(401);
    expect(headers).toEqual([
      ['WWW-Authenticate', 'Bearer'],
      ['Cache-Control', 'no-store'],
      ['Content-Type', 'application/problem+json'],
      ['Content-Length', String(body.length)],
    ]);
    expect(JSON.parse(body)).toEqual(problem('credentials-missing'));
    expect(outcome).toEqual({ kind: 'refused', status: 401, code: 'credentials-missing' });
    expect(faults).toEqual([]);
  });

  it('renders a reply without a problem without a body', () => {
    const { exchange } = testExchange();
    const reply: Reply = { status: 204, headers: [['Vary', 'Origin']], problem: undefined };
    expect(renderReply(reply, exchange)).toEqual({
      status: 204,
      headers: [['Vary', 'Origin']],
      body: undefined,
      outcome: { kind: 'refused', status: 204, code: undefined },
    });
  });

  it('uses the status, the type and the body of problemFormat, and counts bytes', () => {
    const { exchange } = testExchange();
    problemFormat({ default: () => ({ status: 418, body: 'ä', contentType: 'application/x' }) })(exchange);
    const { status, headers, body, outcome } = renderReply(refuse(problem('credentials-missing')), exchange);
    expect([status, body, outcome]).toEqual([
      418,
      '"ä"',
      { kind: 'refused', status: 418, code: 'credentials-missing' },
    ]);
    expect(headers).toContainEqual(['Content-Type', 'application/x']);
    expect(headers).toContainEqual(['Content-Length', '4']);
  });

  it("replaces a guard's own headers of the body", () => {
    const { exchange } = testExchange();
    const headers: Reply['headers'] = [
      ['content-length', '0'],
      ['CONTENT-TYPE', 'text/html'],
      ['cache-control', 'public'],
      ['X-Kept', 'yes'],
    ];
    const rendered = renderReply(refuse(problem('credentials-missing'), headers), exchange);
    expect(rendered.headers.map(([name]) => name)).toEqual([
      'X-Kept',
      'Cache-Control',
      'Content-Type',
      'Content-Length',
    ]);
  });

  it.each<[string, Partial<Reply>, RegExp]>([
    ['a line break in a value', { headers: [['X-Bad', 'a\r\nX-Injected: c4n']] }, /value for X-Bad/],
    ['a character beyond Latin-1', { headers: [['X-Bad', '\u{1F512}']] }, /value for X-Bad/],
    ['a control character', { headers: [['X-Bad', 'a\x00']] }, /value for X-Bad/],
    ['a space in a name', { headers: [['X Bad', 'a']] }, /the header name "X Bad"/],
    ['an empty name', { headers: [['', 'a']] }, /the header name ""/],
    ['a body that JSON cannot hold', { problem: { code: 1n } as never }, /BigInt/],
    ['a problem with status 204', { status: 204 }, /a body with status 204, which has no body/],
    ['a problem with status 205', { status: 205 }, /status 205, which has no body/],
    ['a problem with status 304', { status: 304 }, /status 304, which has no body/],
    ['a problem and a body', { body: {} }, /a problem and a body/],
    ['a body with status 204', { problem: undefined, body: {}, status: 204 }, /status 204, which has no body/],
    ['a body that is a function', { problem: undefined, body: () => 1 }, /a body that is not JSON/],
    ['a body with a bigint', { problem: undefined, body: { n: 1n } }, /BigInt/],
  ])('reports a reply with %s and answers 500', (_what, change, message) => {
    const { exchange, faults } = testExchange();
    const rendered = renderReply({ ...refuse(problem('credentials-missing')), ...change }, exchange);
    expect(rendered.outcome).toEqual({ kind: 'refused', status: 500, code: 'internal-error' });
    expect(rendered.status).toBe(500);
    expect(JSON.parse(rendered.body ?? '')).toMatchObject({ code: 'internal-error' });
    expect(faults).toEqual([expect.objectContaining({ message: expect.stringMatching(message) })]);
    expect(String(faults[0])).not.toContain('Injected');
  });

  it('renders a JSON body, and ends the exchange as completed', () => {
    const { exchange, faults } = testExchange();
    problemFormat({ default: () => ({ body: 'not used' }) })(exchange);
    expect(renderReply(jsonReply(200, { queued: 'ä' }, [['X-Kept', 'yes']]), exchange)).toEqual({
      status: 200,
      headers: [
        ['X-Kept', 'yes'],
        ['Cache-Control', 'no-store'],
        ['Content-Type', 'application/json'],
        ['Content-Length', '15'],
      ],
      body: '{"queued":"ä"}',
      outcome: { kind: 'completed', status: 200 },
    });
    expect(faults).toEqual([]);
  });

  it('lets a JSON body have its own type and age, and not its own length', () => {
    const headers: Reply['headers'] = [
      ['cache-control', 'max-age=60'],
      ['content-type', 'application/jwk-set+json'],
      ['content-length', '5'],
    ];
    expect(renderReply(jsonReply(200, null, headers), testExchange().exchange).headers).toEqual([
      ['cache-control', 'max-age=60'],
      ['content-type', 'application/jwk-set+json'],
      ['Content-Length', '4'],
    ]);
  });

  it('counts a JSON body with an error status as a refusal', () => {
    const { outcome } = renderReply(jsonReply(404, {}), testExchange().exchange);
    expect(outcome).toEqual({ kind: 'refused', status: 404, code: undefined });
  });

  it('sends tabs and Latin-1 in a header value', () => {
    const { exchange, faults } = testExchange();
    const headers: Reply['headers'] = [['X-Good', 'a\tb \xe9']];
    expect(renderReply(refuse(problem('credentials-missing'), headers), exchange).headers[0]).toEqual(headers[0]);
    expect(faults).toEqual([]);
  });
});
