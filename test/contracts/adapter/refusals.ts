import { describe, expect } from 'vitest';
import { type Guard, problem } from '../../../src/index.js';
import { get, OK, refusing, UNAUTHORIZED } from './routes.js';
import type { Promised } from './stage.js';

/** What a client receives when a guard refuses. */
export function refusals(promise: Promised): void {
  describe('a refusal', () => {
    promise('is sent as a problem, and the handler never runs', async (stage) => {
      const later: string[] = [];
      const after: Guard = () => {
        later.push('guard');
        return undefined;
      };
      await stage.serve([get(OK, [refusing, after], [after])]);
      const answer = await stage.ask('GET /');
      expect(answer.status).toBe(401);
      expect(answer.field('content-type')).toBe('application/problem+json');
      expect(answer.field('cache-control')).toBe('no-store');
      expect(answer.field('www-authenticate')).toBe('Bearer');
      expect(answer.field('content-length')).toBe(String(answer.body.length));
      expect(answer.json()).toEqual({ ...problem('credentials-missing') });
      expect(await stage.outcomes(1)).toEqual([UNAUTHORIZED]);
      expect(stage.entered).toEqual([]);
      expect(later).toEqual([]);
    });

    promise('of HEAD has the fields of GET and no body', async (stage) => {
      await stage.serve([get(OK, [refusing])]);
      const toGet = await stage.ask('GET /');
      const client = await stage.connect();
      client.send('HEAD /', 'Connection: close');
      const toHead = await client.answer(true);
      expect(await client.rest()).toBe('');
      expect(toHead.status).toBe(401);
      for (const field of ['content-length', 'content-type', 'cache-control', 'www-authenticate', 'x-guarded']) {
        expect(toHead.field(field)).toBe(toGet.field(field));
        expect(toHead.field(field)).toBeDefined();
      }
      expect(await stage.outcomes(2)).toEqual([UNAUTHORIZED, UNAUTHORIZED]);
      expect(stage.entered).toEqual([]);
    });

    promise('does not wait for the body of the request', async (stage) => {
      await stage.serve([{ method: 'POST', path: '/', guards: [[refusing]], handler: OK }]);
      const answer = await stage.ask('POST /', 'Content-Length: 1000000');
      expect(answer.status).toBe(401);
      expect(await stage.outcomes(1)).toEqual([UNAUTHORIZED]);
      expect(stage.entered).toEqual([]);
    });

    promise('also applies to a path that does not exist', async (stage) => {
      await stage.serve([], { guards: [stage.watch, [refusing]] });
      expect((await stage.ask('GET /nowhere')).status).toBe(401);
      expect(await stage.outcomes(1)).toEqual([UNAUTHORIZED]);
    });
  });
}
